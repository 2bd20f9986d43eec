"""CUDA bodies of dropout, which launch the kernels of `dropout.cu`."""

from __future__ import annotations

import math

import numpy as np

from cukernels.gpu import elementwise
from cukernels.gpu.kernel import Kernel, contiguous, ctype
from cukernels.runtime.arrays import Array, namespace
from cukernels.training.dropout import check_stack

_TYPES = [("float",), ("double",)]
_DROPOUT = Kernel("dropout.cu", "dropout", _TYPES)
_BACKWARD = Kernel("dropout.cu", "dropout_backward", _TYPES)


def dropout(x: Array, rate: Array, seed: Array, step: Array) -> tuple[Array, Array]:
    xp, x = namespace(x), contiguous(x)
    y, keep = xp.empty(x.shape, x.dtype), xp.empty(x.shape, np.bool_)
    models, n = _sizes(x, rate)
    _DROPOUT[ctype(x)](
        (elementwise.blocks(x, n), models, 1), elementwise.THREADS, x, y, keep, n,
        contiguous(rate, np.float64), contiguous(seed, np.uint64), contiguous(step, np.int64),
    )  # fmt: skip
    return y, keep


def dropout_backward(dy: Array, rate: Array, keep: Array) -> Array:
    dy = contiguous(dy)
    dx = namespace(dy).empty(dy.shape, dy.dtype)
    models, n = _sizes(dy, rate)
    _BACKWARD[ctype(dy)](
        (elementwise.blocks(dy, n), models, 1), elementwise.THREADS, dy, contiguous(keep), dx, n,
        contiguous(rate, np.float64),
    )  # fmt: skip
    return dx


def _sizes(x: Array, rate: Array) -> tuple[int, int]:
    """Return the number of models, and the number of elements of each."""
    check_stack(x, rate)
    return math.prod(rate.shape), math.prod(x.shape[rate.ndim :])
