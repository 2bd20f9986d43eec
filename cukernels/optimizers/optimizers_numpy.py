"""NumPy bodies of the optimizers: piece after piece of the parameters, in the cache."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from cukernels.optimizers.optimizers import check_decayed, check_steps, columns
from cukernels.runtime.arrays import Array
from cukernels.runtime.workers import in_parallel, scratch, shares, slices


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


_CHUNK = 2**17  # elements of each array, which stay in the cache from line to line


def root_of_squares(square: Array, g: Array, b2: Array, out: Array) -> None:
    """Move the running mean of the squares in place, and store its root."""
    np.multiply(g, g, out=out)
    out *= 1 - b2
    square *= b2
    square += out
    np.sqrt(square, out=out)


Piece = tuple[slice, slice]  # models, and parameters of each


@lru_cache(maxsize=16)
def pieces(models: int, size: int) -> list[Piece]:
    """Cut the parameters into pieces that fit the cache: parts of one model, or several models."""
    parts = shares(size, _CHUNK) or [slice(0, 0)]
    at_once = max(_CHUNK // max(size, 1), 1)
    return [(several, part) for several in slices(models, at_once) for part in parts]


def penalised_piece(
    params: Array, grads: Array, l2: Array, n_decayed: int, piece: Piece
) -> tuple[Array, Array]:
    """The gradient of a piece with its penalty, not to be written to; and memory of its shape."""
    models, part = piece
    g = grads[piece]
    own, change = (scratch(role, g.shape, g.dtype) for role in ("penalised", "change"))
    decayed = min(n_decayed - part.start, g.shape[1])
    if decayed <= 0 or not l2[models].any():
        return g, change
    (strength,) = columns(params, l2[models])
    np.multiply(params[piece][:, :decayed], strength, out=own[:, :decayed])
    own[:, :decayed] += g[:, :decayed]
    own[:, decayed:] = g[:, decayed:]
    return own, change
