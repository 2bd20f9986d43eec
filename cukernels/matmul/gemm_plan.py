"""Which tile and split a matrix product is computed with: a cost model over its shape.

What decides about a result's bits (arithmetic, and how long its sums are) follows from dtype, K and
device alone. Tile and split decide about time only, so they also look at how many models there are:
the more there are, the larger the tiles that still fill the device.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from cukernels.gpu.kernel import architecture, multiprocessors
from cukernels.gpu.shared_memory import shared_limit
from cukernels.runtime.arrays import Array
from cukernels.runtime.precision import current_precision

ITEMSIZES = {"float": 4, "double": 8}
EPILOGUE = 128  # bytes of static shared memory in which a block keeps its epilogue
SHORT_SUM = 16  # up to this K three TF32 terms are less exact than one rounded product
SHORT_LENGTH, MOST_SUMS = 256, 32


class Tile(NamedTuple):
    """`Tiling` in gemm.cuh: tiles of a block and of its warps, stages, blocks at once."""

    m: int
    n: int
    k: int
    warp_m: int
    warp_n: int
    stages: int
    blocks: int

    @property
    def expression(self) -> str:
        """As a template argument."""
        return f"Tiling<{', '.join(map(str, self))}>"

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.m // self.warp_m * (self.n // self.warp_n) * 32

    def shared(self, dtype: str) -> int:
        """Bytes of dynamic shared memory: the stages, over which results are written at the end."""
        stages = self.stages * (self.m + self.n) * self.k
        return max(stages, self.m * self.n) * ITEMSIZES[dtype]

    def static_shared(self, row_bytes: int) -> int:
        """Bytes of static shared memory of a kernel that keeps some for each row of its tile."""
        return EPILOGUE + row_bytes * self.m


# Warps of 64 x 32 are the fastest and leave hardly a register: none for loaders that hold more than
# those of matrices, nor for one whose tile is read element by element (a transposed left factor).
LARGEST = Tile(128, 128, 32, 64, 32, 3, 1)
TENSOR_TILES = (
    Tile(128, 64, 32, 32, 32, 3, 1),
    Tile(64, 64, 32, 32, 32, 3, 3),
    Tile(64, 32, 32, 32, 16, 4, 3),
    Tile(32, 32, 32, 16, 16, 4, 4),
    Tile(128, 16, 32, 32, 16, 3, 3),  # few classes
)
REQUESTED_TILES = (LARGEST, TENSOR_TILES[1])  # of the precisions that one has to ask for
FMA_TILES = {
    "float": (Tile(128, 64, 16, 32, 32, 3, 1), Tile(32, 32, 16, 16, 32, 3, 4)),
    "double": (Tile(64, 64, 16, 16, 32, 3, 1), Tile(32, 32, 16, 16, 16, 3, 3)),
}
MATHS = {"float32": "Tf32<3>", "tf32": "Tf32<1>", "bf16": "Bf16"}


class Device(NamedTuple):
    """What a plan knows of the device, and the precision that is set."""

    architecture: int
    multiprocessors: int
    precision: str = "float32"


class Plan(NamedTuple):
    """How to compute a product.

    Attributes
    ----------
    tile, math : str
        Template arguments.
    tile_m, tile_n, threads, shared : int
        Sizes of the tile and of its block; bytes of dynamic shared memory.
    k_of_sum : int
        How many k are added to one sum; a multiple of every tile's k-step.
    splits : int
        1, or as many as there are sums: each is then the work of blocks of its own.
    """

    tile: str
    math: str
    tile_m: int
    tile_n: int
    threads: int
    shared: int
    k_of_sum: int
    splits: int


def device_of(x: Array) -> Device:
    """Return what a plan needs to know of an array's device."""
    return Device(architecture(x), multiprocessors(x), current_precision())


def sum_length(k: int) -> int:
    """Return how many k are added to one sum before the sums are added up.

    The error of a sum of n terms grows as the root of n. A few dozen sums of moderate length are
    as exact as the blocked products of a CPU, and make enough splits to fill a device.
    """
    length = SHORT_LENGTH
    while length * MOST_SUMS < k:
        length *= 2
    return length


