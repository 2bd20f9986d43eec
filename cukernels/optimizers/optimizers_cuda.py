"""CUDA bodies of the optimizers, which launch the kernels of `optimizers.cu`."""

from __future__ import annotations

import numpy as np

from cukernels.gpu import elementwise
from cukernels.gpu.kernel import Kernel, contiguous, ctype
from cukernels.optimizers.optimizers import check_decayed
from cukernels.runtime.arrays import Array

TYPES = [("float",), ("double",)]
_SGD = Kernel("optimizers.cu", "sgd", TYPES)
_ADAM = Kernel("optimizers.cu", "adam", TYPES)


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
    models, p = params.shape
    updated = contiguous(params), contiguous(velocity)
    _SGD[ctype(params)](
        grid(params), elementwise.THREADS, updated[0], contiguous(grads), updated[1],
        *hyper_parameters(learning_rate, momentum, l2), p, n_decayed, nesterov,
    )  # fmt: skip
    write_back(updated, (params, velocity))


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
    models, p = params.shape
    updated = contiguous(params), contiguous(first), contiguous(second)
    _ADAM[ctype(params)](
        grid(params), elementwise.THREADS, updated[0], contiguous(grads), *updated[1:],
        contiguous(step, np.int64),
        *hyper_parameters(learning_rate, beta_1, beta_2, epsilon, l2), p, n_decayed,
    )  # fmt: skip
    write_back(updated, (params, first, second))


def grid(params: Array) -> tuple[int, int, int]:
    """Return the grid: (blocks of a model, models, 1)."""
    models, p = params.shape
    return elementwise.blocks(params, p), models, 1


def hyper_parameters(*vectors: Array) -> list[Array]:
    """Return vectors of one value for each model in the dtype of the kernels."""
    return [contiguous(vector, np.float64) for vector in vectors]


def write_back(updated: tuple[Array, ...], given: tuple[Array, ...]) -> None:
    """Copy results into the caller's arrays if those were not contiguous."""
    for new, old in zip(updated, given, strict=True):
        if new is not old:
            old[...] = new
