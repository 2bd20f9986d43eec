"""Ops that pool images: alone, and with the convolution before."""

from cukernels.pooling.conv_max_pool import MOST_TAPS

__all__ = ["MOST_TAPS"]
