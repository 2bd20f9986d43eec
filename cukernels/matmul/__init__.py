"""Matrix products, and sums in a fixed order."""

from cukernels.matmul.even_products import padded

__all__ = ["padded"]
