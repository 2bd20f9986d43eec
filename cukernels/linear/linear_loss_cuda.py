"""CUDA bodies of the losses of linear classifiers, which launch the kernel of `linear_loss.cu`."""

from __future__ import annotations

from itertools import product

import numpy as np

from cukernels.gpu.counters import counters
from cukernels.gpu.kernel import Kernel, contiguous, ctype
from cukernels.linear.linear_loss import check_loss
from cukernels.runtime.arrays import Array, namespace

THREADS = 256
_LANES = (1, 4, 32)  # how many threads share the outputs of a sample
_MOST_BLOCKS = 512  # of a model
_NAMES = {"log_loss": "LogLoss", "squared_error": "SquaredError"}
_TYPES = ("float", "double")

_LOSS = Kernel(
    "linear_loss.cu",
    "linear_loss",
    [
        *product(_TYPES, ("int", "int64"), _NAMES.values(), _LANES),
        *((t, t, "Curvature", n) for t, n in product(_TYPES, _LANES)),
    ],
)


def linear_loss(
    z: Array,
    y: Array,
    bias: Array | None = None,
    share: Array | None = None,
    *,
    loss: str = "log_loss",
) -> tuple[Array, Array, Array | None]:
    check_loss(loss)
    y = contiguous(y) if y.dtype in (np.int32, np.int64) else y.astype(np.int64)
    return _launch(_NAMES[loss], z, y, bias, share)


def linear_curvature(
    z: Array, p: Array, bias: Array | None = None, share: Array | None = None
) -> tuple[Array, Array, Array | None]:
    return _launch("Curvature", z, contiguous(p, z.dtype), bias, share)


def _launch(
    functor: str, z: Array, y: Array, bias: Array | None, share: Array | None
) -> tuple[Array, Array, Array | None]:
    xp, (n, models, k) = namespace(z), z.shape
    lanes = 1 if k == 1 else 4 if k <= 16 else 32
    # What decides about the order of sums is the shape of one model.
    at_once = THREADS // lanes
    rows = max(2, -(-n // (_MOST_BLOCKS * at_once))) * at_once
    blocks = max(-(-n // rows), 1)
    value, dz = xp.empty(models, z.dtype), xp.empty(z.shape, z.dtype)
    dbias = None if bias is None else xp.empty((models, k), z.dtype)
    share_model = 0
    if share is not None:
        share_model = n if len(share) == models > 1 and share.ndim == 2 else 0
        if not share_model and share.size != n:
            share = xp.broadcast_to(share, (models, n))
            share_model = n
        share = contiguous(share, z.dtype)
    _LOSS[ctype(z), ctype(y), functor, str(lanes)](
        (blocks, models, 1), THREADS,
        contiguous(z), y, None if bias is None else contiguous(bias, z.dtype), share, dz, value,
        dbias, xp.empty((models, blocks, 1 + k)), counters(z, models), n, models, k, rows,
        share_model, min(1 << (k - 1).bit_length(), THREADS) if k else 1,
    )  # fmt: skip
    return value, dz, dbias
