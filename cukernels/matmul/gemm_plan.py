"""The plan of a matrix product: tile, arithmetic and split, chosen by a cost model of its shape.

Two things decide about the bits of a result: the arithmetic, and how many terms are added to one
sum. They follow from dtype, K and device alone. The tile and the split affect only the time, so
they may also depend on the number of models: the more models, the larger the tiles that still fill
the device.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from cukernels.gpu.kernel import architecture, facts_of, multiprocessors
from cukernels.matmul.gemm_cost import Target, Tile, cycles_of
from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.precision import current_precision

SHORT_SUM = 32  # up to this K, tensor cores, which cut sums off, are less exact than plain float32
SHORT_LENGTH, MOST_SUMS = 256, 32  # k of one sum at least; sums of one result at most


# Warp tiles of 64 x 32 are the fastest, and leave hardly any registers. They do not suffice for a
# loader that needs more state than that of a matrix, nor for a left factor whose k is not
# contiguous, as its fragments are read element by element.
LARGEST = Tile(128, 128, 32, 64, 32, 3, 1)
TENSOR_TILES = (
    Tile(128, 64, 32, 32, 32, 3, 1),
    Tile(64, 64, 32, 32, 32, 3, 3),
    Tile(64, 32, 32, 32, 16, 4, 3),
    Tile(32, 32, 32, 16, 16, 4, 4),
    Tile(128, 16, 32, 32, 16, 3, 3),  # few classes
)
REQUESTED_TILES = (LARGEST, TENSOR_TILES[1])  # for tf32 and bf16, which are used only on request
FMA_TILES = {
    "float": (Tile(128, 64, 16, 32, 32, 3, 1), Tile(32, 32, 16, 16, 32, 3, 4)),
    "double": (Tile(64, 64, 16, 16, 32, 3, 1), Tile(32, 32, 16, 16, 16, 3, 3)),
}
MATHS = {"float32": "Tf32<3>", "tf32": "Tf32<1>", "bf16": "Bf16"}


class Plan(NamedTuple):
    """How to compute a product.

    Attributes
    ----------
    tile, math : str
        Template arguments of the kernel.
    tile_m, tile_n, threads, shared : int
        Size of a block's tile, threads of a block, and its bytes of dynamic shared memory.
    k_of_sum : int
        How many k are added to one sum; a multiple of every tile's k-step.
    splits : int
        1, or the number of sums; each sum then has blocks of its own.
    cycles : float, default=0.0
        The estimated cost.
    """

    tile: str
    math: str
    tile_m: int
    tile_n: int
    threads: int
    shared: int
    k_of_sum: int
    splits: int
    cycles: float = 0.0


def target_of(x: Array) -> Target:
    """Return the target of a plan for products of this array."""
    place = namespace(x), x.device.id, current_precision()
    if place not in _TARGETS:
        _TARGETS[place] = Target(architecture(x), multiprocessors(x), place[2])
    return _TARGETS[place]


def target_on(device: str) -> Target:
    """Return the target of a plan for products on a device, as "cuda:0"."""
    return Target(*facts_of(device), current_precision())


_TARGETS: dict[tuple[Any, int, str], Target] = {}


def sum_length(k: int) -> int:
    """Return how many k are added to one sum, before these sums are added up.

    The error of a sum of n terms grows as the square root of n. At most a few dozen sums of
    moderate length are as exact as the blocked products of a CPU, and enough splits to fill a
    device.
    """
    length = SHORT_LENGTH
    while length * MOST_SUMS < k:
        length *= 2
    return length


def sums_of(k: int) -> int:
    """Return into how many sums a sum over k is divided, which is the most splits it can have."""
    return max(-(-k // sum_length(k)), 1)


def k_of_block(k: int, splits: int) -> int:
    """Return how many k a block takes: all of them, or those of one sum."""
    return min(k, sum_length(k)) if splits > 1 else k


def uses_tensor_cores(k: int, dtype: str, target: Target) -> bool:
    """Return whether a product with this K is computed on tensor cores."""
    return dtype == "float" and target.architecture >= 80 and k > SHORT_SUM


@functools.cache
def plan(
    m: int,
    n: int,
    k: int,
    models: int,
    dtype: str,
    target: Target,
    largest: bool = False,
    whole: bool = False,
    row_bytes: int = 0,
) -> Plan:
    """Choose how to compute the products of `models` pairs of an (m, k) and a (k, n) matrix.

    Parameters
    ----------
    m, n, k : int
        Sizes; any may be 0.
    models : int
        How many products of this shape one launch computes.
    dtype : {"float", "double"}
        C++ name of the dtype.
    target : Target
        From `target_of`.
    largest : bool, default=False
        Whether the kernel leaves enough registers for the tile `LARGEST`.
    whole : bool, default=False
        Whether every block must take all of k, because the caller does not add up splits.
    row_bytes : int, default=0
        Bytes of static shared memory that the kernel keeps for each row of a block's tile.

    Returns
    -------
    Plan
    """
    tiles: tuple[Tile, ...]
    if uses_tensor_cores(k, dtype, target):
        math = MATHS[target.precision]
        tiles = (LARGEST, *TENSOR_TILES) if target.precision == "float32" else REQUESTED_TILES
        tiles = tiles if largest else tiles[1:]
    else:
        math = "Fma"
        tiles = FMA_TILES[dtype]
    cycles, tile, splits = min(
        (
            (_cycles(tile, splits, m, n, k, models, dtype, math, target, row_bytes), tile, splits)
            for tile in tiles
            for splits in ({1} if whole else {1, sums_of(k)})
        ),
        key=lambda option: option[0],
    )
    return Plan(
        tile.expression, math, tile.m, tile.n, tile.threads, tile.shared(dtype), sum_length(k),
        splits, cycles,
    )  # fmt: skip


def _cycles(
    tile: Tile, splits: int, m: int, n: int, k: int, models: int,
    dtype: str, math: str, target: Target, row_bytes: int,
) -> float:  # fmt: skip
    """Estimate how many cycles a product takes on the busiest multiprocessor."""
    product = (splits, m, n, k_of_block(k, splits), math)
    return cycles_of(tile, [product], models, dtype, target, row_bytes)
