"""The grid of elementwise kernels: enough blocks to fill the device; `elementwise.cuh` loops."""

from __future__ import annotations

from cukernels.gpu.kernel import multiprocessors
from cukernels.runtime.arrays import Array

THREADS = 256  # elementwise_threads of elementwise.cuh
_BLOCKS_A_MULTIPROCESSOR = 8  # 2048 threads, the most that one holds


def blocks(x: Array, n: int) -> int:
    """Return how many blocks to launch on the device of `x` for `n` elements of its dtype."""
    vectors = -(-n * x.itemsize // 16)  # of 16 bytes, one for each turn of a thread
    return min(-(-vectors // THREADS), _BLOCKS_A_MULTIPROCESSOR * multiprocessors(x))
