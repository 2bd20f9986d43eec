"""CUDA bodies of `matmul` and its backward.

`matmul.cu` describes the kernel. What follows from shapes, dtype and device alone (the instance of
the kernel, its grid, whether the sum is split) is computed once for each combination.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from cukernels.activations.fused import fused
from cukernels.gpu.counters import counters
from cukernels.gpu.kernel import Instance, Kernel, ctype
from cukernels.gpu.stacks import gradient_out, models_of
from cukernels.matmul.gemm_plan import (
    FMA_TILES,
    LARGEST,
    MATHS,
    REQUESTED_TILES,
    TENSOR_TILES,
    Target,
    plan,
    target_of,
)
from cukernels.matmul.sums import activation_gradient, sum_models
from cukernels.runtime.arrays import Array, namespace

Shape = tuple[int, ...]

_LAYOUTS = [(a, b) for a in ("true", "false") for b in ("true", "false")]  # whether k is contiguous

MATMUL = Kernel(
    "matmul.cu",
    "matmul",
    [
        ("float", tile.expression, name, *layout)
        for precision, name in MATHS.items()
        for tile in ((LARGEST, *TENSOR_TILES) if precision == "float32" else REQUESTED_TILES)
        for layout in _LAYOUTS
        if tile != LARGEST or layout[0] == "true"
    ],
    since=80,
)
MATMUL_FMA = Kernel(
    "matmul.cu",
    "matmul_fma",
    [
        (dtype, tile.expression, *layout)
        for dtype, tiles in FMA_TILES.items()
        for tile in tiles
        for layout in _LAYOUTS
    ],
)


class LaunchConfiguration(NamedTuple):
    """How to launch the products of one shape.

    Attributes
    ----------
    instance : Instance
        The kernel.
    blocks, splits : int
        The grid: tiles of all models, and splits of the sum over k.
    threads, shared : int
        Threads of a block, and its bytes of dynamic shared memory.
    k_of_sum : int
        How many k are added to one sum.
    elements : int
        Elements of a tile.
    """

    instance: Instance
    blocks: int
    threads: int
    shared: int
    splits: int
    k_of_sum: int
    elements: int


@functools.cache
def _configuration(
    m: int, n: int, k: int, models: int, dtype: str, target: Target, a_k: bool, b_k: bool
) -> LaunchConfiguration:
    p = plan(m, n, k, models, dtype, target, largest=a_k)
    layout = (str(a_k).lower(), str(b_k).lower())
    if p.math == "Fma":
        instance = MATMUL_FMA[dtype, p.tile, *layout]
    else:
        instance = MATMUL[dtype, p.tile, p.math, *layout]
    blocks = -(-m // p.tile_m) * -(-n // p.tile_n) * models
    if blocks >= 2**31:
        raise ValueError(f"{models} products of ({m}, {k}) and ({k}, {n}) are too many for a call")
    elements = p.tile_m * p.tile_n
    return LaunchConfiguration(
        instance, blocks, p.threads, p.shared, p.splits, p.k_of_sum, elements
    )


def product(
    a: Array, b: Array, a_k: bool, b_k: bool, stack: Shape,
    bias: Array | None = None, activation: str = "identity", out: Array | None = None,
) -> Array:  # fmt: skip
    """Return ``activation(a @ b + bias)``, of shape (*stack, M, N).

    Parameters
    ----------
    a : array of shape (..., M, K) where `a_k`, else (..., K, M)
        Left factors.
    b : array of shape (..., N, K) where `b_k`, else (..., K, N)
        Right factors.
    a_k, b_k : bool
        Whether k is the contiguous axis of the factor.
    stack : tuple of int
        The leading axes of the result, to which those of the arguments broadcast.
    bias : array of shape (..., N), default=None
        Added to every row.
    activation : str, default="identity"
        One of `FUSED_ACTIVATIONS`. The caller applies `Fused.after`, which the softmaxes have.
    out : contiguous array of shape (*stack, M, N), default=None
        Where to write.
    """
    m, k = a.shape[-2:] if a_k else a.shape[:-3:-1]
    n = b.shape[-2] if b_k else b.shape[-1]
    models = math.prod(stack)
    empty = namespace(a).empty
    if out is None:
        out = empty((*stack, m, n), a.dtype)
    if not (models and m and n):
        return out
    launch = _configuration(m, n, k, models, ctype(a), target_of(a), a_k, b_k)
    a, a_model = models_of(a, 2, stack)
    b, b_model = models_of(b, 2, stack)
    added, bias_model = (None, 0) if bias is None else models_of(bias, 1, stack)
    code, parameter, _ = fused(activation)
    parts = arrived = None
    if launch.splits > 1:
        parts = empty(launch.blocks * launch.splits * launch.elements, a.dtype)
        arrived = counters(a, launch.blocks)
    launch.instance(
        (launch.blocks, launch.splits, 1), launch.threads,
        a, b, added, out, parts, arrived, None, m, n, k, a_model, b_model, bias_model,
        0, launch.k_of_sum, code, parameter, shared=launch.shared,
    )  # fmt: skip
    return out


def matmul(
    a: Array,
    b: Array,
    bias: Array | None = None,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    activation: str = "identity",
) -> Array:
    stack = _stack(a.shape, b.shape)
    y = product(a, b, not transpose_a, transpose_b, stack, bias, activation)
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
    needs: tuple[str, ...] = ("a", "b", "bias"),
    out: Mapping[str, Array] | None = None,
) -> tuple[Array | None, Array | None, Array | None]:
    stack = _stack(a.shape, b.shape)
    models = math.prod(stack)
    needs_bias = bias is not None and "bias" in needs
    bias_out = gradient_out(out, "bias", bias, stack, 1)
    sums_out = None if bias_out is None else bias_out.reshape(models, -1)
    dz, sums = activation_gradient(dy, y, activation, models, needs_bias, sums_out)
    a_out, b_out = gradient_out(out, "a", a, stack, 2), gradient_out(out, "b", b, stack, 2)
    da = db = dbias = None
    # The order of the two factors is such that each gradient has the layout of its argument.
    if "a" in needs:
        if transpose_a:  # (K, M) = b (K, N) dz^T (N, M)
            da = product(b, dz, not transpose_b, True, stack, out=a_out)
        else:  # (M, K) = dz (M, N) b^T (N, K)
            da = product(dz, b, True, not transpose_b, stack, out=a_out)
        da = _sum_to(da, stack, models, a.shape)
    if "b" in needs:
        if transpose_b:  # (N, K) = dz^T (N, M) a (M, K)
            db = product(dz, a, False, transpose_a, stack, out=b_out)
        else:  # (K, N) = a^T (K, M) dz (M, N)
            db = product(a, dz, transpose_a, False, stack, out=b_out)
        db = _sum_to(db, stack, models, b.shape)
    if needs_bias:
        assert bias is not None and sums is not None
        terms = sums.reshape(models, 1, *sums.shape[1:])
        dbias = sum_models(terms, stack, bias.shape, 1, bias_out)
    return da, db, dbias


def _sum_to(gradient: Array, stack: Shape, models: int, shape: Shape) -> Array:
    """Sum the gradient of a factor of this shape over the models that share the factor."""
    if gradient.shape == shape:
        return gradient
    return sum_models(gradient.reshape(models, 1, *shape[-2:]), stack, shape, 2)


@functools.cache
def _stack(a: Shape, b: Shape) -> Shape:
    """Return the leading axes of the result."""
    return np.broadcast_shapes(a[:-2], b[:-2])
