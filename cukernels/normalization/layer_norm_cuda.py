"""CUDA bodies of layer normalisation, which launch the kernels of `layer_norm.cu`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product

import numpy as np

from cukernels.gpu import rows
from cukernels.gpu.kernel import Kernel, contiguous, ctype
from cukernels.gpu.stacks import models_of, gradient_out
from cukernels.matmul.sums import column_sums, sum_models
from cukernels.runtime.arrays import Array, namespace

_INSTANCES = list(product(("float", "double"), rows.LANES))
_FORWARD = Kernel("layer_norm.cu", "layer_norm", _INSTANCES)
_BACKWARD = Kernel("layer_norm.cu", "layer_norm_backward", _INSTANCES)


def layer_norm(x: Array, gamma: Array, beta: Array, *, epsilon: float = 1e-5) -> Array:
    own = x.ndim - gamma.ndim + 1  # axes of a model's activations
    stack = _stack(x, own, gamma, beta)
    y = namespace(x).empty(stack + x.shape[x.ndim - own :], x.dtype)
    models, k = math.prod(stack), x.shape[-1]
    if not y.size:
        return y
    n, lanes = y.size // (models * k), rows.lanes(k)
    values, x_model = models_of(x, own, stack)
    scale, gamma_model = models_of(gamma, 1, stack)
    shift, beta_model = models_of(beta, 1, stack)
    _FORWARD[ctype(x), str(lanes)](
        (rows.blocks(x, n, lanes), models, 1), rows.THREADS,
        values, scale, shift, y, epsilon, n, k, x_model, gamma_model, beta_model,
    )  # fmt: skip
    return y


def layer_norm_backward(
    dy: Array,
    x: Array,
    gamma: Array,
    beta: Array,
    *,
    epsilon: float = 1e-5,
    out: Mapping[str, Array] | None = None,
) -> tuple[Array, Array, Array]:
    xp, own = namespace(x), x.ndim - gamma.ndim + 1
    stack = _stack(x, own, gamma, beta)
    dy = contiguous(dy)
    models, k = math.prod(stack), x.shape[-1]
    dx, by_scale = xp.empty(dy.shape, x.dtype), xp.empty(dy.shape, x.dtype)
    if not models * k:
        return xp.zeros_like(x), xp.zeros_like(gamma), xp.zeros_like(beta)
    n = dy.size // (models * k)
    if n:
        lanes = rows.lanes(k)
        values, x_model = models_of(x, own, stack)
        scale, gamma_model = models_of(gamma, 1, stack)
        _BACKWARD[ctype(x), str(lanes)](
            (rows.blocks(x, n, lanes), models, 1), rows.THREADS,
            dy, values, scale, dx, by_scale, epsilon, n, k, x_model, gamma_model,
        )  # fmt: skip
    gradients = []
    for name, units, terms in (("gamma", gamma, by_scale), ("beta", beta, dy)):
        place = gradient_out(out, name, units, stack, 1)
        into = None if place is None else place.reshape(models, k)
        sums = column_sums(terms, models, n, out=into)
        gradients.append(sum_models(sums[:, None], stack, units.shape, 1, place))
    dx = sum_models(dx.reshape(models, 1, *dx.shape[len(stack) :]), stack, x.shape, own)
    return dx, gradients[0], gradients[1]


def _stack(x: Array, own: int, *units: Array) -> tuple[int, ...]:
    """The leading axes of activations, and of arrays that have one axis of their own, together."""
    shapes = {x.shape[: x.ndim - own], *(a.shape[:-1] for a in units)}
    return np.broadcast_shapes(*shapes)
