"""Products of two matrices whose rows the cores share, without a difference in any bit.

Within a fit BLAS computes on one thread, because its sums depend on how many threads divide them.
But it is enough to divide the rows of a product by shapes alone, and to try once whether BLAS then
makes the same bits as it does undivided.
"""

from __future__ import annotations

import functools
from math import prod

import numpy as np

from cukernels.runtime.blas_threads import is_on_one_blas_thread
from cukernels.runtime.chunks import halves
from cukernels.runtime.workers import in_parallel, threads

_LEAST = 10_000_000  # multiplications of a product that is worth a thread to wake


def multiply(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Return ``np.matmul(left, right, out=out)``; two cores share a large product."""
    is_large = left.shape[-1] * prod(out.shape[-2:]) >= _LEAST and prod(out.shape[:-2]) == 1
    # NumPy has another way for a matrix and its own transpose.
    is_plain = is_large and not np.may_share_memory(left, right)
    if not (is_plain and is_on_one_blas_thread() and threads() > 1 and _is_divisible(left, right)):
        return np.matmul(left, right, out=out)

    def compute(_: None, own: slice) -> None:
        np.matmul(left[..., own, :], right, out=out[..., own, :])

    in_parallel(compute, halves(left.shape[-2]))
    return out


def _is_divisible(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether the parts of a product have the bits of the whole."""
    sizes = (*left.shape[-2:], right.shape[-1])
    return _was_divisible(left.dtype, sizes, _is_transposed(left), _is_transposed(right))


def _is_transposed(a: np.ndarray) -> bool:
    return a.strides[-2] < a.strides[-1]


@functools.lru_cache(maxsize=64)
def _was_divisible(dtype: np.dtype, sizes: tuple[int, int, int], *transposed: bool) -> bool:
    """Whether they had when it was tried, with matrices that lie alike."""
    rows, inner, columns = sizes
    rng = np.random.default_rng(0)
    left, right = (
        rng.random(shape[::-1]).astype(dtype).T
        if is_transposed
        else rng.random(shape).astype(dtype)
        for shape, is_transposed in zip(((rows, inner), (inner, columns)), transposed, strict=True)
    )
    parts = np.concatenate([np.matmul(left[own], right) for own in halves(rows)])
    return np.array_equal(np.matmul(left, right), parts)
