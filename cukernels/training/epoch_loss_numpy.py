"""The NumPy body of the loss of an epoch."""

from __future__ import annotations

import numpy as np

from cukernels.runtime.arrays import Array
from cukernels.training.epoch_loss import check_parts


def add_loss(
    total: Array, loss: Array, params: Array, *, l2: Array, size: Array, n_decayed: int
) -> None:
    check_parts(total, params, n_decayed)
    parts = total.shape[1]
    length = -(-n_decayed // parts)
    for part in range(parts):
        w = params[:, min(part * length, n_decayed) : min((part + 1) * length, n_decayed)]
        norm = np.array([np.dot(own, own) for own in w])  # 10 x as fast as a stack of products
        total[:, part] += ((loss if part == 0 else 0) + 0.5 * l2 * norm) * size
