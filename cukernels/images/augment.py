"""Shifts and flips of images, by which training data are augmented."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.dtypes import INTEGER, REAL_OR_BYTES
from cukernels.runtime.op import op


def _images(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for shape in ((5, 6, 4, 1), (2, 3, 5, 7, 3), (4, 9, 9, 2), (1, 1, 1, 1), (0, 4, 4, 1)):
        shifts = rng.integers(-2, 3, (*shape[:-3], 2))
        flips = rng.integers(0, 2, (*shape[:-3], 2))
        yield {
            "x": rng.standard_normal(shape),
            "moves": np.concatenate([shifts, flips], axis=-1).astype(np.int32),
        }
    beyond = np.array([[7, 0, 0, 1], [0, -9, 1, 0]], np.int32)  # the image leaves the frame
    yield {"x": rng.standard_normal((2, 4, 5, 2)), "moves": beyond}
    yield {"x": rng.integers(256, size=(2, 4, 5, 3), dtype=np.uint8), "moves": beyond}


@op(
    samples=_images,
    kinds={"x": REAL_OR_BYTES, "moves": INTEGER},
    no_backward="its input is training data, which needs no gradient",
)
def shift_and_flip(x: Array, moves: Array) -> Array:
    """Shift and mirror each image, and fill the pixels that become free with zeros.

    Parameters
    ----------
    x : array of shape (..., H, W, C), float32, float64 or uint8
        Images.
    moves : integer array of shape (..., 4)
        For each image: by how many pixels it moves down, and by how many to the right; then
        whether it is turned upside down, and whether it is mirrored left to right (1 or 0).

    Returns
    -------
    y : array of the shape and dtype of `x`
    """
    xp = namespace(x)
    check_moves(x, moves)
    h, w, c = x.shape[-3:]
    images, moves = x.reshape(math.prod(x.shape[:-3]), h, w, c), moves.reshape(-1, 4, 1)
    rows = _sources(xp, h, moves[:, 0], moves[:, 2])
    columns = _sources(xp, w, moves[:, 1], moves[:, 3])
    inside = ((rows >= 0) & (rows < h))[:, :, None] & ((columns >= 0) & (columns < w))[:, None]
    index = (xp.arange(len(images))[:, None, None], (rows % h)[:, :, None], (columns % w)[:, None])
    return xp.where(inside[..., None], images[index], x.dtype.type(0)).reshape(x.shape)


def check_moves(x: Array, moves: Array) -> None:
    """Raise ValueError unless there are four numbers for each image."""
    if moves.shape != (*x.shape[:-3], 4):
        raise ValueError(
            f"shift_and_flip: moves of shape {moves.shape} do not fit images of shape {x.shape}: "
            "expected (..., 4) and (..., H, W, C)"
        )


def _sources(xp: Any, size: int, shift: Array, flip: Array) -> Array:
    """The source of each pixel of each image along one axis, of shape (N, size)."""
    pixels = xp.arange(size)
    return xp.where(flip != 0, size - 1 - pixels, pixels) - shift
