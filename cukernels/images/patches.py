"""The windows of images as the rows of a matrix: a convolution is then a product (im2col).

The matrix is many times larger than the images, so it is made a chunk at a time and never leaves
the cache (Chellapilla et al., IWFHR 2006). The chunks depend on the shapes alone, not on the
machine: results do not change with the number of cores.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cukernels.images.windows import Grid, as_items, padded_shape, patches, unpad
from cukernels.runtime.workers import scratch, shares, slices

_CHUNK = 2**21  # bytes of windows at a time
_LEAST = 2**19  # bytes of windows that are worth a thread
_SHORT = 16  # elements in a row of a window; shorter ones are slow to copy one by one


class Patches:
    """The windows of images, a piece that fits the cache at a time.

    Parameters
    ----------
    axes : Grid
        Where the windows are.
    shape : tuple of int
        (..., H, W, C) of the images.
    dtype : dtype
        Of the images.
    ones : bool
        Whether to end every window with a 1, which a bias can be the weight of.
    """

    def __init__(self, axes: Grid, shape: tuple[int, ...], dtype: np.dtype, *, ones: bool) -> None:
        rows, columns = axes
        channels = shape[-1]
        self.axes = axes
        self.window = rows.taps * columns.taps * channels
        self.depth = self.window + ones
        row_bytes = columns.places * self.depth * dtype.itemsize
        self._image_bytes = rows.places * row_bytes
        rows_at_once = max(_CHUNK // max(row_bytes, 1), 1)
        self._images_at_once = max(rows_at_once // rows.places, 1)
        self._rows_at_once = min(rows_at_once, rows.places)
        self._dtype = dtype
        self._padded: np.ndarray | None = None
        self._tap_by_tap = columns.taps * channels < _SHORT

    def are_worth_threads(self, n_images: int) -> bool:
        """Whether the windows of so many images, or of a chunk of them, take long to work on."""
        return min(n_images, self._images_at_once) * self._image_bytes >= _LEAST

    def chunks(self, n_images: int) -> list[slice]:
        """So many images in parts whose windows fit the cache."""
        return shares(n_images, self._images_at_once)

    def pieces(self, images: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Walk the windows of images (N, H, W, C).

        Yields the images and the rows of places of a piece, either all rows of some images or some
        rows of one image, and its windows as the rows of a matrix; that is valid until the next.
        """
        for part in self.chunks(len(images)):
            padded = self._pad(images[part])
            windows = patches(padded, self.axes)
            for rows in slices(self.axes[0].places, self._rows_at_once):
                yield part, rows, self._matrix(windows[:, rows])

    def _pad(self, images: np.ndarray) -> np.ndarray:
        """Copy images into the middle of zeros, which are written once."""
        shape = padded_shape(images.shape, self.axes)
        if shape == images.shape:
            return np.ascontiguousarray(images)
        if self._padded is None or len(self._padded) < len(images):
            self._padded = np.zeros(shape, self._dtype)
        padded = self._padded[: len(images)]
        unpad(padded, self.axes)[...] = images
        return padded

    def _matrix(self, windows: np.ndarray) -> np.ndarray:
        """Copy windows (N, P, Q, R, S, C) to the rows of a matrix."""
        n_places = int(np.prod(windows.shape[:3]))
        memory = scratch("windows", (n_places * self.depth,), self._dtype)
        if self._tap_by_tap:
            matrix = memory.reshape(self.depth, n_places).T
            taps = matrix.T[: self.window].reshape(*windows.shape[3:], *windows.shape[:3])
            np.copyto(taps, windows.transpose(3, 4, 5, 0, 1, 2))
        else:
            matrix = memory.reshape(n_places, self.depth)
            seen = matrix[:, : self.window].reshape(windows.shape)
            if self.axes[1].dilation == 1:  # the taps of a row are neighbours
                windows, seen = (a.reshape(*a.shape[:-2], -1) for a in (windows, seen))
            np.copyto(as_items(seen), as_items(windows))
        matrix[:, self.window :] = 1
        return matrix
