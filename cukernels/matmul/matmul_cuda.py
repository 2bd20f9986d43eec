"""CUDA bodies of `matmul` and its backward, which launch the kernels of `matmul.cu` and others."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

import numpy as np

from cukernels.activations.fused import fused, reversible_activation
from cukernels.gpu.kernel import contiguous, ctype
from cukernels.gpu.stacks import gradient_out
from cukernels.matmul.gemm_plan import target_of
from cukernels.matmul.gradients import gradients, launch_of
from cukernels.matmul.matmul import chosen
from cukernels.matmul.product import product
from cukernels.matmul.sums import activation_gradient, column_sums, group_sum, sum_models
from cukernels.runtime.arrays import Array, namespace

Shape = tuple[int, ...]


def matmul(
    a: Array,
    b: Array,
    bias: Array | None = None,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    activation: str = "identity",
    a_activation: str = "identity",
    a_of: Array | None = None,
) -> Array:
    reversible_activation(a_activation)
    stack, a_of = _stack_of(a, b, transpose_a, a_of)
    y = product(a, b, not transpose_a, transpose_b, stack, bias, activation, a_of=a_of)
    after = fused(activation).after
    return after(y) if after else y


def matmul_backward(
    dy: Array,
    a: Array,
    b: Array,
    bias: Array | None,
    y: Array,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    activation: str = "identity",
    a_activation: str = "identity",
    a_of: Array | None = None,
    needs: tuple[str, ...] = ("a", "b", "bias"),
    out: Mapping[str, Array] | None = None,
) -> tuple[Array | None, Array | None, Array | None]:
    before = reversible_activation(a_activation)
    stack, a_of = _stack_of(a, b, transpose_a, a_of)
    models = math.prod(stack)
    empty = namespace(a).empty
    needs_a, needs_b = "a" in needs, "b" in needs
    needs_bias = bias is not None and "bias" in needs

    # The sums of dz are made with it, or else with the products.
    sums = dbias = bias_out = None
    if needs_bias:
        bias_out = gradient_out(out, "bias", bias, stack, 1)
        sums = empty((models, dy.shape[-1]), dy.dtype) if bias_out is None else bias_out
        sums = sums.reshape(models, dy.shape[-1])
    with_dz = fused(activation).code != 0
    dz, _ = activation_gradient(dy, y, activation, models, needs_bias and with_dz, sums)
    still = None if with_dz else sums

    is_own = a_of is None and a.shape[:-2] == stack  # da is not summed over models
    goes_back = needs_a and is_own and a_activation != "identity"
    how = None
    if not (transpose_a or transpose_b) and needs_a + needs_b + (still is not None) + goes_back > 1:
        how = launch_of(
            *a.shape[-2:], b.shape[-1], models, ctype(a), target_of(a),
            needs_a, needs_b, still is not None,
        )  # fmt: skip
    da = gradient_out(out, "a", a, stack, 2) if needs_a and is_own else None
    db = gradient_out(out, "b", b, stack, 2) if needs_b else None
    if needs_a and (da is None or not da.flags.c_contiguous):
        da = empty((*stack, *a.shape[-2:]), a.dtype)
    if needs_b and db is None:
        db = empty((*stack, *b.shape[-2:]), b.dtype)
    if how is not None:
        through = a_activation if goes_back else "identity"
        gradients(how, dz, a, b, stack, a_of, through, da, db, still)
    else:
        goes_back = False
        _one_by_one(dz, a, b, transpose_a, transpose_b, stack, a_of, da, db)
        if still is not None:
            column_sums(dz, models, dz.shape[-2], out=still)
    if da is not None:
        if a_of is not None:
            da = group_sum(da.reshape(models, *a.shape[1:]), a_of, a.shape[0])
        else:
            da = _sum_to(da, stack, models, a.shape)
        if a_activation != "identity" and not goes_back:
            da = before.backward(da, a)
    if db is not None:
        db = _sum_to(db, stack, models, b.shape)
    if sums is not None and bias is not None:
        dbias = sum_models(sums[:, None], stack, bias.shape, 1, bias_out)
    return da, db, dbias


def _one_by_one(
    dz: Array, a: Array, b: Array, transpose_a: bool, transpose_b: bool, stack: Shape,
    a_of: Array | None, da: Array | None, db: Array | None,
) -> None:  # fmt: skip
    """Compute the gradients for which there is an array, of all models, each in its launch.

    The order of the two factors is such that each gradient has the layout of its argument.
    """
    if da is not None and transpose_a:  # (K, M) = b (K, N) dz^T (N, M)
        product(b, dz, not transpose_b, True, stack, out=da)
    elif da is not None:  # (M, K) = dz (M, N) b^T (N, K)
        product(dz, b, True, not transpose_b, stack, out=da)
    if db is not None and not transpose_b:  # (K, N) = a^T (K, M) dz (M, N)
        product(a, dz, transpose_a, False, stack, out=db, a_of=a_of)
    elif db is not None and a_of is None:  # (N, K) = dz^T (N, M) a (M, K)
        product(dz, a, False, transpose_a, stack, out=db)
    elif db is not None:  # the factor that `a_of` chooses has to be the left one
        db[...] = product(a, dz, transpose_a, False, stack, a_of=a_of).swapaxes(-1, -2)


def _sum_to(gradient: Array, stack: Shape, models: int, shape: Shape) -> Array:
    """Sum the gradient of a factor of this shape over the models that share the factor."""
    if gradient.shape == shape:
        return gradient
    return sum_models(gradient.reshape(models, 1, *shape[-2:]), stack, shape, 2)


def _stack_of(
    a: Array, b: Array, transpose_a: bool, a_of: Array | None
) -> tuple[Shape, Array | None]:
    """Return the leading axes of the result, and `a_of` as the kernels take it."""
    if a_of is None:
        return _stack(a.shape[:-2], b.shape[:-2]), None
    a_of = chosen(a_of, a, transpose_a)
    stack = _stack(a_of.shape, b.shape[:-2])
    if a_of.shape != stack:
        a_of = namespace(a).broadcast_to(a_of, stack)
    return stack, contiguous(a_of, np.int32).ravel()


@functools.cache
def _stack(a: Shape, b: Shape) -> Shape:
    """Return the leading axes that these broadcast to."""
    return np.broadcast_shapes(a, b)
