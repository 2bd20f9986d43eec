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
        *map(vector, (learning_rate, momentum, l2)), p, n_decayed, nesterov,
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
        contiguous(step.astype(np.int64, copy=False)),
        *map(vector, (learning_rate, beta_1, beta_2, epsilon, l2)), p, n_decayed,
    )  # fmt: skip
    write_back(updated, (params, first, second))


def grid(params: Array) -> tuple[int, int, int]:
    """Blocks of a model, and models."""
    models, p = params.shape
    return elementwise.blocks(params, p), models, 1


def vector(values: Array) -> Array:
    """One value a model, as the kernels read it."""
    return contiguous(values.astype(np.float64, copy=False))


def write_back(updated: tuple[Array, ...], given: tuple[Array, ...]) -> None:
    """Copy results to where the caller's arrays are, if they were not contiguous."""
    for new, old in zip(updated, given, strict=True):
        if new is not old:
            old[...] = new
