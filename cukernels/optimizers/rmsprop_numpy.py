"""The NumPy body of RMSprop."""

from __future__ import annotations

import numpy as np

from cukernels.optimizers.optimizers import add_batch, check_decay, columns
from cukernels.optimizers.optimizers_numpy import Chunk, by_chunks, penalised_chunk, root_of_squares
from cukernels.runtime.arrays import Array
from cukernels.training.epoch_loss import check_decayed


def rmsprop(
    params: Array,
    grads: Array,
    second: Array,
    *,
    learning_rate: Array,
    beta_2: Array,
    epsilon: Array,
    l2: Array,
    n_decayed: int,
    total: Array | None = None,
    loss: Array | None = None,
    size: Array | None = None,
) -> None:
    check_decayed("rmsprop", params, n_decayed)
    check_decay("rmsprop", beta_2)
    add_batch("rmsprop", total, loss, size, params, l2, n_decayed)
    tiny = np.maximum(epsilon, np.finfo(params.dtype).tiny)
    rates, b2s, tinies = columns(params, learning_rate, beta_2, tiny)

    def move(_: None, chunk: Chunk) -> None:
        g, change = penalised_chunk(params, grads, l2, n_decayed, chunk)
        p, models = params[chunk], chunk[0]
        root_of_squares(second[chunk], g, b2s[models], out=change)
        change += tinies[models]
        np.divide(g, change, out=change)
        change *= rates[models]
        p -= change

    by_chunks(move, params)
