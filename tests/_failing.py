"""MemoryError at a chosen allocation of NumPy's, made by these packages."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import cukernels
import estimators

FOLDERS = tuple(str(Path(package.__file__).parent) for package in (cukernels, estimators))
NAMES = (
    "empty", "empty_like", "zeros", "zeros_like", "ones", "full", "array", "arange", "stack",
    "concatenate", "tile", "where", "take", "repeat", "ascontiguousarray", "asarray",
)  # fmt: skip
SAYS = "Unable to allocate 7.45 GiB for an array with shape (1000000000,) and data type float64"


class Failing:
    """Which allocation fails, and how many there have been; `first` counts from 1."""

    def __init__(self, first: float) -> None:
        self.first, self.count, self.at = first, 0, ""
        self._lock = threading.Lock()

    def allocate(self, frame) -> None:
        """Count an allocation; raise if it is the one, as NumPy does, or any later one."""
        if not frame.f_code.co_filename.startswith(FOLDERS):
            return
        with self._lock:
            self.count += 1
            fails = self.count == self.first
        if fails:
            self.at = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            raise MemoryError(SAYS)


@contextmanager
def failing_allocation(first: float = np.inf) -> Iterator[Failing]:
    """Let one allocation fail in this block."""
    failing, originals = Failing(first), {name: getattr(np, name) for name in NAMES}

    def counted(original):
        @functools.wraps(original)
        def allocate(*args, **kwargs):
            failing.allocate(sys._getframe(1))
            return original(*args, **kwargs)

        return allocate

    for name, original in originals.items():
        setattr(np, name, counted(original))
    try:
        yield failing
    finally:
        for name, original in originals.items():
            setattr(np, name, original)
