"""The NumPy body of dropout, with NumPy's own Philox generator, which is written in C."""

from __future__ import annotations

from functools import partial

import numpy as np

from cukernels.runtime.arrays import Array
from cukernels.runtime.recording import recomputed
from cukernels.runtime.workspace import empty
from cukernels.training.dropout import check_stack, dropout_backward, threshold


def dropout(x: Array, rate: Array, seed: Array, step: Array) -> tuple[Array, Array]:
    check_stack(x, rate)
    keep = recomputed(partial(_keep, x.shape), rate, seed, step)
    return dropout_backward(x, rate, keep), keep


def _keep(shape: tuple[int, ...], rate: Array, seed: Array, step: Array) -> Array:
    """Which elements are kept."""
    keep = empty(shape, bool)
    size = int(np.prod(shape[rate.ndim :]))
    for m in np.ndindex(rate.shape):
        stream = np.random.Philox(key=int(seed[m]), counter=[0, int(step[m]), 0, 0])
        bits = stream.random_raw(-(-size // 2)).astype("<u8", copy=False).view("<u4")[:size]
        keep[m] = (bits >= threshold(rate[m])).reshape(keep[m].shape)
    return keep
