"""The NumPy body of the loss of an epoch."""

from __future__ import annotations

import numpy as np

from cukernels.runtime.arrays import Array
from cukernels.training.epoch_loss import check_total, chunk_length


def add_loss(
    total: Array, loss: Array, params: Array, *, l2: Array, size: Array, n_decayed: int
) -> None:
    check_total(total, params, n_decayed)
    chunks = total.shape[1]
    length = chunk_length(params.shape[1], chunks)
    for chunk in range(chunks):
        w = params[:, min(chunk * length, n_decayed) : min((chunk + 1) * length, n_decayed)]
        norm = np.vecdot(w, w)
        total[:, chunk] += ((loss if chunk == 0 else 0) + 0.5 * l2 * norm) * size


def lose_overflowed(total: Array, params: Array) -> None:
    check_total(total, params, 0, "lose_overflowed")
    length = chunk_length(params.shape[1], total.shape[1])
    for chunk in range(total.shape[1]):
        own = params[:, chunk * length : (chunk + 1) * length]
        total[~np.isfinite(own).all(axis=1), chunk] = np.inf
