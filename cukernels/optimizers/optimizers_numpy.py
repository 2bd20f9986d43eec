"""NumPy bodies of the optimizers, which take one chunk of parameters after another."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from cukernels.optimizers.optimizers import add_batch, check_steps, columns
from cukernels.runtime.arrays import Array
from cukernels.runtime.chunks import shares, slices
from cukernels.runtime.recording import of_now, recomputed
from cukernels.runtime.workers import in_parallel, scratch
from cukernels.training.epoch_loss import check_decayed


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
    total: Array | None = None,
    loss: Array | None = None,
    size: Array | None = None,
) -> None:
    check_decayed("sgd", params, n_decayed)
    add_batch("sgd", total, loss, size, params, l2, n_decayed)
    rates, keeps = columns(params, learning_rate, momentum)

    def move(_: None, chunk: Chunk) -> None:
        g, change = penalised_chunk(params, grads, l2, n_decayed, chunk)
        p, v, keep = params[chunk], velocity[chunk], keeps[chunk[0]]
        np.multiply(g, rates[chunk[0]], out=change)
        v *= keep
        v -= change
        if nesterov:
            p -= change
            p += np.multiply(v, keep, out=change)
        else:
            p += v

    by_chunks(move, params)


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
    total: Array | None = None,
    loss: Array | None = None,
    size: Array | None = None,
) -> None:
    check_decayed("adam", params, n_decayed)
    check_steps("adam", step, beta_2)
    add_batch("adam", total, loss, size, params, l2, n_decayed)
    corrected = recomputed(_corrected, learning_rate, beta_1, beta_2, step)
    tiny = np.maximum(epsilon, np.finfo(params.dtype).tiny)
    rates, b1s, b2s, tinies = columns(params, corrected, beta_1, beta_2, tiny)

    def move(_: None, chunk: Chunk) -> None:
        g, change = penalised_chunk(params, grads, l2, n_decayed, chunk)
        p, mean, square = params[chunk], first[chunk], second[chunk]
        b1, b2 = b1s[chunk[0]], b2s[chunk[0]]
        mean *= b1
        mean += np.multiply(g, 1 - b1, out=change)
        root_of_squares(square, g, b2, out=change)
        change += tinies[chunk[0]]
        np.divide(mean, change, out=change)
        change *= rates[chunk[0]]
        p -= change

    by_chunks(move, params)


def _corrected(learning_rate: Array, beta_1: Array, beta_2: Array, step: Array) -> Array:
    """The learning rates, with the bias of both running means corrected."""
    # Python numbers are faster than vectors as short as these
    settings = (vector.tolist() for vector in (learning_rate, beta_1, beta_2, step))
    return np.array(
        [
            rate * math.sqrt(1 - b2**t) / (1 - b1**t)
            for rate, b1, b2, t in zip(*settings, strict=True)
        ]
    )


_CHUNK = 2**17  # elements of a chunk, whose arrays stay in the cache during all operations


def root_of_squares(square: Array, g: Array, b2: Array, out: Array) -> None:
    """Update the running mean of the squares in place, and write its root to `out`."""
    np.multiply(g, g, out=out)
    out *= 1 - b2
    square *= b2
    square += out
    np.sqrt(square, out=out)


Chunk = tuple[slice, slice]  # models, and parameters of each


def by_chunks(move: Callable[[None, Chunk], None], params: Array) -> None:
    """Move chunk after chunk; threads share in them where there are many parameters."""
    in_parallel(move, chunks(*params.shape), worth=params.size > _CHUNK)


@lru_cache(maxsize=16)
def chunks(models: int, size: int) -> list[Chunk]:
    """Split the parameters into chunks that fit the cache: of one model, or several models.

    A single model has two chunks where it might have one: in a step that is repeated, the first one
    is computed while a helper still multiplies the gradient of the other.
    """
    most = _CHUNK // 2 if models == 1 and size <= _CHUNK else _CHUNK
    own = shares(size, most) or [slice(0, 0)]
    at_once = max(_CHUNK // max(size, 1), 1)
    return [(several, columns) for several in slices(models, at_once) for columns in own]


def penalised_chunk(
    params: Array, grads: Array, l2: Array, n_decayed: int, chunk: Chunk
) -> tuple[Array, Array]:
    """Return the gradient of a chunk plus that of its penalty, and scratch memory of its shape.

    The gradient may be a view of `grads`, and must not be written to.
    """
    models, parameters = chunk
    g = grads[chunk]
    own, change = (scratch(role, g.shape, g.dtype) for role in ("penalised", "change"))
    decayed = min(n_decayed - parameters.start, g.shape[1])
    if decayed <= 0 or not of_now(l2[models]).any():  # 0 in all steps of a model, or in none
        return g, change
    (strength,) = columns(params, l2[models])
    np.multiply(params[chunk][:, :decayed], strength, out=own[:, :decayed])
    own[:, :decayed] += g[:, :decayed]
    own[:, decayed:] = g[:, decayed:]
    return own, change
