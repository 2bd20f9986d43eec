"""The CUDA body of the loss of an epoch, which launches the kernel of `epoch_loss.cu`."""

from __future__ import annotations

import numpy as np

from cukernels.gpu.kernel import Kernel, contiguous, ctype
from cukernels.runtime.arrays import Array
from cukernels.training.epoch_loss import check_parts

_THREADS = 256


_KERNEL = Kernel("epoch_loss.cu", "add_loss", [("float",), ("double",)])


def add_loss(
    total: Array, loss: Array, params: Array, *, l2: Array, size: Array, n_decayed: int
) -> None:
    check_parts(total, params, n_decayed)
    models, parts = total.shape
    sums = contiguous(total.astype(np.float64, copy=False))
    _KERNEL[ctype(params)](
        (parts, models, 1), _THREADS, sums, contiguous(loss), contiguous(params), _vector(l2),
        _vector(size), params.shape[1], n_decayed, -(-n_decayed // parts),
    )  # fmt: skip
    if sums is not total:
        total[...] = sums


def _vector(values: Array) -> Array:
    """One value a model, as the kernel reads it."""
    return contiguous(values.astype(np.float64, copy=False))
