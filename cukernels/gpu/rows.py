"""The launch configuration of kernels over rows of k values, which `rows.cuh` belongs to."""

from __future__ import annotations

from cukernels.gpu.kernel import multiprocessors
from cukernels.runtime.arrays import Array

THREADS = 256  # row_threads of rows.cuh
LANES = (4, 16, 32, 256)  # how many threads may share a row
_LONG = 1024  # rows of so many values or more have a whole block


def lanes(k: int) -> int:
    """Return how many lanes share a row of `k` values."""
    return next((n for n in LANES[:-1] if k <= n), 32 if k < _LONG else 256)


def blocks(x: Array, n: int, group: int) -> int:
    """Return how many blocks to launch on the device of `x` for `n` rows of `group` lanes each."""
    rows = THREADS // group
    return min(-(-n // rows), 8 * multiprocessors(x))