def uses_tensor_cores(k: int, dtype: str, device: Device) -> bool:
    """Return whether a product over k is computed on tensor cores."""
    return dtype == "float" and device.architecture >= 80 and k > SHORT_SUM


@functools.cache
def plan(
    m: int,
    n: int,
    k: int,
    models: int,
    dtype: str,
    device: Device,
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
        How many products of this shape are one launch.
    dtype : {"float", "double"}
        C++ name of the dtype.
    device : Device
        From `device_of`.
    largest : bool, default=False
        Whether the tile with the most registers can be used, see `LARGEST`.
    whole : bool, default=False
        Whether blocks must take all of k, as there is nobody to add up splits.
    row_bytes : int, default=0
        What the kernel keeps in static shared memory for each row of a block's tile.

    Returns
    -------
    Plan
    """
    tiles: tuple[Tile, ...]
    if uses_tensor_cores(k, dtype, device):
        math = MATHS[device.precision]
        tiles = (LARGEST, *TENSOR_TILES) if device.precision == "float32" else REQUESTED_TILES
        tiles = tiles if largest else tiles[1:]
    else:
        math = "Fma"
        tiles = FMA_TILES[dtype]
    k_of_sum = sum_length(k)
    sums = max(-(-k // k_of_sum), 1)
    _, tile, splits = min(
        (
            (_cycles(tile, splits, m, n, k, models, dtype, math, device, row_bytes), tile, splits)
            for tile in tiles
            for splits in ({1} if whole else {1, sums})
        ),
        key=lambda option: option[0],
    )
    return Plan(
        tile.expression, math, tile.m, tile.n, tile.threads, tile.shared(dtype), k_of_sum, splits
    )


# Cycles, measured or from the data sheets of 8.0 and 9.0; only their ratios matter.
_BLOCK = 2000  # to begin a block and to store its tile
_LAUNCH = 5000  # of the kernel that adds up the sums
_LATENCY = {32: 600, 16: 300}  # of a k-step, when nothing else runs on the multiprocessor
_TRAFFIC = 48  # bytes that a multiprocessor gets from the L2 cache in a cycle
_MEMORY = 16  # and from memory, its share


def _rate(dtype: str, math: str, device: Device) -> float:
    """Multiplications of a multiprocessor in a cycle."""
    if math != "Fma":
        return {"Tf32<3>": 512 / 3, "Tf32<1>": 512, "Bf16": 1024}[math]
    if dtype == "double":
        return 64 if device.architecture in (80, 90, 100) else 2
    return 64 if device.architecture in (75, 80) else 128


def _cycles(
    tile: Tile, splits: int, m: int, n: int, k: int, models: int,
    dtype: str, math: str, device: Device, row_bytes: int,
) -> float:  # fmt: skip
    """Estimate how long a product takes."""
    item = ITEMSIZES[dtype]
    steps = -(-min(k, sum_length(k) if splits > 1 else k) // tile.k)
    blocks = -(-m // tile.m) * -(-n // tile.n) * models * splits
    # small warp tiles load and split more numbers for each product
    work = tile.m * tile.n * tile.k / _rate(dtype, math, device)
    work *= 1 + 8 / tile.warp_m + 8 / tile.warp_n
    step = max(work, (tile.m + tile.n) * tile.k * item / _TRAFFIC)

    def rounds(together: int) -> float:
        return steps * max(_LATENCY[tile.k], together * step) + _BLOCK

    own = -(-blocks // device.multiprocessors)  # blocks of the busiest multiprocessor
    shared = tile.shared(dtype) + tile.static_shared(row_bytes)
    capacity = (shared_limit(device.architecture) + 1024) // (shared + 1024)
    at_once = max(min(tile.blocks, capacity), 1)
    cycles = own // at_once * rounds(at_once)
    if own % at_once:
        cycles += rounds(own % at_once)
    if splits > 1:
        moved = (splits + 1) * m * n * models * item
        cycles += _LAUNCH + moved / (_MEMORY * device.multiprocessors)
    return cycles
