"""Ops that slide a window over images: convolutions, locally connected layers, pooling."""

from cukernels.images.windows import Axis, Grid, Padding, Pair, grid, pair

__all__ = ["Axis", "Grid", "Padding", "Pair", "grid", "pair"]
