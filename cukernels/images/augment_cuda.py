"""The CUDA body of shifts and flips, which launches the kernel of `augment.cu`."""

from __future__ import annotations

import math

import numpy as np

from cukernels.gpu.division import divisor
from cukernels.gpu.kernel import Kernel, contiguous, ctype
from cukernels.images.augment import check_moves
from cukernels.runtime.arrays import Array, namespace

_THREADS = 256
_KERNEL = Kernel("augment.cu", "shift_and_flip", [("float",), ("double",), ("byte",)])


def _as_int32(moves: Array) -> Array:
    """Moves in the dtype of the kernel, clipped: 2**30 pixels are out of the frame in any case."""
    if moves.dtype != np.int32:
        moves = moves.clip(-(2**30), 2**30)
    return contiguous(moves, np.int32)


def shift_and_flip(x: Array, moves: Array) -> Array:
    check_moves(x, moves)
    x = contiguous(x)
    h, w, c = x.shape[-3:]
    n = math.prod(x.shape[:-3])
    y = namespace(x).empty(x.shape, x.dtype)
    values = h * w * c
    if not y.size:
        return y
    if values >= 2**31:
        raise ValueError(f"images of shape {(h, w, c)} are too large")
    _KERNEL[ctype(x)](
        (n, 1, 1), _THREADS, x, _as_int32(moves), y, h, w, c,
        divisor(w), divisor(c),
    )  # fmt: skip
    return y
