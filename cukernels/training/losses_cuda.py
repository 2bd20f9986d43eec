"""CUDA bodies of the losses, which launch the kernels of `losses.cu`."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np

from cukernels.gpu import rows
from cukernels.gpu.kernel import Kernel, contiguous, ctype
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
_SUM = Kernel("losses.cu", "sum_partials", [("float",), ("double",)])
_VALUES_A_BLOCK = 8192  # so a batch of 512 samples of 10 classes has one block, and one launch
_MOST_BLOCKS = 64  # of a model, as each of them adds up all the weights


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
        blocks = min(max(-(-n * k // _VALUES_A_BLOCK), 1), _MOST_BLOCKS)
        lanes = rows.lanes(k)
        loss, dz = xp.empty(stack, z.dtype), xp.empty(z.shape, z.dtype)
        partial = xp.empty((models, blocks), np.float64) if blocks > 1 else None
        _LOSS[ctype(z), ctype(y), functor, str(lanes)](
            (blocks, models, 1), rows.THREADS,
            z, y, weight, dz, loss, partial, n, k, y_model, weight_model,
        )  # fmt: skip
        if blocks > 1:
            _SUM[ctype(z)]((models, 1, 1), 32, partial, loss, blocks)
        return loss, dz

    return body


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
