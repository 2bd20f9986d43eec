"""NumPy bodies of pooling, a chunk of images at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from cukernels.activations.fused import reversible_activation
from cukernels.images.inputs import through
from cukernels.images.windows import (
    Grid,
    Padding,
    Pair,
    as_items,
    check_places,
    contiguous,
    pad,
    padded_shape,
    taps,
    unpad,
)
from cukernels.pooling.pooling import are_apart, grid_of
from cukernels.runtime.arrays import Array
from cukernels.runtime.chunks import shares
from cukernels.runtime.workers import in_parallel, scratch
from cukernels.runtime.workspace import empty

_CHUNK = 2**21  # bytes of images; they and what is computed from them stay in the cache


def max_pool2d(
    x: Array,
    *,
    pool_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
    x_activation: str = "identity",
) -> Array:
    reversible_activation(x_activation)
    axes = grid_of(x.shape, pool_size, stride, padding)

    def pool(x: np.ndarray, y: np.ndarray) -> None:
        padded = pad(x, axes, -np.inf)
        (_, _, first), *others = taps(axes)
        as_items(y)[...] = as_items(padded[first])
        for _, _, pixels in others:
            np.maximum(y, _seen(padded, pixels, y), out=y)

    return _chunk_by_chunk(pool, _pooled_shape(x, axes), x)


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
    reversible_activation(x_activation)
    axes = grid_of(x.shape, pool_size, stride, padding)
    check_places(dy, axes)

    def pool_backward(x: np.ndarray, dy: np.ndarray, y: np.ndarray, dx: np.ndarray) -> None:
        padded = pad(x, axes, -np.inf)
        wins, free = (scratch(role, y.shape, bool) for role in ("wins", "free"))
        gradient = scratch("gradient", y.shape, y.dtype)
        free[...] = True  # windows whose largest pixel has not been found yet
        with scattered(dx, axes) as give:
            for _, _, pixels in taps(axes):
                np.equal(_seen(padded, pixels, y), y, out=wins)
                wins &= free
                free ^= wins
                np.copyto(gradient, wins)  # NumPy multiplies by floats faster than by booleans
                np.multiply(dy, gradient, out=gradient)
                give(pixels, gradient)

    return through(x_activation, _chunk_by_chunk(pool_backward, x.shape, x, dy, y), x)


def avg_pool2d(
    x: Array,
    *,
    pool_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
    x_activation: str = "identity",
) -> Array:
    reversible_activation(x_activation)
    axes = grid_of(x.shape, pool_size, stride, padding)

    def pool(x: np.ndarray, y: np.ndarray) -> None:
        padded = pad(x, axes)
        (_, _, first), *others = taps(axes)
        as_items(y)[...] = as_items(padded[first])
        for _, _, pixels in others:
            y += _seen(padded, pixels, y)
        y /= axes[0].taps * axes[1].taps

    return _chunk_by_chunk(pool, _pooled_shape(x, axes), x)


def avg_pool2d_backward(
    dy: Array,
    x: Array,
    *,
    pool_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
    x_activation: str = "identity",
) -> Array:
    reversible_activation(x_activation)
    axes = grid_of(x.shape, pool_size, stride, padding)
    check_places(dy, axes)

    def pool_backward(x: np.ndarray, dy: np.ndarray, dx: np.ndarray) -> None:
        of_pixel = scratch("gradient", dy.shape, dy.dtype)
        np.divide(dy, axes[0].taps * axes[1].taps, out=of_pixel)
        with scattered(dx, axes) as give:
            for _, _, pixels in taps(axes):
                give(pixels, of_pixel)

    return through(x_activation, _chunk_by_chunk(pool_backward, x.shape, x, dy), x)


def _chunk_by_chunk(
    body: Callable[..., None], shape: tuple[int, ...], x: np.ndarray, *others: np.ndarray
) -> np.ndarray:
    """Return a new array of this shape, which `body` fills a chunk of images at a time.

    `body` is called with the same chunk of `x`, of the other arrays and of the new one. Each is
    contiguous, with one axis before those of an image.
    """
    out = empty(shape, x.dtype)
    if not out.size:
        return out
    arrays = [contiguous(a) for a in (x, *others, out)]
    n = math.prod(x.shape[:-3])
    images = [a.reshape(n, *a.shape[-3:]) for a in arrays]
    at_once = max(_CHUNK // max(math.prod(x.shape[-3:]) * x.itemsize, 1), 1)
    in_parallel(lambda _, chunk: body(*(a[chunk] for a in images)), shares(n, at_once))
    return out


def _seen(padded: np.ndarray, pixels: tuple, y: np.ndarray) -> np.ndarray:
    """Copy the pixels that one tap of the windows sees to memory that the next call reuses.

    NumPy's inner loop would run over the few channels of a pixel. It is faster to copy each pixel
    as one item, and then to compute with the copy, which is contiguous.
    """
    seen = scratch("seen", y.shape, y.dtype)
    as_items(seen)[...] = as_items(padded[pixels])
    return seen


@contextmanager
def scattered(dx: np.ndarray, axes: Grid) -> Iterator[Callable[[tuple, np.ndarray], None]]:
    """Yield a function that adds the gradients of one tap of the windows to the pixels it sees."""
    whole = padded_shape(dx.shape, axes) == dx.shape
    padded = dx if whole else scratch("padded", padded_shape(dx.shape, axes), dx.dtype)
    apart = are_apart(axes)
    extents = padded.shape[1:3]
    # Windows that tile the image exactly write every pixel once, so that it needs no zeros before.
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
    """The shape of the output."""
    return (*x.shape[:-3], axes[0].places, axes[1].places, x.shape[-1])
