"""Matrix products, and sums in a fixed order."""

from cukernels.matmul.even_products import padded
from cukernels.matmul.partial_sums import of_gradients, of_product

__all__ = ["of_gradients", "of_product", "padded"]
