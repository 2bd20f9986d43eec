"""The windows of images as the rows of a matrix, with which a convolution is a product (im2col).

This matrix is many times larger than the images, so only a part of it is made at a time, which
stays in the cache (Chellapilla et al., IWFHR 2006). The parts depend on the shapes alone and not on
the machine, so results do not change with the number of cores.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cukernels.images.windows import Grid, as_items, padded_shape, patches, unpad
from cukernels.runtime.chunks import shares, slices
from cukernels.runtime.recording import Recorded, is_recording
from cukernels.runtime.workers import scratch

_CHUNK = 2**21  # bytes of windows that are made at a time
_LEAST = 2**19  # bytes of windows from which on more threads are worth while
_SHORT = 16  # elements of a window's row; shorter rows are slow to copy one by one


class Patches:
    """The windows of images as matrices that fit the cache.

    Parameters
    ----------
    axes : Grid
        The places of the windows.
    shape : tuple of int
        The shape (..., H, W, C) of the images.
    dtype : dtype
        The dtype of the images.
    ones : bool
        Whether to append a 1 to every window, whose weight is the bias.
    rows_together : int, default=1
        Rows of places that stay together: parts of an image begin at multiples of it.
    times : int, default=1
        How many times as large as usual matrices may be: there are fewer operations then, between
        which threads wait for each other.
    """

    def __init__(
        self,
        axes: Grid,
        shape: tuple[int, ...],
        dtype: np.dtype,
        ones: bool,
        rows_together: int = 1,
        times: int = 1,
    ) -> None:
        rows, columns = axes
        channels = shape[-1]
        self.axes = axes
        self.window = rows.taps * columns.taps * channels
        self.depth = self.window + ones
        row_bytes = columns.places * self.depth * dtype.itemsize
        self._image_bytes = rows.places * row_bytes
        rows_at_once = max(times * _CHUNK // max(row_bytes, 1), 1)
        self._images_at_once = max(rows_at_once // rows.places, 1)
        groups = max(rows_at_once // rows_together, 1)
        self._rows_at_once = min(groups * rows_together, rows.places)
        self._dtype = dtype
        self._padded: np.ndarray | None = None
        self._tap_by_tap = columns.taps * channels < _SHORT

    def are_worth_threads(self, n_images: int) -> bool:
        """Whether the windows of a chunk of so many images are large enough for several threads."""
        return min(n_images, self._images_at_once) * self._image_bytes >= _LEAST

    def image_chunks(self, n_images: int) -> list[slice]:
        """Split so many images into chunks whose windows fit the cache."""
        return shares(n_images, self._images_at_once)

    def matrices(self, images: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Walk the windows of images (N, H, W, C), as matrices that fit the cache.

        Each time it yields which images, which rows of places, and the matrix whose rows are the
        windows there: those of all places of some images, or of some rows of places of one image.
        The matrix is valid until the next one is made.
        """
        for chunk in self.image_chunks(len(images)):
            padded = self._pad(images[chunk])
            windows = patches(padded, self.axes)
            for rows in slices(self.axes[0].places, self._rows_at_once):
                yield chunk, rows, self._matrix(windows[:, rows])

    def _pad(self, images: np.ndarray) -> np.ndarray:
        """Copy images into a frame of zeros, which is reused."""
        shape = padded_shape(images.shape, self.axes)
        if shape == images.shape:
            return images
        if self._padded is None or len(self._padded) < len(images):
            self._padded = np.zeros(shape, self._dtype)
            if is_recording():
                self._padded = self._padded.view(Recorded)
        padded = self._padded[: len(images)]
        unpad(padded, self.axes)[...] = images
        return padded

    def _matrix(self, windows: np.ndarray) -> np.ndarray:
        """Copy windows (N, P, Q, R, S, C) to the rows of a matrix, in long runs of memory."""
        n, p, q, r, s, c = windows.shape
        n_places = n * p * q
        memory = scratch("windows", (n_places * self.depth,), self._dtype)
        if self._tap_by_tap:  # column by column: what one element of all windows sees
            matrix = memory.reshape(self.depth, n_places).T
            taps = matrix.T[: self.window].reshape(*windows.shape[3:], *windows.shape[:3])
            np.copyto(taps, windows.transpose(3, 4, 5, 0, 1, 2))
        else:
            matrix = memory.reshape(n_places, self.depth)
            seen = matrix[:, : self.window]
            if self.axes[1].dilation == 1:  # the taps of a row are adjacent
                windows, s, c = windows.reshape(n, p, q, r, 1, s * c), 1, s * c
            np.copyto(as_items(seen.reshape(n, p, q, r, s, c)), as_items(windows))
        matrix[:, self.window :] = 1
        return matrix
