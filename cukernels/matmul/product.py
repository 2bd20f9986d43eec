"""Products of stacks of matrices on a GPU, with bias and activation fused in.

`matmul.cu` describes the kernel. What follows from shapes, dtype and device alone (the instance of
the kernel, its grid, whether the sum is split) is computed once for each combination.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

from cukernels.activations.fused import fused
from cukernels.gpu.counters import counters
from cukernels.gpu.kernel import Instance, Kernel, ctype
from cukernels.gpu.stacks import models_of
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
    a_of: Array | None = None,
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
    out : array of shape (*stack, M, N), default=None
        Where to write; what each model has of it is contiguous.
    a_of : contiguous array of int32 with one element for each model, default=None
        Which of the left factors, (G, M, K) or (G, K, M), each model has.
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
    models_a = 0 if a_of is None else a.shape[0]
    a, a_model = models_of(a, 2, stack if a_of is None else a.shape[:1])
    b, b_model = models_of(b, 2, stack)
    added, bias_model = (None, 0) if bias is None else models_of(bias, 1, stack)
    y, y_model = models_of(out, 2, stack)
    code, parameter, _ = fused(activation)
    parts = arrived = None
    if launch.splits > 1:
        parts = empty(launch.blocks * launch.splits * launch.elements, a.dtype)
        arrived = counters(a, launch.blocks)
    launch.instance(
        (launch.blocks, launch.splits, 1), launch.threads,
        a, b, added, y, parts, arrived, a_of, m, n, k, a_model, b_model, bias_model,
        y_model, models_a, launch.k_of_sum, code, parameter, shared=launch.shared,
    )  # fmt: skip
    return out
