"""CUDA bodies of the products with sparse matrices, which launch the kernels of `sparse.cu`."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from cukernels.gpu.kernel import Kernel, contiguous, ctype
from cukernels.gpu.stacks import models_of
from cukernels.runtime.arrays import Array, namespace
from cukernels.sparse.sparse import check_csr

_TYPES, _INTEGERS = ("float", "double"), ("int", "int64")
_BOTH = [(t, i) for t in _TYPES for i in _INTEGERS]
_PRODUCT = Kernel("sparse.cu", "csr_product", _BOTH)
_NUMBER = Kernel("sparse.cu", "number_entries", [(i,) for i in _INTEGERS])
_COUNT = Kernel("sparse.cu", "count_digits", [(i,) for i in _INTEGERS])
_SCAN = Kernel("sparse.cu", "scan_counts", [(i,) for i in _INTEGERS])
_SCATTER = Kernel("sparse.cu", "scatter_entries", _BOTH)
_STARTS = Kernel("sparse.cu", "find_starts", [(i,) for i in _INTEGERS])

THREADS = 256
WARPS = THREADS // 32
MOST_BITS = 10  # of a digit of the radix sort


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

    def times(self, b: Array, b_model: int, depth: int, models: int, y: Array) -> None:
        """Write the product with `b` to `y`.

        Each model's `b` has `depth` rows, and begins `b_model` elements after the previous one.
        """
        columns = y.shape[-1]
        lanes, tiles = _lanes(columns, y.itemsize)
        _PRODUCT[ctype(y), ctype(self.indices)](
            (-(-self.rows // WARPS), tiles, 1), THREADS, *self, b, y, self.rows,
            max(self.rows // max(models, 1), 1), columns, lanes, b_model,
            self.data.shape[0], depth,
        )  # fmt: skip

    def transposed(self, models: int, width: int) -> Csr:
        """Return the transposes of the models' matrices, one below the other.

        The matrix holds the same number of rows for each model. The column indices of the result
        are row numbers of the whole matrix.
        """
        xp, type_ = namespace(self.data), ctype(self.indices)
        data, entries, integer = self.data, self.data.shape[0], self.indices.dtype
        keys, rows = xp.empty(entries, integer), xp.empty(entries, integer)
        _NUMBER[type_](
            (-(-self.rows // WARPS), 1, 1), THREADS, self.indices, self.indptr, keys, rows,
            self.rows, max(self.rows // max(models, 1), 1), width, entries,
        )  # fmt: skip
        of_block = _entries_of_block(entries)
        blocks = -(-entries // of_block)
        for shift, bits in _digits(models * width):
            counts = xp.empty((1 << bits, blocks), integer)
            totals = xp.empty(1 << bits, integer)
            to = xp.empty_like(keys), xp.empty_like(rows), xp.empty_like(data)
            _COUNT[type_](
                (blocks, 1, 1), THREADS, keys, counts, entries, of_block, shift, 1 << bits
            )
            _SCAN[type_]((1 << bits if blocks else 0, 1, 1), THREADS, counts, totals, blocks)
            _SCATTER[ctype(data), type_](
                (blocks, 1, 1), THREADS, keys, rows, data, counts, totals, *to, entries, of_block,
                shift, bits,
            )  # fmt: skip
            keys, rows, data = to
        count = models * width + 1
        starts = xp.empty(count, integer)
        _STARTS[type_]((-(-count // THREADS), 1, 1), THREADS, keys, starts, entries, count)
        return Csr(data, rows, starts)


@functools.cache
def _lanes(columns: int, itemsize: int) -> tuple[int, int]:
    """Return log2 of the lanes that share a row of b, and the number of tiles of columns."""
    of_lane = 16 // itemsize
    lanes = min((-(-columns // of_lane) - 1).bit_length(), 5) if columns else 0
    return lanes, -(-columns // (of_lane << lanes))


@functools.cache
def _digits(keys: int) -> list[tuple[int, int]]:
    """Return (first bit, number of bits) of each digit of keys below `keys`, lowest first."""
    bits = max(keys - 1, 0).bit_length()
    passes = -(-bits // MOST_BITS)
    bounds = [bits * i // passes for i in range(passes + 1)] if passes else [0]
    return [(a, b - a) for a, b in zip(bounds, bounds[1:], strict=False)]


def _entries_of_block(entries: int) -> int:
    """How many entries a block sorts: a multiple of its threads, so that at most 1024 blocks do.

    Then all warps of a block have the same number of whole rounds.
    """
    return max(2048, -(-entries // (1024 * THREADS)) * THREADS)


def csr_matmul(data: Array, indices: Array, indptr: Array, b: Array) -> Array:
    check_csr("csr_matmul", data, indices, indptr, b)
    dtype = np.result_type(data.dtype, b.dtype)
    a = Csr.of(data, indices, indptr, dtype)
    models = b.shape[0] if b.ndim == 3 else 1
    shape = (a.rows, b.shape[-1])
    if b.ndim == 3:
        shape = (models, a.rows // max(models, 1), b.shape[-1])  # type: ignore[assignment]
    y = namespace(data).empty(shape, dtype)
    if y.size:
        first, b_model = models_of(b.astype(dtype, copy=False), 2, b.shape[:-2])
        a.times(first, b_model, b.shape[-2], models, y)
    return y


def csr_matmul_backward(dy: Array, data: Array, indices: Array, indptr: Array, b: Array) -> Array:
    check_csr("csr_matmul_backward", data, indices, indptr, b)
    dtype = np.result_type(data.dtype, dy.dtype)
    a = Csr.of(data, indices, indptr, dtype)
    models = b.shape[0] if b.ndim == 3 else 1
    db = namespace(data).empty(b.shape, dtype)
    if db.size:
        transpose = a.transposed(models, b.shape[-2])
        transpose.times(contiguous(dy, dtype), 0, a.rows, 1, db)
    return db
