"""Random shifts and flips of training images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cukernels._array import Array, namespace

KNOWN = ("shift", "horizontal_flip", "vertical_flip")


class Augmentation:
    """Shift and flip each image of a batch by itself.

    Parameters
    ----------
    augment : mapping
        "shift": pixels, an int or (rows, columns): each image moves by up to so many in both
        directions, and zeros move in. "horizontal_flip", "vertical_flip": bool, whether every
        other image, at random, is mirrored left to right or upside down.

    Raises
    ------
    ValueError
        If a name is unknown or a shift is no number of pixels.
    """

    def __init__(self, augment: Mapping[str, Any]) -> None:
        unknown = sorted(set(augment) - set(KNOWN))
        if unknown:
            raise ValueError(f"augment has unknown names {unknown}: expected some of {list(KNOWN)}")
        shift = augment.get("shift", 0)
        self.shift = tuple(shift) if isinstance(shift, tuple | list) else (shift, shift)
        if len(self.shift) != 2 or not all(
            isinstance(s, int | np.integer) and s >= 0 for s in self.shift
        ):
            raise ValueError(f"augment: shift must be pixels, an int or a pair >= 0, got {shift!r}")
        self.horizontal = bool(augment.get("horizontal_flip", False))
        self.vertical = bool(augment.get("vertical_flip", False))

    def __call__(self, x: Array, rng: np.random.RandomState) -> Array:
        """Return changed copies of images (B, H, W, C); the draws come from the host."""
        xp = namespace(x)
        n, h, w, _ = x.shape
        down, right = (rng.randint(-s, s + 1, size=n) for s in self.shift)
        rows = self._sources(h, down, self.vertical, rng)
        columns = self._sources(w, right, self.horizontal, rng)
        image = np.arange(n)[:, None, None]
        index = (image, rows[:, :, None], columns[:, None, :])  # -1, outside, is masked below
        inside = (index[1] >= 0) & (index[2] >= 0)
        return x[tuple(map(xp.asarray, index))] * xp.asarray(inside)[..., None]

    @staticmethod
    def _sources(
        size: int, shift: np.ndarray, flip: bool, rng: np.random.RandomState
    ) -> np.ndarray:
        """Where each pixel of each image comes from along one axis, (B, size); -1 from outside."""
        pixels = np.arange(size) - shift[:, None]
        if flip:
            turned = rng.randint(2, size=len(shift)) == 1
            pixels[turned] = pixels[turned, ::-1]
        return np.where((pixels >= 0) & (pixels < size), pixels, -1)
