"""CUDA bodies of the optimizers, which launch the kernels of `optimizers.cu`."""

from __future__ import annotations

import numpy as np

from cukernels.gpu import elementwise
from cukernels.gpu.kernel import Kernel, contiguous, ctype
from cukernels.optimizers.optimizers import all_or_none
from cukernels.runtime.arrays import Array
from cukernels.training.epoch_loss import check_decayed, check_total

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
    total: Array | None = None,
    loss: Array | None = None,
    size: Array | None = None,
) -> None:
    check_decayed("sgd", params, n_decayed)
    batch = of_batch("sgd", params, total, loss, size)
    models, p = params.shape
    updated = contiguous(params), contiguous(velocity)
    _SGD[ctype(params)](
        grid(params, total), elementwise.THREADS, updated[0], contiguous(grads), updated[1],
        *hyper_parameters(learning_rate, momentum, l2), p, n_decayed, nesterov, *batch,
    )  # fmt: skip
    write_back((*updated, batch[0]), (params, velocity, total))


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
    batch = of_batch("adam", params, total, loss, size)
    models, p = params.shape
    updated = contiguous(params), contiguous(first), contiguous(second)
    _ADAM[ctype(params)](
        grid(params, total), elementwise.THREADS, updated[0], contiguous(grads), *updated[1:],
        contiguous(step, np.int64),
        *hyper_parameters(learning_rate, beta_1, beta_2, epsilon, l2), p, n_decayed, *batch,
    )  # fmt: skip
    write_back((*updated, batch[0]), (params, first, second, total))


def grid(params: Array, total: Array | None) -> tuple[int, int, int]:
    """Return the grid: (blocks of a model, models, 1), with a block for each column of `total`."""
    models, p = params.shape
    return elementwise.blocks(params, p) if total is None else total.shape[1], models, 1


def of_batch(
    op: str, params: Array, total: Array | None, loss: Array | None, size: Array | None
) -> tuple[Array | None, ...]:
    """Return what a step adds to the totals of an epoch as the kernels take it."""
    if not all_or_none(op, total, loss, size):
        return None, None, None
    check_total(total, params, 0)
    return (
        contiguous(total, np.float64),
        contiguous(loss, params.dtype),
        contiguous(size, np.float64),
    )


def hyper_parameters(*vectors: Array) -> list[Array]:
    """Return vectors of one value for each model in the dtype of the kernels."""
    return [contiguous(vector, np.float64) for vector in vectors]


def write_back(updated: tuple[Array | None, ...], given: tuple[Array | None, ...]) -> None:
    """Copy results into the caller's arrays if those were not contiguous."""
    for new, old in zip(updated, given, strict=True):
        if new is not old and old is not None:
            old[...] = new
