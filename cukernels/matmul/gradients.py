"""All gradients of a product in one launch on the GPU, where its shape is that of a usual layer.

`gradients.cu` describes the kernel. The bits of the gradients are those of separate launches, so
whether one launch is cheaper may be decided by the number of models too.
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

from cukernels.activations.fused import fused
from cukernels.gpu.counters import counters
from cukernels.gpu.kernel import Instance, Kernel
from cukernels.gpu.stacks import models_of
from cukernels.matmul.gemm_cost import LAUNCH, Target, Tile, cycles_of
from cukernels.matmul.gemm_plan import (
    FMA_TILES,
    TENSOR_TILES,
    k_of_block,
    plan,
    sum_length,
    sums_of,
    uses_tensor_cores,
)
from cukernels.matmul.sums import ColumnPlan, columns_of
from cukernels.runtime.arrays import Array, namespace

Shape = tuple[int, ...]

# The tiles by dtype and the arithmetic of da and db. Short sums do without tensor cores; those of
# da have as many terms as the layer has outputs, and those of db as many as there are rows. Plain
# arithmetic needs warp tiles of 32 columns, and more registers when it reads tiles this deep.
_MIXED = (Tile(64, 64, 32, 32, 32, 3, 2), Tile(32, 32, 32, 16, 32, 4, 4))
_TILES: dict[tuple[str, str, str], tuple[Tile, ...]] = {
    ("float", "Tf32<3>", "Tf32<3>"): TENSOR_TILES[1:],
    ("float", "Fma", "Tf32<3>"): _MIXED,
    ("float", "Tf32<3>", "Fma"): _MIXED,
    ("float", "Fma", "Fma"): FMA_TILES["float"],
    ("double", "Fma", "Fma"): FMA_TILES["double"],
}
_INSTANCES = [
    (dtype, tile.expression, *maths) for (dtype, *maths), tiles in _TILES.items() for tile in tiles
]
GRADIENTS = Kernel(
    "gradients.cu", "matmul_gradients", [i for i in _INSTANCES if "Tf32<3>" in i], since=80
)
GRADIENTS_FMA = Kernel(
    "gradients.cu", "matmul_gradients", [i for i in _INSTANCES if "Tf32<3>" not in i]
)


class Part(NamedTuple):
    """The blocks of one of the two products, or none.

    Attributes
    ----------
    tiles, splits : int
        Tiles of all models, and the splits of each one's sum.
    k_of_sum : int
        How many k are added to one sum.
    """

    tiles: int = 0
    splits: int = 1
    k_of_sum: int = 0


class Launch(NamedTuple):
    """How to launch the gradients of one shape.

    Attributes
    ----------
    instance : Instance
        The kernel.
    threads, shared, blocks : int
        Threads of a block, its bytes of dynamic shared memory, and the blocks of the grid.
    a, b : Part
        The tiles of `da` and `db`.
    columns : ColumnPlan
        The blocks that sum the columns.
    elements, arrivals : int
        How many sums the blocks write for others to add up, and the counters they need for that.
    """

    instance: Instance
    threads: int
    shared: int
    blocks: int
    a: Part
    b: Part
    columns: ColumnPlan
    elements: int
    arrivals: int


@functools.cache
def launch_of(
    rows: int, inputs: int, outputs: int, models: int, dtype: str, target: Target,
    needs_a: bool, needs_b: bool, needs_sums: bool,
) -> Launch | None:  # fmt: skip
    """Return how to compute the gradients in one launch, or None if several launches are better.

    Parameters
    ----------
    rows, inputs, outputs : int
        The product is (rows, inputs) times (inputs, outputs).
    models : int
        How many products there are.
    dtype : {"float", "double"}
        C++ name of the dtype.
    target : Target
        From `target_of`.
    needs_a, needs_b, needs_sums : bool
        Which gradients are wanted; one of the first two is.
    """
    if target.precision != "float32" or not rows * inputs * outputs * models:
        return None
    wanted = [(rows, inputs, outputs)] * needs_a + [(inputs, outputs, rows)] * needs_b
    maths = ["Tf32<3>" if uses_tensor_cores(k, dtype, target) else "Fma" for _, _, k in wanted]
    tiles = _TILES.get((dtype, maths[0], maths[-1]))
    if tiles is None:
        return None

    def cycles(option: tuple[Tile, tuple[int, ...]]) -> float:
        tile, splits = option
        products = [
            (s, m, n, k_of_block(k, s), math)
            for s, (m, n, k), math in zip(splits, wanted, maths, strict=True)
        ]
        return cycles_of(tile, products, models, dtype, target)

    splits_of = [sorted({1, sums_of(k)}) for _, _, k in wanted]
    options = list(itertools.product(tiles, itertools.product(*splits_of)))
    best = min(options, key=lambda option: (cycles(option), option[0].m * option[0].n))
    alone = [plan(*shape, models, dtype, target, largest=needs_a and not i).cycles
             for i, shape in enumerate(wanted)]  # fmt: skip
    if sum(alone) + (len(alone) - 1 + needs_sums) * LAUNCH < cycles(best):
        return None

    tile, splits = best
    parts = [
        Part(-(-m // tile.m) * -(-n // tile.n) * models, s, sum_length(k))
        for s, (m, n, k) in zip(splits, wanted, strict=True)
    ]
    part_a, part_b = parts[0] if needs_a else Part(), parts[-1] if needs_b else Part()
    columns = columns_of(rows, outputs, dtype)
    blocks = sum(part.tiles * part.splits for part in parts)
    elements = sum(p.tiles * p.splits for p in parts if p.splits > 1) * tile.m * tile.n
    arrivals = sum(part.tiles for part in parts) if elements else 0
    if needs_sums:
        blocks += models * columns.chunks * columns.blocks
        if columns.chunks > 1:
            elements += models * columns.chunks * outputs
            arrivals = sum(part.tiles for part in parts) + models * columns.blocks
    if blocks >= 2**31:
        return None
    kernel = GRADIENTS if "Tf32<3>" in maths else GRADIENTS_FMA
    instance = kernel[dtype, tile.expression, maths[0], maths[-1]]
    return Launch(
        instance, tile.threads, tile.shared(dtype), blocks, part_a, part_b, columns, elements,
        arrivals,
    )  # fmt: skip


def gradients(
    how: Launch, dz: Array, a: Array, b: Array, stack: Shape, a_of: Array | None,
    a_activation: str, da: Array | None, db: Array | None, sums: Array | None,
) -> None:  # fmt: skip
    """Compute those gradients for which there is an array.

    Parameters
    ----------
    how : Launch
        What `launch_of` returns for these shapes and gradients.
    dz : contiguous array of shape (*stack, N, K)
        The gradient before the layer's activation.
    a, b : array of shape (..., N, D) and (..., D, K)
        The factors, whose leading axes broadcast to `stack`; or `a` of shape (G, N, D) with `a_of`.
    stack : tuple of int
        The leading axes of the result.
    a_of : contiguous array of int32 with one element for each model, or None
        Which of the left factors each model has.
    a_activation : str
        What `a` is the output of: `da` is the gradient before that. Only the identity, unless `da`
        and `a` have the same shape.
    da, db, sums : contiguous arrays of shapes (*stack, N, D), (*stack, D, K), (*stack, K), or None
        Where to write.
    """
    code, parameter, _ = fused(a_activation)
    rows, inputs = a.shape[-2:]
    models_a = 0 if a_of is None else a.shape[0]
    a, a_model = models_of(a, 2, stack if a_of is None else a.shape[:1])
    b, b_model = models_of(b, 2, stack)
    parts = namespace(dz).empty(how.elements, dz.dtype) if how.elements else None
    arrived = counters(dz, how.arrivals) if how.arrivals else None
    columns = how.columns
    how.instance(
        (how.blocks, 1, 1), how.threads,
        dz, a, b, da, db, sums, parts, arrived, a_of, rows, inputs, dz.shape[-1],
        a_model, b_model, models_a, *how.a, *how.b, code, parameter,
        columns.chunks, columns.rows_of_chunk, columns.lanes, shared=how.shared,
    )  # fmt: skip
