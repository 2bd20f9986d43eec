"""The windows of images as the rows of a matrix: a convolution is then a product (im2col).

The matrix is many times larger than the images, so it is made a chunk at a time and never leaves
the cache (Chellapilla et al., IWFHR 2006). The chunks depend on the shapes alone, not on the
machine: results do not change with the number of cores.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cukernels._windows import Grid, padded_shape, patches, unpad
from cukernels._workers import scratch

_CHUNK = 2**20  # bytes of windows at a time
_SHORT = 16  # elements in a row of a window; shorter ones are slow to copy one by one


class Patches:
    """The windows of a batch of images, chunk after chunk.

    Loop over `images()`, `load` each slice of them, and loop over `rows()` in it.

    Parameters
    ----------
    axes : Grid
        Where the windows are.
    shape : tuple of int
        (..., N, H, W, C) of the images; those of one model are loaded at a time.
    dtype : dtype
        Of the images.
    ones : bool
        Whether to end every window with a 1, which a bias can be the weight of.
    """

    def __init__(self, axes: Grid, shape: tuple[int, ...], dtype: np.dtype, *, ones: bool) -> None:
        rows, columns = axes
        n, channels = shape[-4], shape[-1]
        self.axes = axes
        self.n_images = n
        self.window = rows.taps * columns.taps * channels
        self.depth = self.window + ones
        rows_at_once = max(_CHUNK // max(columns.places * self.depth * dtype.itemsize, 1), 1)
        self.images_at_once = min(max(rows_at_once // rows.places, 1), max(n, 1))
        self.rows_at_once = min(rows_at_once, rows.places)
        self._dtype = dtype
        self._padded: np.ndarray | None = None
        self._tap_by_tap = columns.taps * channels < _SHORT

    def images(self) -> Iterator[slice]:
        """Walk the images."""
        return _slices(self.n_images, self.images_at_once)

    def rows(self) -> Iterator[slice]:
        """Walk the rows of places of the loaded images."""
        return _slices(self.axes[0].places, self.rows_at_once)

    def load(self, images: np.ndarray) -> None:
        """Take up the next images, of shape (n, H, W, C)."""
        if padded_shape(images.shape, self.axes) != images.shape:
            images = self._pad(images)
        self._windows = patches(images, self.axes)

    def _pad(self, images: np.ndarray) -> np.ndarray:
        """Copy images into the middle of zeros, which are written once."""
        if self._padded is None:
            shape = padded_shape((self.images_at_once, *images.shape[1:]), self.axes)
            self._padded = scratch("padded images", shape, self._dtype)
            self._padded[...] = 0
        padded = self._padded[: len(images)]
        unpad(padded, self.axes)[...] = images
        return padded

    def matrix(self, rows: slice) -> np.ndarray:
        """The windows on some rows of the loaded images, one a row; valid until the next call."""
        windows = self._windows[:, rows]
        n_places = int(np.prod(windows.shape[:3]))
        memory = scratch("windows", (n_places * self.depth,), self._dtype)
        if self._tap_by_tap:
            matrix = memory.reshape(self.depth, n_places).T
            taps = matrix.T[: self.window].reshape(*windows.shape[3:], *windows.shape[:3])
            np.copyto(taps, windows.transpose(3, 4, 5, 0, 1, 2))
        else:
            matrix = memory.reshape(n_places, self.depth)
            np.copyto(matrix[:, : self.window].reshape(windows.shape), windows)
        matrix[:, self.window :] = 1
        return matrix


def _slices(length: int, step: int) -> Iterator[slice]:
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))
