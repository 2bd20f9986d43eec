"""Pooling: the maximum or the mean of each window of an image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.activations.fused import reversible_activation
from cukernels.images.inputs import through
from cukernels.images.windows import (
    Grid,
    Padding,
    Pair,
    check_places,
    grid,
    pad,
    padded_shape,
    pair,
    taps,
    unpad,
)
from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.op import op


def _images(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    r = rng.standard_normal
    yield {"x": r((2, 6, 8, 3))}
    yield {"x": r((2, 7, 5, 3))}  # an odd row and column are left over
    yield {"x": r((3, 2, 7, 8, 2)), "pool_size": 3, "stride": 2}  # windows overlap
    yield {"x": r((2, 5, 9, 2)), "pool_size": (2, 3), "stride": (3, 1), "padding": 1}
    yield {"x": r((2, 5, 4, 2)), "pool_size": 2, "padding": "same"}
    yield {"x": np.maximum(r((2, 6, 7, 4)), 0), "x_activation": "relu"}
    yield {"x": np.tanh(r((2, 5, 6, 3))), "pool_size": 3, "stride": 2, "x_activation": "tanh"}
    yield {"x": np.tanh(r((2, 7, 8, 4))), "pool_size": 2, "stride": 3, "x_activation": "tanh"}
    yield {"x": r((1, 1, 1, 1)), "pool_size": 1}
    yield {"x": r((0, 4, 4, 2))}


@op(samples=_images)
def max_pool2d(
    x: Array,
    *,
    pool_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
    x_activation: str = "identity",
) -> Array:
    """Return the largest value of each window.

    Parameters
    ----------
    x : array of shape (..., H, W, C), float32 or float64
        Images.
    pool_size : int or (int, int), default=2
        Height and width of a window, in pixels.
    stride : int, (int, int) or None, default=None
        Pixels from one window to the next; None means `pool_size`.
    padding : int, (int, int), "same" or "valid", default=0
        Pixels around the image, which are never the largest. Windows that stick out are dropped.
    x_activation : str, default="identity"
        The activation that `x` is the output of. The result does not depend on it, but the gradient
        in `x` that the backward returns is then that before it. Its derivative has to be
        elementwise and to need only the output, so it can be one of `FUSED_ACTIVATIONS` but the
        softmaxes.

    Returns
    -------
    y : array of shape (..., P, Q, C)

    Raises
    ------
    ValueError
        If a window does not fit the image, or some would see nothing but padding; if no gradient
        can go through `x_activation`.
    """
    reversible_activation(x_activation)
    axes = grid_of(x.shape, pool_size, stride, padding)
    xp = namespace(x)
    padded = pad(x, axes, -np.inf)
    y = None
    for _, _, pixels in taps(axes):
        y = padded[pixels].copy() if y is None else xp.maximum(y, padded[pixels], out=y)
    return y


@op(gradients=("x",))
def max_pool2d_backward(
    dy: Array,
    x: Array,
    y: Array,
    *,
    pool_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
    x_activation: str = "identity",
) -> Array:
    """Gradient of `max_pool2d` in `x`; the first largest pixel of a window gets all of its `dy`.

    The pixels of a window are in row-major order.
    """
    reversible_activation(x_activation)
    axes = grid_of(x.shape, pool_size, stride, padding)
    check_places(dy, axes)
    xp = namespace(x)
    padded = pad(x, axes, -np.inf)
    dx = xp.zeros(padded.shape, x.dtype)
    free = xp.ones(y.shape, bool)  # windows whose largest pixel has not been found yet
    for _, _, pixels in taps(axes):
        first = (padded[pixels] == y) & free
        free &= ~first
        dx[pixels] += dy * first
    return through(x_activation, unpad(dx, axes), x)


@op(samples=_images)
def avg_pool2d(
    x: Array,
    *,
    pool_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
    x_activation: str = "identity",
) -> Array:
    """Return the mean of each window; arguments as in `max_pool2d`, but padding counts as zeros."""
    reversible_activation(x_activation)
    axes = grid_of(x.shape, pool_size, stride, padding)
    padded = pad(x, axes)
    y = 0
    for _, _, pixels in taps(axes):
        y = y + padded[pixels]
    return y / (axes[0].taps * axes[1].taps)


@op(gradients=("x",))
def avg_pool2d_backward(
    dy: Array,
    x: Array,
    *,
    pool_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
    x_activation: str = "identity",
) -> Array:
    """Gradient of `avg_pool2d` in `x`, to which each pixel of a window contributes alike."""
    reversible_activation(x_activation)
    axes = grid_of(x.shape, pool_size, stride, padding)
    check_places(dy, axes)
    of_pixel = dy / (axes[0].taps * axes[1].taps)
    dx = namespace(x).zeros(padded_shape(x.shape, axes), x.dtype)
    for _, _, pixels in taps(axes):
        dx[pixels] += of_pixel
    return through(x_activation, unpad(dx, axes), x)


def grid_of(shape: tuple[int, ...], pool_size: Pair, stride: Pair | None, padding: Padding) -> Grid:
    """Return the grid of windows of a pool over images of shape (..., H, W, C).

    Raises
    ------
    ValueError
        If a window does not fit, or if one could lie wholly in the padding.
    """
    window = pair(pool_size, "pool_size")
    axes = grid(
        shape[-3:-1],
        window,
        stride=window if stride is None else stride,
        padding=padding,
        name="pool_size",
    )
    if any(max(axis.before, axis.after) >= axis.taps for axis in axes):
        raise ValueError(
            f"padding {padding!r} must be smaller than pool_size {pool_size!r}: a window would "
            "see nothing of the image"
        )
    return axes


def are_apart(axes: Grid) -> bool:
    """Whether windows do not overlap, so that each pixel gets at most one gradient."""
    return all(axis.stride >= axis.taps for axis in axes)
