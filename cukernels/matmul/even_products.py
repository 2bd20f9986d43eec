"""Products in which no row depends, to the bit, on how many other rows there are.

BLAS may sum in another order at the edge of a matrix than in its middle, or in a matrix of another
shape. So rows are given to it in groups of one size, and the last group is filled up with zeros.
"""

from __future__ import annotations

import functools

import numpy as np

GROUP = 8


def padded(a: np.ndarray, group: int = GROUP) -> np.ndarray:
    """Return a copy of a matrix with rows of zeros added, up to a whole number of groups."""
    whole = np.zeros((-(-len(a) // group) * group, a.shape[1]), a.dtype)
    whole[: len(a)] = a
    return whole


def even_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return ``a @ b`` for a matrix `a` of whole groups of rows."""
    rows = _rows_at_once(a.dtype, *b.shape, b.flags.c_contiguous)
    return np.matmul(a.reshape(len(a) // rows, rows, len(b)), b).reshape(len(a), b.shape[1])


@functools.cache
def _rows_at_once(dtype: np.dtype, inner: int, columns: int, is_contiguous: bool) -> int:
    """Return how many rows BLAS can multiply at once and treat all alike: a group, or 1.

    BLAS kernels for this many rows most likely sum all of them in the same order. Whether they do
    is tried here, with a group of equal rows.
    """
    rng = np.random.default_rng(0)
    a = np.repeat(rng.standard_normal((1, inner)).astype(dtype), GROUP, axis=0)
    b = rng.standard_normal((inner, columns) if is_contiguous else (columns, inner)).astype(dtype)
    y = np.matmul(a, b if is_contiguous else b.T)
    return GROUP if (y == y[0]).all() else 1
