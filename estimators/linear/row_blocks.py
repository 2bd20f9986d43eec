"""Blocks of rows of a data matrix on the host, dense or sparse, with their targets and weights.

Large samples stay as they are given. Bytes, which as floats take eight times as much memory, become
floats a block at a time. An array in Fortran's order, as frames have theirs, need not be copied.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np
import scipy.sparse as sp

from cukernels import csr_matmul, csr_matmul_backward, matmul
from cukernels.matmul import padded
from cukernels.runtime import Array, empty, in_parallel, namespace, shares, slices, threads, to_host
from estimators.shared.base import FLOATS, float_dtype
from estimators.shared.device_arrays import device_of
from estimators.shared.rows import SparseRows
from estimators.shared.validation import dtype_of

_CACHE = 5 << 19  # bytes for the scores of a block of rows and their gradients
_LEAST_MODELS = 4  # a stack of fewer is little faster than one model after the other
BLOCK_BYTES = 4 << 20  # bytes of X that stay in a core's share of the cache
_COLUMNS = 64  # that become floats at a time, where the values of a column are neighbours
_SMALL = 16  # how many blocks samples have to be that are large beside what is converted
_TOGETHER = 64  # a multiple of the rows that a BLAS takes at a time
_DENSE_STEPS = 32  # multiplications of a dense product in the time of one of a sparse product


class RowBlock:
    """Some rows of X on the host, with their targets, their weights and their share in the mean.

    Products are those of a block that is `ready`.

    Attributes
    ----------
    x : ndarray or CSR matrix of shape (B, D)
        In the order and dtype of X.
    targets : ndarray of shape (B,) or (B, K)
    weights : ndarray of shape (M or 1, B), or None where all weights are 1
    share : ndarray of shape (M or 1,)
        The fraction of the total weight of all rows that is in this block.
    """

    def __init__(
        self, x: Any, targets: np.ndarray, weights: np.ndarray | None, share: np.ndarray
    ) -> None:
        self.x, self.share, self.targets, self.weights = x, share, targets, weights
        self._rows: Any = None
        if is_ready(x, float_dtype(x)):
            self._rows = SparseRows(x.data, x.indices, x.indptr) if sp.issparse(x) else x

    def ready(self) -> RowBlock:
        """Return the block with its rows as floats, which may be valid for a short while."""
        if self._rows is not None:
            return self
        rows = float_rows(self.x, float_dtype(self.x))
        return RowBlock(rows, self.targets, self.weights, self.share)

    def times(self, coef: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """Return ``coef @ x.T + bias`` of shape (K, B), for `coef` of shape (K, D)."""
        if isinstance(self._rows, SparseRows):
            scores = csr_matmul(*self._rows, coef.T).T
        elif by_columns(self._rows):
            scores = matmul(_even(coef), self._rows, transpose_b=True)[: len(coef)]
        else:
            scores = matmul(self._rows, _even(coef), transpose_b=True)[:, : len(coef)].T
        scores += bias[:, None]
        return scores

    def transposed_times(self, dz: np.ndarray) -> np.ndarray:
        """Return ``x.T @ dz.T`` of shape (D, K), for `dz` of shape (K, B)."""
        if isinstance(self._rows, SparseRows):
            shape = (self.x.shape[1], len(dz))
            coef = np.broadcast_to(dz[:1, :1], shape)  # only its shape counts
            return csr_matmul_backward(dz.T, *self._rows, coef)[0]
        return matmul(_even(dz), self._rows)[: len(dz)].T

    @functools.cached_property
    def sample_shares(self) -> np.ndarray:
        """The share of each row in the mean, of shape (B,), for a single model."""
        if self.weights is None:
            n_rows = self.x.shape[0]
            return np.full(n_rows, self.share[0] / n_rows, float_dtype(self.x))
        weights = self.weights[0]
        shares = weights * (self.share[0] / (weights.sum() or 1))
        return shares.astype(float_dtype(self.x))

    def of_models(self, models: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
        """Return the weights and the shares of some models of the stack."""
        if len(self.share) == 1:
            return self.weights, self.share
        return None if self.weights is None else self.weights[models], self.share[models]


def with_ones(x: Any, value: float) -> Any:
    """Return a copy of rows with one more column, of this value, at the end.

    An array stays on its device. A CSR matrix becomes a CSC matrix.
    """
    if sp.issparse(x):
        return sp.hstack([x, np.full((x.shape[0], 1), value, x.dtype)], format="csc")
    if isinstance(x, np.ndarray):
        room = np.empty((len(x), x.shape[1] + 1), float_dtype(x))
        room[:, :-1], room[:, -1] = x, value
        return room
    xp = namespace(x)
    return xp.hstack([x, xp.full((len(x), 1), value, x.dtype)])


def _even(rows: np.ndarray) -> np.ndarray:
    """Return an even number of rows, with a row of zeros added where their number is odd.

    A BLAS sums the last row of an odd number in another order than the others. The last model of a
    stack would then differ from the same model alone, by rounding. A single row stays as it is:
    the product with a vector is far faster.
    """
    if len(rows) % 2 == 0 or len(rows) == 1:
        return rows
    return padded(rows, 2)


def block_rows(X: Any, *, as_array: bool = False) -> int:
    """Return how many rows a block has: those that stay in a core's cache, or all if X is sparse.

    `as_array` asks how many rows of sparse X, with ones, become an array at a time.
    """
    n_samples, n_features = X.shape
    if sp.issparse(X) and not as_array:
        return n_samples
    n_columns = n_features + as_array
    return min(n_samples, max(64, BLOCK_BYTES // max(n_columns * float_dtype(X).itemsize, 1)))


def stack_shares(n_models: int, n_folds: int, X: Any, n_rows: int, n_classes: int) -> list[slice]:
    """Divide models that learn from the same `n_rows` rows of X into stacks.

    The scores of a stack for a block of rows stay in the cache, and every core has a stack of the
    models of all folds.
    """
    itemsize = float_dtype(X).itemsize
    of_block = 2 * min(n_rows, BLOCK_BYTES // max(X.shape[1] * itemsize, 1)) * n_classes * itemsize
    at_once = max(_LEAST_MODELS, _CACHE // max(of_block, 1))
    for_cores = max(_LEAST_MODELS, -(-n_models * n_folds // threads()))
    return shares(n_models, min(at_once, for_cores))


def kept_forms(X: Any) -> dict[str, Any]:
    """Return which dtypes and order of samples their validation is to keep.

    Large ones on the host stay as they are, where the blocks that are converted at a time are small
    beside them. Others become rows of floats at once, which is as fast as it can be, and so do
    floats that no product takes as they lie. What is large is the same on every machine, as the
    bits of a product depend on the order of X.
    """
    found = None if sp.issparse(X) or device_of(X) is not None else dtype_of(X)
    if found in (*FLOATS, np.uint8) and X.ndim == 2:
        n_samples, n_features = X.shape
        n_values = max(64 * n_features, BLOCK_BYTES // float_dtype(X).itemsize)
        is_large = n_samples * n_features >= _SMALL * n_values
        if is_large and (found == np.uint8 or not isinstance(X, np.ndarray) or is_ready(X, found)):
            return {"dtype": (*FLOATS, np.uint8), "order": None}
    return {"dtype": FLOATS, "order": "C"}


def is_ready(x: Any, dtype: Any) -> bool:
    """Whether products take samples on the host as they lie: floats with neighbours on an axis."""
    if sp.issparse(x):
        return True
    return x.dtype == dtype and x.dtype.itemsize in x.strides and min(x.strides) > 0


def by_columns(x: Array) -> bool:
    """Whether the values of a column are neighbours, so that rows are the columns of ``x.T``.

    The product of few weights with such samples takes half of the time from the left.
    """
    return isinstance(x, np.ndarray) and x.strides[0] < x.strides[1]


def float_rows(x: np.ndarray, dtype: Any) -> np.ndarray:
    """Return a block of samples as floats: itself, or a copy in the workspace if there is one."""
    if is_ready(x, dtype):
        return x
    rows = empty(x.shape, dtype)
    for columns in slices(x.shape[1], _COLUMNS if by_columns(x) else x.shape[1]):
        rows[:, columns] = x[:, columns]
    return rows


def in_blocks(
    of: Callable[[Any], np.ndarray], X: Any, shape: tuple[int, ...], dtype: Any, axis: int = 0
) -> np.ndarray:
    """Return what a function makes of samples on the host, of a block of arrays at a time.

    What it makes of a sample must not depend on the others.

    Parameters
    ----------
    of : callable
        Takes some of the samples, as floats of the dtype or as a CSR matrix.
    X : ndarray or CSR matrix of shape (n_samples, n_features)
    shape : tuple of int
        The shape of the result.
    dtype : dtype
        That of the samples and of the result.
    axis : int, default=0
        The axis of the samples in the result.
    """
    if sp.issparse(X):
        return of(X)
    of_sample = prod(shape) // max(shape[axis], 1)
    size = min(block_rows(X), BLOCK_BYTES // max(of_sample * np.dtype(dtype).itemsize, 1))
    size = max(size - size % _TOGETHER, _TOGETHER)  # a BLAS adds the last rows in another order
    if size >= len(X):
        return of(float_rows(X, dtype))
    found = np.empty(shape, dtype)

    def store(_: None, rows: slice) -> None:
        found[(slice(None),) * axis + (rows,)] = of(float_rows(X[rows], dtype))

    in_parallel(store, slices(len(X), size))
    return found


def are_dense(squares: float, n_rows: int, n_columns: int) -> bool:
    """Whether products of the columns of sparse rows are faster made of arrays.

    A row of f values takes f**2 multiplications, of which `squares` is the sum, or n_columns**2 as
    an array.
    """
    return _DENSE_STEPS * squares > n_rows * n_columns**2


def row_blocks(X: Any, targets: np.ndarray, sample_weight: np.ndarray | None) -> list[RowBlock]:
    """Divide X into blocks that stay in a core's cache; sparse X is one block.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (N, D)
    targets : ndarray of shape (N,) or (N, K)
    sample_weight : ndarray of shape (N,) or (M, N), or None
    """
    n_samples, size = X.shape[0], block_rows(X)
    weights = None if sample_weight is None else np.atleast_2d(sample_weight)
    blocks = []
    for start in range(0, n_samples, size):
        rows = slice(start, min(start + size, n_samples))
        whole = size >= n_samples
        if weights is None:
            own, share = None, np.array([(rows.stop - rows.start) / n_samples])
        else:
            own = weights[:, rows]
            total = weights.sum(axis=1, dtype=np.float64)
            share = own.sum(axis=1, dtype=np.float64) / np.where(total == 0, 1, total)
        blocks.append(RowBlock(X if whole else X[rows], targets[rows], own, share))
    return blocks


def gram_chunks(x: Any) -> Iterator[tuple[slice, Any]]:
    """Yield chunks of rows, and which rows they are, in the form that `weighted_gram` is fast on.

    An array is one chunk, and so is a CSC matrix with few values in a row. A matrix with many is
    yielded as arrays, with a bounded number of rows in each.
    """
    if sp.issparse(x):
        n_rows, n_columns = x.shape
        filled = np.bincount(x.indices, minlength=n_rows)
        if are_dense(float(np.sum(filled**2)), n_rows, n_columns):
            x = x.tocsr()
            for rows in slices(n_rows, max(64, BLOCK_BYTES // (n_columns * x.dtype.itemsize))):
                yield rows, x[rows].toarray()
            return
    yield slice(None), x


def weighted_gram(left: Any, weights: Array, right: Any) -> np.ndarray:
    """Return ``left.T @ diag(weights) @ right`` for two arrays or two CSC matrices."""
    if sp.issparse(left):
        return (left.T @ right.multiply(weights[:, None]).tocsc()).toarray()
    return to_host(matmul(left, weights[:, None] * right, transpose_a=True))
