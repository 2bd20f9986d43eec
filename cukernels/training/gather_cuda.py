"""CUDA bodies of `gather_rows`, which launch the kernels of `gather.cu`."""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from cukernels.gpu import elementwise
from cukernels.gpu.division import divisor
from cukernels.gpu.kernel import Kernel, contiguous, ctype, multiprocessors
from cukernels.gpu.words import WORDS, row_bytes, word_of
from cukernels.runtime.arrays import Array, namespace

_ROWS = ("int", "int64")
_GATHER = Kernel("gather.cu", "gather_rows", product(WORDS.values(), _ROWS))
_BACKWARD = Kernel("gather.cu", "gather_rows_backward", product(("float", "double"), _ROWS))
_MOST_WORDS = 2**31 - 2**24  # of a launch: a thread's index and its next one have to fit an int


def gather_rows(x: Array, rows: Array) -> Array:
    x, rows = contiguous(x), _row_numbers(rows)
    y = namespace(x).empty(rows.shape + x.shape[1:], x.dtype)
    if not y.size:
        return y
    source, target = x.reshape(-1).view(np.uint8), y.reshape(-1).view(np.uint8)
    picked = rows.reshape(-1)
    size = word_of(x)
    words = row_bytes(x) // size
    together = max(_MOST_WORDS // words, 1)
    for start in range(0, picked.size, together):
        chunk = picked[start : start + together]
        n = chunk.size * words
        grid = (min(-(-n // elementwise.THREADS), 8 * multiprocessors(x)), 1, 1)
        _GATHER[WORDS[size], ctype(rows)](
            grid, elementwise.THREADS, source, chunk, target[start * row_bytes(x) :], n, words,
            divisor(words), len(x),
        )  # fmt: skip
    return y


def gather_rows_backward(dy: Array, x: Array, rows: Array) -> Array:
    rows, dy = _row_numbers(rows), contiguous(dy)
    dx = namespace(x).zeros(x.shape, x.dtype)
    columns = math.prod(x.shape[1:])
    grid = (rows.size, min(-(-columns // elementwise.THREADS), 2**15), 1)
    instance = _BACKWARD[ctype(x), ctype(rows)]
    instance(grid, elementwise.THREADS, dy, rows, dx, rows.size, columns, len(x))
    return dx


def _row_numbers(rows: Array) -> Array:
    """Rows in a dtype that the kernels have: int32 or int64."""
    return contiguous(rows if rows.dtype in (np.int32, np.int64) else rows.astype(np.int64))
