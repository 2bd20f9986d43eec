"""The random shifts and flips of the images that a network learns from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

KNOWN = ("shift", "horizontal_flip", "vertical_flip")


class Augmentation:
    """Draws a shift and flips for each image.

    Parameters
    ----------
    augment : mapping
        "shift" is a number of pixels, an int or (rows, columns): each image moves by at most so
        many, in either direction, and zeros move in. "horizontal_flip" and "vertical_flip" are
        bools: whether half of the images, chosen at random, are mirrored left to right or upside
        down.

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

    def draw(self, n: int, rng: np.random.RandomState) -> np.ndarray:
        """Draw how `n` images change; return an array (n, 4), as `shift_and_flip` takes it."""
        changes = np.zeros((n, 4), np.int32)
        for axis, limit in enumerate(self.shift):
            changes[:, axis] = rng.randint(-limit, limit + 1, size=n)
        for axis, flips in enumerate((self.vertical, self.horizontal)):
            if flips:
                changes[:, 2 + axis] = rng.randint(2, size=n)
        return changes


@dataclass
class RandomChanges:
    """Draws how images change, from a generator of its own."""

    augment: Augmentation
    rng: np.random.RandomState

    def __call__(self, n: int) -> np.ndarray:
        """Draw how `n` images change, as `Augmentation.draw` returns it."""
        return self.augment.draw(n, self.rng)
