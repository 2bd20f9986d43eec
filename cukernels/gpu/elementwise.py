"""How elementwise kernels are launched: blocks that fill the device, each with several runs."""

from __future__ import annotations

from cukernels.gpu.kernel import multiprocessors
from cukernels.runtime.arrays import Array

THREADS = 256  # elementwise_threads of elementwise.cuh
_BLOCKS_A_MULTIPROCESSOR = 8  # all the threads that it holds


def blocks(x: Array, n: int) -> int:
    """Return how many blocks to launch on the device of `x` for `n` elements of its dtype."""
    runs = -(-n * x.itemsize // 16)
    return min(-(-runs // THREADS), _BLOCKS_A_MULTIPROCESSOR * multiprocessors(x))
