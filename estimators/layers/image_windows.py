"""What layers of images check of the shape that they are given."""

from __future__ import annotations

from typing import Any

from cukernels.images import Grid, Pair, grid
from estimators.layers.layer import Layer, Shape


def checked_image(layer: Layer, shape: Shape) -> Shape:
    """Return the shape of an image; ValueError, which names the layer, for any other."""
    if len(shape) != 3:
        raise ValueError(
            f"{layer} needs images of shape (height, width, channels), but the layer before it "
            f"gives {shape}. Put it before the Dense layers."
        )
    return shape


def windows_over(layer: Layer, shape: Shape, window: Pair, **geometry: Any) -> Grid:
    """Lay the windows of a layer over an image; an error names the layer."""
    h, w, _ = checked_image(layer, shape)
    try:
        return grid((h, w), window, **geometry)
    except ValueError as error:
        raise ValueError(f"{layer}: {error}") from None
