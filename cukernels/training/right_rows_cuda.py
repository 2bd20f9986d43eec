"""CUDA body of `right_rows`, which launches the kernel of `right_rows.cu`."""

from __future__ import annotations

import math

import numpy as np

from cukernels.gpu import elementwise
from cukernels.gpu.kernel import Kernel, contiguous, ctype
from cukernels.runtime.arrays import Array, namespace

_KERNEL = Kernel("right_rows.cu", "right_rows", [("float",), ("double",)])


def right_rows(p: Array, y: Array) -> Array:
    right = namespace(p).empty(p.shape[:-1], np.uint8)
    n = math.prod(right.shape)
    _KERNEL[ctype(p)](
        (-(-n // elementwise.THREADS), 1, 1), elementwise.THREADS,
        contiguous(p), contiguous(y, np.int64), right, n, p.shape[-1], y.ndim == p.ndim,
    )  # fmt: skip
    return right
