"""The NumPy body of AdamW."""

from __future__ import annotations

import math

import numpy as np

from cukernels.optimizers.optimizers import add_batch, check_steps, columns
from cukernels.optimizers.optimizers_numpy import Chunk, by_chunks, root_of_squares
from cukernels.runtime.arrays import Array
from cukernels.runtime.recording import of_now, recomputed
from cukernels.runtime.workers import scratch
from cukernels.training.epoch_loss import check_decayed


def adamw(
    params: Array,
    grads: Array,
    first: Array,
    second: Array,
    *,
    step: Array,
    learning_rate: Array,
    beta_1: Array,
    beta_2: Array,
    epsilon: Array,
    weight_decay: Array,
    n_decayed: int,
    total: Array | None = None,
    loss: Array | None = None,
    size: Array | None = None,
) -> None:
    check_decayed("adamw", params, n_decayed)
    check_steps("adamw", step, beta_2)
    add_batch("adamw", total, loss, size, params, np.zeros_like(weight_decay), n_decayed)
    vectors = columns(
        params,
        recomputed(_corrected, learning_rate, beta_1, step),
        recomputed(_roots, beta_2, step),
        beta_1,
        beta_2,
        np.maximum(epsilon, np.finfo(params.dtype).tiny),
        learning_rate * weight_decay,
    )

    def move(_: None, chunk: Chunk) -> None:
        models, parameters = chunk
        g, p, mean, square = grads[chunk], params[chunk], first[chunk], second[chunk]
        rate, root, b1, b2, tiny, shrinkage = (vector[models] for vector in vectors)
        change = scratch("change", g.shape, g.dtype)
        mean *= b1
        mean += np.multiply(g, 1 - b1, out=change)
        root_of_squares(square, g, b2, out=change)
        change *= root
        change += tiny
        np.divide(mean, change, out=change)
        change *= rate
        decayed = min(n_decayed - parameters.start, g.shape[1])
        if decayed > 0 and of_now(weight_decay[models]).any():
            lost = scratch("penalised", (len(g), decayed), g.dtype)
            np.multiply(p[:, :decayed], shrinkage, out=lost)
            change[:, :decayed] += lost
        p -= change

    by_chunks(move, params)


def _corrected(learning_rate: Array, beta_1: Array, step: Array) -> Array:
    """The learning rates, with the bias of the running mean corrected."""
    # Python numbers are faster than vectors as short as these
    settings = zip(learning_rate.tolist(), beta_1.tolist(), step.tolist(), strict=True)
    return np.array([rate / (1 - b1**t) for rate, b1, t in settings])


def _roots(beta_2: Array, step: Array) -> Array:
    """What corrects the bias of the root of the mean square."""
    settings = zip(beta_2.tolist(), step.tolist(), strict=True)
    return np.array([1 / math.sqrt(1 - b2**t) for b2, t in settings])
