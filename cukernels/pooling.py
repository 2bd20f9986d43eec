"""Pooling: the largest value or the mean of each window of an image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from cukernels._array import Array, namespace
from cukernels._op import numpy_body, op
from cukernels._windows import (
    Grid,
    Padding,
    Pair,
    as_items,
    check_places,
    grid,
    pad,
    padded_shape,
    pair,
    taps,
    unpad,
)
from cukernels._workers import in_parallel, scratch, shares
from cukernels._workspace import empty

_CHUNK = 2**21  # bytes of images at a time: with what is made of them, they stay in the cache


def _images(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    r = rng.standard_normal
    yield {"x": r((2, 6, 8, 3))}
    yield {"x": r((2, 7, 5, 3))}  # an odd row and column are left over
    yield {"x": r((3, 2, 7, 8, 2)), "pool_size": 3, "stride": 2}  # windows overlap
    yield {"x": r((2, 5, 9, 2)), "pool_size": (2, 3), "stride": (3, 1), "padding": 1}
    yield {"x": r((2, 5, 4, 2)), "pool_size": 2, "padding": "same"}
    yield {"x": r((1, 1, 1, 1)), "pool_size": 1}
    yield {"x": r((0, 4, 4, 2))}


@op(samples=_images)
def max_pool2d(
    x: Array, *, pool_size: Pair = 2, stride: Pair | None = None, padding: Padding = 0
) -> Array:
    """Return the largest value of each window.

    Parameters
    ----------
    x : array of shape (..., H, W, C), float32 or float64
        Images.
    pool_size : int or (int, int), default=2
        Height and width of a window, in pixels.
    stride : int, (int, int) or None, default=None
        Pixels from one window to the next; None: `pool_size`.
    padding : int, (int, int), "same" or "valid", default=0
        Pixels around the image, which never win. Windows that do not fit whole are dropped.

    Returns
    -------
    y : array of shape (..., P, Q, C)

    Raises
    ------
    ValueError
        If a window does not fit the image, or some would see nothing but padding.
    """
    axes = _grid(x.shape, pool_size, stride, padding)
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
) -> Array:
    """Gradient of `max_pool2d` in `x`: to the first of the largest pixels, in row-major order."""
    axes = _grid(x.shape, pool_size, stride, padding)
    check_places(dy, axes)
    xp = namespace(x)
    padded = pad(x, axes, -np.inf)
    dx = xp.zeros(padded.shape, x.dtype)
    free = xp.ones(y.shape, bool)
    for _, _, pixels in taps(axes):
        first = (padded[pixels] == y) & free
        free &= ~first
        dx[pixels] += dy * first
    return unpad(dx, axes)


@numpy_body(max_pool2d)
def _max_pool2d_numpy(
    x: Array, *, pool_size: Pair = 2, stride: Pair | None = None, padding: Padding = 0
) -> Array:
    axes = _grid(x.shape, pool_size, stride, padding)

    def pool(x: np.ndarray, y: np.ndarray) -> None:
        padded = pad(x, axes, -np.inf)
        (_, _, first), *others = taps(axes)
        as_items(y)[...] = as_items(padded[first])
        for _, _, pixels in others:
            np.maximum(y, _seen(padded, pixels, y), out=y)

    return _chunk_by_chunk(pool, _pooled_shape(x, axes), x)


@numpy_body(max_pool2d_backward)
def _max_pool2d_backward_numpy(
    dy: Array,
    x: Array,
    y: Array,
    *,
    pool_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
) -> Array:
    axes = _grid(x.shape, pool_size, stride, padding)
    check_places(dy, axes)

    def pool_backward(x: np.ndarray, dy: np.ndarray, y: np.ndarray, dx: np.ndarray) -> None:
        padded = pad(x, axes, -np.inf)
        wins, free = (scratch(role, y.shape, bool) for role in ("wins", "free"))
        share = scratch("share", y.shape, y.dtype)
        free[...] = True
        with _given_back(dx, axes) as give:
            for _, _, pixels in taps(axes):
                np.equal(_seen(padded, pixels, y), y, out=wins)
                wins &= free
                free ^= wins
                np.copyto(share, wins)  # NumPy multiplies by numbers faster than by booleans
                np.multiply(dy, share, out=share)
                give(pixels, share)

    return _chunk_by_chunk(pool_backward, x.shape, x, dy, y)


@op(samples=_images)
def avg_pool2d(
    x: Array, *, pool_size: Pair = 2, stride: Pair | None = None, padding: Padding = 0
) -> Array:
    """Return the mean of each window; arguments as in `max_pool2d`, padding counts as zeros."""
    axes = _grid(x.shape, pool_size, stride, padding)
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
) -> Array:
    """Gradient of `avg_pool2d` in `x`: an equal part to each pixel of a window."""
    axes = _grid(x.shape, pool_size, stride, padding)
    check_places(dy, axes)
    part = dy / (axes[0].taps * axes[1].taps)
    dx = namespace(x).zeros(padded_shape(x.shape, axes), x.dtype)
    for _, _, pixels in taps(axes):
        dx[pixels] += part
    return unpad(dx, axes)


@numpy_body(avg_pool2d)
def _avg_pool2d_numpy(
    x: Array, *, pool_size: Pair = 2, stride: Pair | None = None, padding: Padding = 0
) -> Array:
    axes = _grid(x.shape, pool_size, stride, padding)

    def pool(x: np.ndarray, y: np.ndarray) -> None:
        padded = pad(x, axes)
        (_, _, first), *others = taps(axes)
        as_items(y)[...] = as_items(padded[first])
        for _, _, pixels in others:
            y += _seen(padded, pixels, y)
        y /= axes[0].taps * axes[1].taps

    return _chunk_by_chunk(pool, _pooled_shape(x, axes), x)


@numpy_body(avg_pool2d_backward)
def _avg_pool2d_backward_numpy(
    dy: Array,
    x: Array,
    *,
    pool_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
) -> Array:
    axes = _grid(x.shape, pool_size, stride, padding)
    check_places(dy, axes)

    def pool_backward(x: np.ndarray, dy: np.ndarray, dx: np.ndarray) -> None:
        part = np.divide(dy, axes[0].taps * axes[1].taps, out=scratch("part", dy.shape, dy.dtype))
        with _given_back(dx, axes) as give:
            for _, _, pixels in taps(axes):
                give(pixels, part)

    return _chunk_by_chunk(pool_backward, x.shape, x, dy)


def _chunk_by_chunk(
    body: Callable[..., None], shape: tuple[int, ...], x: np.ndarray, *others: np.ndarray
) -> np.ndarray:
    """Make an array of a shape, of a part of the images at a time.

    `body` is called with parts of `x`, of the others and of what is made, each contiguous, with
    one axis before those of an image.
    """
    out = empty(shape, x.dtype)
    if not out.size:
        return out
    arrays = [np.ascontiguousarray(a) for a in (x, *others, out)]
    n = math.prod(x.shape[:-3])
    images = [a.reshape(n, *a.shape[-3:]) for a in arrays]
    at_once = max(_CHUNK // max(math.prod(x.shape[-3:]) * x.itemsize, 1), 1)
    in_parallel(lambda _, part: body(*(a[part] for a in images)), shares(n, at_once))
    return out


def _seen(padded: np.ndarray, pixels: tuple, y: np.ndarray) -> np.ndarray:
    """Gather the pixels that one tap of the windows sees, in memory that the next call reuses.

    The channels of a pixel are a short run for an inner loop of NumPy: it is faster to copy pixels
    as single items, and to compute with the copy as one run.
    """
    seen = scratch("seen", y.shape, y.dtype)
    as_items(seen)[...] = as_items(padded[pixels])
    return seen


@contextmanager
def _given_back(dx: np.ndarray, axes: Grid) -> Iterator[Callable[[tuple, np.ndarray], None]]:
    """Fill the gradient of images from what the taps of windows give back to their pixels."""
    whole = padded_shape(dx.shape, axes) == dx.shape
    padded = dx if whole else scratch("padded", padded_shape(dx.shape, axes), dx.dtype)
    apart = _apart(axes)
    extents = padded.shape[1:3]
    if not apart or any(a.places * a.taps != n for a, n in zip(axes, extents, strict=True)):
        padded[...] = 0

    def give(pixels: tuple, values: np.ndarray) -> None:
        if apart:
            as_items(padded[pixels])[...] = as_items(values)
        else:
            padded[pixels] += values

    yield give
    if not whole:
        dx[...] = unpad(padded, axes)


def _pooled_shape(x: Array, axes: Grid) -> tuple[int, ...]:
    return (*x.shape[:-3], axes[0].places, axes[1].places, x.shape[-1])


def _apart(axes: Grid) -> bool:
    """Whether each pixel has one window at most: it can be written, and nothing be read."""
    return all(axis.stride >= axis.taps for axis in axes)


def _grid(shape: tuple[int, ...], pool_size: Pair, stride: Pair | None, padding: Padding) -> Grid:
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
