"""Ops on images: convolutions, locally connected layers, pooling, and shifts and flips."""

from cukernels.images.windows import Axis, Grid, Padding, Pair, grid, pair

__all__ = ["Axis", "Grid", "Padding", "Pair", "grid", "pair"]
