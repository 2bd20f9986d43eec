"""The CUDA body of the loss of an epoch, which launches the kernels of `epoch_loss.cu`."""

from __future__ import annotations

import numpy as np

from cukernels.gpu.kernel import Kernel, contiguous, ctype
from cukernels.runtime.arrays import Array
from cukernels.training.epoch_loss import check_total, chunk_length

_THREADS = 256
_DTYPES = [("float",), ("double",)]
_ADD = Kernel("epoch_loss.cu", "add_loss", _DTYPES)
_LOSE = Kernel("epoch_loss.cu", "lose_overflowed", _DTYPES)


def add_loss(
    total: Array, loss: Array, params: Array, *, l2: Array, size: Array, n_decayed: int
) -> None:
    check_total(total, params, n_decayed)
    models, chunks = total.shape
    sums = contiguous(total, np.float64)
    _ADD[ctype(params)](
        (chunks, models, 1), _THREADS, sums, contiguous(loss), contiguous(params),
        contiguous(l2, np.float64), contiguous(size, np.float64), params.shape[1], n_decayed,
        chunk_length(params.shape[1], chunks),
    )  # fmt: skip
    if sums is not total:
        total[...] = sums


def lose_overflowed(total: Array, params: Array) -> None:
    check_total(total, params, 0, "lose_overflowed")
    models, chunks = total.shape
    sums = contiguous(total, np.float64)
    _LOSE[ctype(params)](
        (chunks, models, 1), _THREADS, sums, contiguous(params), params.shape[1],
        chunk_length(params.shape[1], chunks),
    )  # fmt: skip
    if sums is not total:
        total[...] = sums
