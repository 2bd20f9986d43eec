"""No two lanes of an access to the main loop's shared memory meet in a bank.

A GPU tells no banks, so the layouts of gemm.cuh are asked where each element lies, and the accesses
of the copies, the fragments and the epilogue are laid over that.
"""

from __future__ import annotations

import numpy as np
import pytest

from cukernels.gpu.kernel import OPTIONS
from cukernels.gpu.source import source
from cukernels.matmul.gemm_cost import ITEMSIZES
from cukernels.matmul.gemm_plan import FMA_TILES, LARGEST, TENSOR_TILES

ASK = """
template <typename Layout, typename T>
__global__ void __launch_bounds__(32) ask(int* places) {
    T* tile = nullptr;
    for (int i = threadIdx.x; i < Layout::size; i += 32)
        places[i] = int(Layout::at(tile, i / Layout::depth, i % Layout::depth) - tile);
}
"""
LANE = np.arange(32)
TENSOR = (LARGEST, *TENSOR_TILES)
TILES = [(t, "float", "Tf32<3>") for t in TENSOR]
TILES += [(t, dtype, "Fma") for dtype, tiles in FMA_TILES.items() for t in tiles]


def places(cupy, layout: str, length: int, depth: int, dtype: str) -> np.ndarray:
    """The byte at which element (mn, k) of a tile lies."""
    expression = f"ask<{layout}, {dtype}>"
    code = source("gemm.cuh") + ASK
    module = cupy.RawModule(code=code, options=OPTIONS, name_expressions=(expression,))
    out = cupy.asarray(np.zeros(length * depth, np.int32))
    module.get_function(expression)((1, 1, 1), (32, 1, 1), (out,))
    at = out.get().reshape(length, depth)
    assert sorted(at.ravel()) == list(range(length * depth)), "every element has its own place"
    return at * ITEMSIZES[dtype]


def conflicts(addresses, width: int) -> int:
    """Turns that an access takes beyond the least; lanes are served 128 bytes at a time."""
    together = 128 // width
    extra = 0
    for first in range(0, len(addresses), together):
        words = {a // 4 + w for a in addresses[first : first + together] for w in range(width // 4)}
        banks = [word % 32 for word in words]
        extra += max(map(banks.count, banks)) - 1
    return extra


def copies(at, by_rows_of_mn: bool, run: int):
    """16-byte copies of a loader whose threads lie along the contiguous axis."""
    rows = at if by_rows_of_mn else at.T
    pieces = rows[:, ::run].ravel()
    assert np.all(
        rows.reshape(-1, run) - rows.reshape(-1, run)[:, :1] == rows[0, :run] - rows[0, 0]
    )
    yield from (pieces[i : i + 32] for i in range(0, len(pieces), 32))


@pytest.mark.parametrize(
    ("tile", "dtype", "math"), TILES, ids=lambda x: getattr(x, "expression", x)
)
@pytest.mark.parametrize("k_contiguous", [True, False], ids=["k", "mn"])
def test_operands(tile, dtype, math, k_contiguous, cupy):
    run = 16 // ITEMSIZES[dtype]
    for length, lanes_mn in ((tile.m, 4), (tile.n, 8)):
        layout = f"OperandLayout<{dtype}, {length}, {tile.k}, {math}, {str(k_contiguous).lower()}>"
        at = places(cupy, layout, length, tile.k, dtype)
        for access in copies(at, k_contiguous, run):
            assert conflicts(access, 16) == 0, "copies"
        reads = fma_reads(at, k_contiguous, lanes_mn, run)
        if math != "Fma":
            reads = tensor_reads(at, k_contiguous)
        for access, width in reads:
            assert conflicts(access, width) == 0, "fragments"


def tensor_reads(at, k_contiguous: bool):
    """Fragments: 8 x 4 matrices by load_matrices, or 8 mn of 4 k by words."""
    length, depth = at.shape
    for mn in range(0, length, 8):
        for k in range(0, depth, 4):
            if k_contiguous:
                yield at[mn : mn + 8, k], 16
            else:
                yield at[mn + LANE // 4, k + LANE % 4], 4


def fma_reads(at, k_contiguous: bool, lanes_mn: int, run: int):
    """Lanes lie 4 x 8, eight successive ones 2 x 4; each reads runs of 16 bytes."""
    lane = LANE // 16 * 2 + LANE // 4 % 2 if lanes_mn == 4 else LANE // 8 % 2 * 4 + LANE % 4
    length, depth = at.shape
    for mn in range(0, length, lanes_mn * run):
        for k in range(0, depth, run):
            for e in range(run):
                if k_contiguous:
                    yield at[mn + lane * run + e, k], 16
                else:
                    yield at[mn + lane * run, k + e], 16


@pytest.mark.parametrize("tile", TENSOR, ids=lambda t: t.expression)
def test_epilogue(tile, cupy):
    """Pairs of columns of 8 rows are written, and rows are read in pieces of 16 bytes."""
    at = places(cupy, f"MnContiguous<float, {tile.n}, {tile.m}>", tile.n, tile.m, "float").T
    for m in range(0, tile.m, 8):
        for n in range(0, tile.n, 8):
            assert conflicts(at[m + LANE // 4, n + LANE % 4 * 2], 8) == 0
    for access in copies(at.T, False, 4):
        assert conflicts(access, 16) == 0
