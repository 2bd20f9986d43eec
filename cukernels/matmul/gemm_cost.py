"""The cost model of products: how many cycles a launch takes with a tile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cukernels.gpu.shared_memory import shared_limit

ITEMSIZES = {"float": 4, "double": 8}
EPILOGUE = 128  # bytes of static shared memory in which a block keeps its epilogue


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


class Target(NamedTuple):
    """What a plan depends on besides shapes: facts of the device, and the precision that is set."""

    architecture: int
    multiprocessors: int
    precision: str = "float32"


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


def cycles_of(
    tile: Tile, products: Sequence[tuple[int, int, int, int, str]], models: int,
    dtype: str, target: Target, row_bytes: int = 0,
) -> float:  # fmt: skip
    """Estimate how many cycles a launch takes on the busiest multiprocessor.

    Each of its products is given as (splits, m, n, k, math), with the k of one block.
    """
    item = ITEMSIZES[dtype]
    traffic = (tile.m + tile.n) * tile.k * item / _TRAFFIC
    blocks = all_steps = 0
    all_work = longest = 0.0
    for splits, m, n, k, math in products:
        steps = -(-k // tile.k)
        of_product = -(-m // tile.m) * -(-n // tile.n) * models * splits
        # the smaller a warp's tile, the more elements it loads and splits for each multiplication
        work = tile.m * tile.n * tile.k / _rate(dtype, math, target)
        work *= 1 + 8 / tile.warp_m + 8 / tile.warp_n
        work = max(work, traffic)
        blocks += of_product
        all_steps += of_product * steps
        all_work += of_product * steps * work
        if of_product:
            longest = max(longest, steps * max(work, _LATENCY[tile.k]) + _BLOCK)
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
    cycles = max(cycles, longest)
    for splits, m, n, _, _ in products:
        if splits > 1:
            read = (splits + 1) * min(tile.m, m) * min(tile.n, n) * item  # by the last block
            tiles = -(-m // tile.m) * -(-n // tile.n) * models
            turns = max(tiles / (target.multiprocessors * at_once), 1)
            cycles += (_ARRIVAL + read / _GATHER) * turns
    return cycles
