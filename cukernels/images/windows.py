"""Windows that slide over an image, for convolution and pooling: their sizes, places and taps."""

from __future__ import annotations

import functools
from typing import NamedTuple, TypeAlias

import numpy as np

from cukernels.runtime.arrays import Array, namespace

Pair: TypeAlias = int | tuple[int, int]
Padding: TypeAlias = int | tuple[int, int] | str


class Axis(NamedTuple):
    """How windows slide along the rows or the columns of an image.

    Attributes
    ----------
    size : int
        Pixels of the image.
    taps, stride, dilation : int
        The number of taps of a window, the pixels from one window to the next, and those from one
        tap of a window to the next.
    before, after : int
        Pixels of padding before and after the image.
    places : int
        How many windows there are.
    """

    size: int
    taps: int
    stride: int
    dilation: int
    before: int
    after: int
    places: int

    def tap(self, index: int, places: slice | None = None) -> slice:
        """The pixels of the padded image that a tap sees, one for each place (None: all)."""
        first, last = (places.start, places.stop - 1) if places else (0, self.places - 1)
        start = index * self.dilation
        return slice(start + first * self.stride, start + last * self.stride + 1, self.stride)


Grid: TypeAlias = tuple[Axis, Axis]

_LARGEST = 2**31 - 1  # pixels of a padded image, and any number that describes a window


def pair(value: Pair, name: str, least: int = 1) -> tuple[int, int]:
    """Return an int or a pair as a pair: (rows, columns).

    Raises
    ------
    ValueError
        If it is neither, or if a number is below `least` or too large for any image.
    """
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2 or not all(isinstance(v, int | np.integer) and v >= least for v in both):
        raise ValueError(f"{name} must be an int or a pair of ints >= {least}, got {value!r}")
    if max(both) > _LARGEST:
        raise ValueError(f"{name} must be at most {_LARGEST}, got {value!r}")
    return int(both[0]), int(both[1])


def grid(
    shape: tuple[int, ...],
    window: Pair,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    name: str = "kernel_size",
) -> Grid:
    """Lay windows over an image of shape (height, width).

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image, in pixels.
    window, stride, dilation : int or (int, int)
        Taps of a window; pixels from one window to the next; pixels from one tap to the next.
    padding : int, (int, int), "same" or "valid"
        Pixels on both sides. "same" makes ``ceil(size / stride)`` places; if that takes an odd
        number of pixels, the odd one comes after the image, as in TensorFlow. "valid" is 0.
    name : str, default="kernel_size"
        The name of the window's size in messages.

    Returns
    -------
    rows, columns : Axis

    Raises
    ------
    ValueError
        If a number is out of range, or a window does not fit the padded image.
    """
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f"padding must be 'same', 'valid' or integers, got {padding!r}")
        pads: tuple = (padding, padding)
    else:
        pads = pair(padding, "padding", least=0)
    axes = [
        _axis(*numbers)
        for numbers in zip(
            shape, pair(window, name), pair(stride, "stride"), pads,
            pair(dilation, "dilation"), strict=True,
        )
    ]  # fmt: skip
    if any(axis.places < 1 for axis in axes):
        spread = f" with dilation {dilation}" if pair(dilation, "dilation") != (1, 1) else ""
        raise ValueError(
            f"{name} {window}{spread} does not fit an image of height {shape[0]} and width "
            f"{shape[1]} with padding {padding!r}: lower it, or pad with 'same'"
        )
    height, width = (axis.before + axis.size + axis.after for axis in axes)
    if height * width > _LARGEST:
        raise ValueError(
            f"padding {padding!r} makes images of {height} x {width} pixels, which are too many"
        )
    return axes[0], axes[1]


def _axis(size: int, taps: int, stride: int, padding: int | str, dilation: int) -> Axis:
    extent = (taps - 1) * dilation + 1
    before = after = 0
    if padding == "same":
        missing = max((-(-size // stride) - 1) * stride + extent - size, 0)
        before, after = missing // 2, missing - missing // 2
    elif padding != "valid":
        before = after = int(padding)
    places = (size + before + after - extent) // stride + 1
    return Axis(size, taps, stride, dilation, before, after, places)


def places_of(axes: Grid) -> tuple[int, int]:
    """Return how many windows there are along the rows and the columns of an image."""
    return axes[0].places, axes[1].places


def check_places(dy: Array, axes: Grid) -> None:
    """Raise ValueError unless a gradient (..., P, Q, K) has as many places as there are windows."""
    places = places_of(axes)
    if dy.shape[-3:-1] != places:
        raise ValueError(
            f"a gradient of shape {dy.shape} does not fit windows at {places} places: expected "
            "(..., P, Q, K)"
        )


def pad(x: Array, axes: Grid, value: float = 0.0) -> Array:
    """Return images (..., H, W, C) with their padding; `x` itself if there is none."""
    if not any(axis.before or axis.after for axis in axes):
        return x
    margins = [(0, 0)] * (x.ndim - 3) + [(axis.before, axis.after) for axis in axes] + [(0, 0)]
    return namespace(x).pad(x, margins, constant_values=value)


def unpad(x: Array, axes: Grid) -> Array:
    """Return a view of padded images without the padding."""
    rows, columns = (slice(axis.before, axis.before + axis.size) for axis in axes)
    return x[..., rows, columns, :]


def padded_shape(shape: tuple[int, ...], axes: Grid) -> tuple[int, ...]:
    """Return the shape of images (..., H, W, C) with their padding."""
    h, w = (axis.before + axis.size + axis.after for axis in axes)
    return (*shape[:-3], h, w, shape[-1])


@functools.lru_cache(maxsize=64)
def taps(axes: Grid) -> tuple[tuple[int, int, tuple], ...]:
    """Return the taps of a window in row-major order.

    Each is its row, its column, and the index of the pixels that it sees in the padded images.
    """
    rows, columns = axes
    return tuple(
        (r, s, (..., rows.tap(r), columns.tap(s), slice(None)))
        for r in range(rows.taps)
        for s in range(columns.taps)
    )


def patches(padded: np.ndarray, axes: Grid) -> np.ndarray:
    """View padded images (N, H, W, C) as windows, (N, P, Q, R, S, C).

    There is no copy if they are contiguous. (`as_strided` would take any, and ten times as long.)
    """
    rows, columns = axes
    padded = contiguous(padded)
    n, h, w, c = padded.strides
    strides = (n, h * rows.stride, w * columns.stride, h * rows.dilation, w * columns.dilation, c)
    shape = (len(padded), rows.places, columns.places, rows.taps, columns.taps, padded.shape[-1])
    return strided(padded, shape, strides)


def contiguous(x: np.ndarray) -> np.ndarray:
    """Return an array itself, or a contiguous copy; of its class, unlike what NumPy's would be."""
    return x if x.flags.c_contiguous else x.copy()


def strided(x: np.ndarray, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """View a contiguous array with other strides; of its class, so that its use is recorded."""
    return np.ndarray(shape, x.dtype, x, strides=strides).view(type(x))


def as_items(x: np.ndarray) -> np.ndarray:
    """View the last axis as single items of many bytes, each of which NumPy copies at once."""
    return x.view(_item(x.shape[-1] * x.itemsize))[..., 0]


@functools.cache
def _item(n_bytes: int) -> np.dtype:
    return np.dtype((np.void, n_bytes))
