"""NumPy bodies of the optimizers: piece after piece of the parameters, in the cache."""

from __future__ import annotations

import math

import numpy as np

from cukernels.optimizers.optimizers import (
    Piece,
    check_decayed,
    check_steps,
    columns,
    penalised_piece,
    pieces,
    root_of_squares,
)
from cukernels.runtime.arrays import Array
from cukernels.runtime.workers import in_parallel


def sgd(
    params: Array,
    grads: Array,
    velocity: Array,
    *,
    learning_rate: Array,
    momentum: Array,
    l2: Array,
    n_decayed: int,
    nesterov: bool = True,
) -> None:
    check_decayed("sgd", params, n_decayed)
    rates, keeps = columns(params, learning_rate, momentum)

    def move(_: None, piece: Piece) -> None:
        g, change = penalised_piece(params, grads, l2, n_decayed, piece)
        p, v, keep = params[piece], velocity[piece], keeps[piece[0]]
        np.multiply(g, rates[piece[0]], out=change)
        v *= keep
        v -= change
        if nesterov:
            p -= change
            p += np.multiply(v, keep, out=change)
        else:
            p += v

    in_parallel(move, pieces(*params.shape))


def adam(
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
    l2: Array,
    n_decayed: int,
) -> None:
    check_decayed("adam", params, n_decayed)
    check_steps("adam", step, beta_2)
    settings = (vector.tolist() for vector in (learning_rate, beta_1, beta_2, step))
    corrected = [  # numbers one by one: faster than vectors as short as these
        rate * math.sqrt(1 - b2**t) / (1 - b1**t) for rate, b1, b2, t in zip(*settings, strict=True)
    ]
    tiny = np.maximum(epsilon, np.finfo(params.dtype).tiny)
    rates, b1s, b2s, tinies = columns(params, np.array(corrected), beta_1, beta_2, tiny)

    def move(_: None, piece: Piece) -> None:
        g, change = penalised_piece(params, grads, l2, n_decayed, piece)
        p, mean, square = params[piece], first[piece], second[piece]
        b1, b2 = b1s[piece[0]], b2s[piece[0]]
        mean *= b1
        mean += np.multiply(g, 1 - b1, out=change)
        root_of_squares(square, g, b2, out=change)
        change += tinies[piece[0]]
        np.divide(mean, change, out=change)
        change *= rates[piece[0]]
        p -= change

    in_parallel(move, pieces(*params.shape))
