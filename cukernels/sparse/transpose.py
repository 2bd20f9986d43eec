"""The transposes of sparse matrices on a GPU, by the kernels of `transpose.cu`."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from cukernels.activations.fused import fused
from cukernels.gpu import elementwise
from cukernels.gpu.counters import counters
from cukernels.gpu.kernel import Kernel, contiguous, ctype
from cukernels.runtime.arrays import Array, namespace

INTEGERS = ("int", "int64")
BOTH = [(t, i) for t in ("float", "double") for i in INTEGERS]
_NUMBER = Kernel("transpose.cu", "number_entries", BOTH)
_COUNT = Kernel("transpose.cu", "count_digits", [(i,) for i in INTEGERS])
_SCATTER = Kernel("transpose.cu", "scatter_entries", BOTH)

THREADS = 256
MOST_BITS = 10  # of a digit of the radix sort
_MOST_BLOCKS, _LEAST_ENTRIES = 512, 2048  # most_blocks and least_entries of transpose.cu


class Csr(NamedTuple):
    """A sparse matrix whose arrays have the layout and dtypes that the kernels take.

    Attributes
    ----------
    data, indices, indptr : arrays
        Contiguous; `indices` and `indptr` have the same dtype.
    """

    data: Array
    indices: Array
    indptr: Array

    @classmethod
    def of(cls, data: Array, indices: Array, indptr: Array, dtype: np.dtype) -> Csr:
        """Convert the arrays where needed."""
        if data.dtype != dtype:
            data = data.astype(dtype)
        if not (indices.dtype == indptr.dtype == np.int32):
            indices, indptr = (i.astype(np.int64, copy=False) for i in (indices, indptr))
        return cls(contiguous(data), contiguous(indices), contiguous(indptr))

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.indptr.shape[0] - 1


class Sorted(NamedTuple):
    """The entries of the rows of a matrix, sorted by model and column.

    Attributes
    ----------
    data, rows, keys : arrays
        The value of each entry, its row, and the number of its model times the width of the matrix
        plus its column. They are as long as the arrays of the matrix, which may hold more entries
        than its rows; what is behind those of the rows is undefined.
    """

    data: Array
    rows: Array
    keys: Array


def transposed(
    a: Csr, models: int, width: int, dy: Array, y: Array | None, activation: str
) -> tuple[Sorted, Array]:
    """Sort the entries of a matrix by column, and take a gradient back through an activation.

    The first launch of the sort has blocks that do the latter.

    Parameters
    ----------
    a : Csr
        The matrix. It holds the same number of rows for each model.
    models, width : int
        The number of models, and of columns.
    dy, y : contiguous arrays of shape (rows, K)
        Gradient in the output and the output, which the identity does not need.
    activation : str
        One of `FUSED_ACTIVATIONS` that fits an epilogue.

    Returns
    -------
    entries : Sorted
    dz : array of the shape of `dy`
        For the identity `dy` itself.
    """
    xp, integer, type_ = namespace(a.data), a.indices.dtype, ctype(a.indices)
    entries = a.data.shape[0]
    blocks = blocks_of(entries)
    code, parameter, _ = fused(activation)
    dz = xp.empty_like(dy) if code else dy
    data, keys, rows = a.data, xp.empty(entries, integer), xp.empty(entries, np.int32)
    arrived = counters(data, 1)
    for shift, bits in digits(models * width):
        counts, totals = xp.empty((blocks, 1 << bits), integer), xp.empty(1 << bits, integer)
        if shift == 0:
            grid = (max(blocks, elementwise.blocks(dy, dy.size)), 2, 1) if code else (blocks, 1, 1)
            _NUMBER[ctype(data), type_](
                grid, THREADS, a.indices, a.indptr, keys, rows, counts, totals, arrived, a.rows,
                max(a.rows // max(models, 1), 1), width, entries, bits, dy, y, dz, dy.size, code,
                parameter,
            )  # fmt: skip
        else:
            _COUNT[type_](
                (blocks, 1, 1), THREADS, keys, a.indptr, counts, totals, arrived, a.rows, entries,
                shift, bits,
            )  # fmt: skip
        to = xp.empty_like(data), xp.empty_like(rows), xp.empty_like(keys)
        _SCATTER[ctype(data), type_](
            (blocks, 1, 1), THREADS, keys, rows, data, a.indptr, counts, totals, to[2], to[1],
            to[0], a.rows, entries, shift, bits,
        )  # fmt: skip
        data, rows, keys = to
    return Sorted(data, rows, keys), dz


def blocks_of(entries: int) -> int:
    """Return how many blocks sort so many entries."""
    return min(-(-entries // _LEAST_ENTRIES), _MOST_BLOCKS)


@functools.cache
def digits(keys: int) -> list[tuple[int, int]]:
    """Return (first bit, number of bits) of each digit of keys below `keys`, lowest first."""
    bits = max((keys - 1).bit_length(), 1)
    passes = -(-bits // MOST_BITS)
    bounds = [bits * i // passes for i in range(passes + 1)]
    return [(a, b - a) for a, b in zip(bounds, bounds[1:], strict=False)]
