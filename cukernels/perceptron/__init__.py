"""The perceptron's online rule."""
