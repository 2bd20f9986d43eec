"""CUDA bodies of the losses, which launch the kernels of `losses.cu`."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np

from cukernels.gpu import rows
from cukernels.gpu.counters import counters
from cukernels.gpu.kernel import Kernel, contiguous, ctype, multiprocessors
from cukernels.runtime.arrays import Array, namespace

_LABELLED = ("SoftmaxCrossEntropy", "PerceptronLoss")
_BY_OUTPUT = ("LogisticLoss", "SquaredLoss")

_LOSS = Kernel(
    "losses.cu",
    "loss",
    [
        *product(("float", "double"), ("int", "int64"), _LABELLED, rows.LANES),
        *((t, t, f, n) for t, f, n in product(("float", "double"), _BY_OUTPUT, rows.LANES)),
    ],
)
_VALUES_A_LANE = 4  # of a short row: as many as its loops have in flight


def _body(functor: str, labelled: bool) -> Callable[..., tuple[Array, Array]]:
    """Return the CUDA body of a loss; `labelled` says that y are labels and not targets."""

    def body(
        z: Array = None, y: Array = None, sample_weight: Array | None = None, *, p: Array = None
    ) -> tuple[Array, Array]:
        z = contiguous(p if z is None else z)  # `squared_loss` calls its argument p
        xp = namespace(z)
        stack, (n, k) = z.shape[:-2], z.shape[-2:]
        models = math.prod(stack)
        if labelled:
            y = y if y.dtype in (np.int32, np.int64) else y.astype(np.int64)
            y, y_model = _shared_or_own(y, z.shape[:-1], 1)
        else:
            y, y_model = _shared_or_own(y.astype(z.dtype, copy=False), z.shape, 2)
        weight, weight_model = sample_weight, 0
        if weight is not None:
            weight = weight.astype(z.dtype, copy=False)
            weight, weight_model = _shared_or_own(weight, z.shape[:-1], 1)
        lanes = _lanes(k)
        blocks = max(rows.blocks(z, n, lanes), 1)
        if weight is not None:  # each of the blocks adds up all the weights
            blocks = min(blocks, multiprocessors(z))
        loss, dz = xp.empty(stack, z.dtype), xp.empty(z.shape, z.dtype)
        partial = arrived = None
        if blocks > 1:
            partial, arrived = xp.empty((models, blocks), np.float64), counters(z, models)
        _LOSS[ctype(z), ctype(y), functor, str(lanes)](
            (blocks, models, 1), rows.THREADS,
            z, y, weight, dz, loss, partial, arrived, n, k, y_model, weight_model,
        )  # fmt: skip
        return loss, dz

    return body


def _lanes(k: int) -> int:
    """Return how many lanes share a row: few, so that a block has many rows at once."""
    return rows.lanes(-(-k // _VALUES_A_LANE) if k <= 32 * _VALUES_A_LANE else k)


def _shared_or_own(x: Array, shape: tuple[int, ...], own: int) -> tuple[Array, int]:
    """Return `x` as a contiguous array, and the elements from one model to the next.

    `x` broadcasts to `shape`, whose last `own` axes belong to a model. If all models share one, the
    number of elements is 0; otherwise each model has its own in the result.
    """
    one = math.prod(shape[len(shape) - own :])
    if x.shape[max(x.ndim - own, 0) :] == shape[len(shape) - own :] and x.size == one:
        return contiguous(x), 0
    if x.shape != shape:
        x = namespace(x).broadcast_to(x, shape)
    return contiguous(x), one


softmax_cross_entropy = _body("SoftmaxCrossEntropy", labelled=True)
perceptron_loss = _body("PerceptronLoss", labelled=True)
logistic_loss = _body("LogisticLoss", labelled=False)
squared_loss = _body("SquaredLoss", labelled=False)
