"""The plan of a matrix product: tile, arithmetic and split, chosen by a cost model of its shape.

Two things decide about the bits of a result: the arithmetic, and how many terms are added to one
sum. They follow from dtype, K and device alone. The tile and the split affect only the time, so
they may also depend on the number of models: the more models, the larger the tiles that still fill
the device.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from cukernels.gpu.kernel import architecture, multiprocessors
from cukernels.gpu.shared_memory import shared_limit
from cukernels.runtime.arrays import Array
from cukernels.runtime.precision import current_precision

ITEMSIZES = {"float": 4, "double": 8}
EPILOGUE = 128  # bytes of static shared memory in which a block keeps its epilogue
SHORT_SUM = 32  # up to this K, tensor cores, which cut sums off, are less exact than plain float32
SHORT_LENGTH, MOST_SUMS = 256, 32  # k of one sum at least; sums of one result at most


class Tile(NamedTuple):
    """The tile of a block and its warps: the arguments of `Tiling` in gemm.cuh.

    Attributes
    ----------
    m, n, k : int
        The block's tile of the result, and the k of one step of the main loop.
    warp_m, warp_n : int
        The tile of each warp.
    stages : int
        How many k-steps are in shared memory at once.
    blocks : int
        How many blocks a multiprocessor should have registers for.
    """

    m: int
    n: int
    k: int
    warp_m: int
    warp_n: int
    stages: int
    blocks: int

    @property
    def expression(self) -> str:
        """The tile as a C++ template argument."""
        return f"Tiling<{', '.join(map(str, self))}>"

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.m // self.warp_m * (self.n // self.warp_n) * 32

    def shared(self, dtype: str) -> int:
        """Bytes of dynamic shared memory: the stages, which the tile of results overwrites."""
        stages = self.stages * (self.m + self.n) * self.k
        return max(stages, self.m * self.n) * ITEMSIZES[dtype]

    def static_shared(self, row_bytes: int) -> int:
        """Bytes of static shared memory of a kernel that keeps `row_bytes` per row of its tile."""
        return EPILOGUE + row_bytes * self.m


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


class Target(NamedTuple):
    """What a plan depends on besides shapes: facts of the device, and the precision that is set."""

    architecture: int
    multiprocessors: int
    precision: str = "float32"


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
    return Target(architecture(x), multiprocessors(x), current_precision())


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


# Costs in cycles, measured or from the data sheets of 8.0 and 9.0; only their ratios matter.
_BLOCK = 2000  # starting a block and storing its tile
LAUNCH = 5000  # one more launch
_ARRIVAL = 2000  # finding out which block of a tile is the last one, and its first read
_LATENCY = {32: 600, 16: 300}  # a k-step of this depth, if nothing else runs on the multiprocessor
_TRAFFIC = 48  # bytes per cycle that a multiprocessor gets from the L2 cache
_GATHER = 24  # bytes per cycle that one block gets from it, when it adds up the sums of a tile


def _rate(dtype: str, math: str, target: Target) -> float:
    """How many multiplications a multiprocessor does in a cycle."""
    if math != "Fma":
        return {"Tf32<3>": 512 / 3, "Tf32<1>": 512, "Bf16": 1024}[math]
    if dtype == "double":
        return 64 if target.architecture in (80, 90, 100) else 2
    return 64 if target.architecture in (75, 80) else 128


def _cycles(
    tile: Tile, splits: int, m: int, n: int, k: int, models: int,
    dtype: str, math: str, target: Target, row_bytes: int,
) -> float:  # fmt: skip
    """Estimate how many cycles a product takes on the busiest multiprocessor."""
    return cycles_of(tile, [(splits, m, n, k, math)], models, dtype, target, row_bytes)


def cycles_of(
    tile: Tile, products: Sequence[tuple[int, int, int, int, str]], models: int,
    dtype: str, target: Target, row_bytes: int = 0,
) -> float:  # fmt: skip
    """Estimate how many cycles a launch takes on the busiest multiprocessor.

    Each of its products is given as (splits, m, n, k, math).
    """
    item = ITEMSIZES[dtype]
    traffic = (tile.m + tile.n) * tile.k * item / _TRAFFIC
    blocks = longest = all_steps = 0
    all_work = 0.0
    for splits, m, n, k, math in products:
        steps = -(-min(k, sum_length(k) if splits > 1 else k) // tile.k)
        of_product = -(-m // tile.m) * -(-n // tile.n) * models * splits
        # the smaller a warp's tile, the more elements it loads and splits for each multiplication
        work = tile.m * tile.n * tile.k / _rate(dtype, math, target)
        work *= 1 + 8 / tile.warp_m + 8 / tile.warp_n
        blocks += of_product
        all_steps += of_product * steps
        all_work += of_product * steps * max(work, traffic)
        longest = max(longest, steps)
    mean_steps, mean_work = all_steps / max(blocks, 1), all_work / max(blocks, 1)

    def rounds(together: int) -> float:
        """Cycles for so many blocks that run at the same time on one multiprocessor."""
        return max(mean_steps * _LATENCY[tile.k], together * mean_work) + _BLOCK

    own = -(-blocks // target.multiprocessors)  # blocks of the busiest multiprocessor
    shared = tile.shared(dtype) + tile.static_shared(row_bytes)
    capacity = (shared_limit(target.architecture) + 1024) // (shared + 1024)
    at_once = max(min(tile.blocks, capacity), 1)
    cycles = own // at_once * rounds(at_once)
    if own % at_once:
        cycles += rounds(own % at_once)
    cycles = max(cycles, longest * _LATENCY[tile.k] + _BLOCK if blocks else 0)
    for splits, m, n, _, _ in products:
        if splits > 1:
            read = (splits + 1) * min(tile.m, m) * min(tile.n, n) * item  # by the last block
            tiles = -(-m // tile.m) * -(-n // tile.n) * models
            turns = max(tiles / (target.multiprocessors * at_once), 1)
            cycles += (_ARRIVAL + read / _GATHER) * turns
    return cycles
