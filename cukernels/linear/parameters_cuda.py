"""CUDA bodies for the parameters of linear models, which launch the kernels of `parameters.cu`."""

from __future__ import annotations

from itertools import product

import numpy as np

from cukernels.gpu.counters import counters
from cukernels.gpu.kernel import Kernel, contiguous, ctype
from cukernels.linear.parameters import check_parameters
from cukernels.runtime.arrays import Array, namespace

_THREADS = 256
_LENGTH = 2 * _THREADS  # parameters of a block, at least
_MOST_BLOCKS = 256  # of a model
_TYPES = ("float", "double")

_WEIGHTS = Kernel("parameters.cu", "linear_weights", product(_TYPES, _TYPES))
_GRADIENT = Kernel("parameters.cu", "linear_gradient", [(t,) for t in _TYPES])


def linear_weights(
    params: Array,
    coef: Array,
    bias: Array | None = None,
    *,
    intercept_scaling: float = 1.0,
    transpose: bool = False,
) -> None:
    k, d = (coef.shape[2], coef.shape[0]) if transpose else coef.shape[1:]
    check_parameters("linear_weights", params, k, d, bias)
    models, p = params.shape
    given = [coef] if bias is None else [coef, bias]
    written = [contiguous(a, coef.dtype) for a in given]
    blocks = min(-(-p // _THREADS), _MOST_BLOCKS)
    _WEIGHTS[ctype(coef), ctype(params)](
        (blocks, models, 1), _THREADS, contiguous(params), written[0],
        None if bias is None else written[1], intercept_scaling, models, k, d, p, transpose,
    )  # fmt: skip
    _bring_back(written, given)


def linear_gradient(
    dcoef: Array,
    loss: Array,
    params: Array,
    l2: Array,
    value: Array,
    gradient: Array,
    dbias: Array | None = None,
    *,
    intercept_scaling: float = 1.0,
    penalize_intercept: bool = False,
) -> None:
    d, models, k = dcoef.shape
    check_parameters("linear_gradient", params, k, d, dbias)
    p = params.shape[1]
    given = [value, gradient]
    written = [contiguous(a, np.float64) for a in given]
    length = max(-(-p // (_MOST_BLOCKS * _LENGTH)), 1) * _LENGTH
    blocks = max(-(-p // length), 1)
    _GRADIENT[ctype(dcoef)](
        (blocks, models, 1), _THREADS, contiguous(dcoef), contiguous(loss, dcoef.dtype),
        None if dbias is None else contiguous(dbias, dcoef.dtype), contiguous(params, np.float64),
        contiguous(l2, np.float64), *written, namespace(params).empty((models, blocks)),
        counters(params, models), intercept_scaling, models, k, d, p,
        p if penalize_intercept else k * d, length,
    )  # fmt: skip
    _bring_back(written, given)


def _bring_back(written: list[Array], given: list[Array]) -> None:
    """Copy what was written into the caller's arrays, where those are not the same."""
    for new, old in zip(written, given, strict=True):
        if new is not old:
            old[...] = new
