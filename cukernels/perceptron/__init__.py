"""The perceptron's online rule: its definition, and faster forms that give the same result."""
