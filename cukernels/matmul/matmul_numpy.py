"""NumPy bodies of the matrix product, which write their results where they are needed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from cukernels.activations.activations import fused_activation, rectify
from cukernels.activations.fused import reversible_activation
from cukernels.matmul.matmul import chosen, factors, sum_chosen
from cukernels.matmul.shared_products import multiply
from cukernels.runtime.arrays import Array
from cukernels.runtime.stacks import sum_to
from cukernels.runtime.workspace import empty, is_active


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
    """Add the bias and apply the activation in the memory of the product."""
    reversible_activation(a_activation)
    if a_of is not None:
        a = a[chosen(a_of, a, transpose_a)]
    left, right = factors(a, b, transpose_a, transpose_b)
    y = _product(left, right)
    if bias is not None:
        y += bias[..., None, :]
    if activation == "relu":
        return rectify(y, out=y)
    return y if activation == "identity" else fused_activation(activation).forward(y)


def _product(left: Array, right: Array) -> Array:
    """``left @ right``, in the workspace if there is one."""
    if not is_active():
        return np.matmul(left, right)
    stack, dtype = left.shape[:-2], np.result_type(left, right)
    if stack != right.shape[:-2]:
        stack = np.broadcast_shapes(stack, right.shape[:-2])
    return multiply(left, right, empty((*stack, left.shape[-2], right.shape[-1]), dtype))


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
    """Write the products to `out`."""
    out = out or {}
    slope = reversible_activation(a_activation).backward
    dz = fused_activation(activation).backward(dy, y)
    given = a
    if a_of is not None:
        a = given[chosen(a_of, a, transpose_a)]
    da = db = dbias = None
    if "a" in needs:
        left, right = dz, b if transpose_b else b.swapaxes(-1, -2)
        if transpose_a:
            left, right = right.swapaxes(-1, -2), dz.swapaxes(-1, -2)
        da = _product_to(left, right, a.shape, None if a_of is not None else out.get("a"))
        if a_of is not None:
            da = sum_chosen(da, a_of, given)
        if a_activation != "identity":
            da = slope(da, given)
    if "b" in needs:
        left, right = (a if transpose_a else a.swapaxes(-1, -2)), dz
        if transpose_b:
            left, right = dz.swapaxes(-1, -2), left.swapaxes(-1, -2)
        db = _product_to(left, right, b.shape, out.get("b"))
    if "bias" in needs and bias is not None:
        # A product with ones sums the rows 5 times as fast as NumPy's sum.
        ones = _ones((*dz.shape[:-2], 1, dz.shape[-2]), dz.dtype)
        own = out["bias"][..., None, :] if "bias" in out else None
        dbias = _product_to(ones, dz, (*bias.shape[:-1], 1, bias.shape[-1]), own)[..., 0, :]
    return da, db, dbias


@lru_cache(maxsize=4)
def _ones(shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """An array of ones, kept for the next batch of the same size."""
    return np.ones(shape, dtype)


def _product_to(left: Array, right: Array, shape: tuple[int, ...], out: Array | None) -> Array:
    """A product, summed over the axes along which an argument of this shape was broadcast."""
    if out is not None and left.shape[:-2] == right.shape[:-2] == shape[:-2]:
        return multiply(left, right, out)
    return sum_to(_product(left, right), shape)
