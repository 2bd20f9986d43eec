"""Products of which no row depends, to the bit, on how many other rows there are.

BLAS sums in one order in the middle of a matrix, and maybe in another at its edges or in a matrix
of another shape. So rows go to it in groups of one size, the last one filled up.
"""

from __future__ import annotations

import functools

import numpy as np

GROUP = 8


def padded(a: np.ndarray) -> np.ndarray:
    """Return a copy of a matrix with rows of zeros added, up to a whole number of groups."""
    whole = np.zeros((-(-len(a) // GROUP) * GROUP, a.shape[1]), a.dtype)
    whole[: len(a)] = a
    return whole


def even_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return ``a @ b`` for a matrix `a` of whole groups of rows."""
    rows = _alike(a.dtype, *b.shape, b.flags.c_contiguous)
    return np.matmul(a.reshape(len(a) // rows, rows, len(b)), b).reshape(len(a), b.shape[1])


@functools.cache
def _alike(dtype: np.dtype, inner: int, columns: int, is_contiguous: bool) -> int:
    """Return how many rows can be multiplied at once, so that it does not matter which is which.

    That it is so for a group in kernels for groups of this size is likely, and tried here.
    """
    rng = np.random.default_rng(0)
    a = np.repeat(rng.standard_normal((1, inner)).astype(dtype), GROUP, axis=0)
    b = rng.standard_normal((inner, columns) if is_contiguous else (columns, inner)).astype(dtype)
    y = np.matmul(a, b if is_contiguous else b.T)
    return GROUP if (y == y[0]).all() else 1
