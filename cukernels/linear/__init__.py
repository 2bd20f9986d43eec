"""Linear classifiers between the products with their samples: weights, losses and gradients."""
