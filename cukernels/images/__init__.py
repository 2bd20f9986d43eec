"""Ops on images: convolutions, locally connected layers, pooling, and shifts and flips."""

from cukernels.images.partial_sums import of_filter_gradients
from cukernels.images.windows import Axis, Grid, Padding, Pair, grid, pair

__all__ = ["Axis", "Grid", "Padding", "Pair", "grid", "of_filter_gradients", "pair"]
