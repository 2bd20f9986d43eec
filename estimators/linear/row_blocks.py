"""Blocks of rows of a data matrix on the host, dense or sparse, with their targets and weights."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from cukernels import csr_matmul, csr_matmul_backward, matmul
from cukernels.matmul import padded
from cukernels.runtime import Array, namespace, slices, to_host
from estimators.shared.rows import SparseRows, placed_rows

BLOCK_BYTES = 4 << 20  # bytes of X that stay in a core's share of the cache
_DENSE_STEPS = 32  # multiplications of a dense product in the time of one of a sparse product


class RowBlock:
    """Some rows of X on the host, with their targets, their weights and their share in the mean.

    Attributes
    ----------
    x : ndarray or CSR matrix of shape (B, D)
    targets : ndarray of shape (B,) or (B, K)
    weights : ndarray of shape (M or 1, B), or None where all weights are 1
    share : ndarray of shape (M or 1,)
        The fraction of the total weight of all rows that is in this block.
    """

    def __init__(
        self, x: Any, targets: np.ndarray, weights: np.ndarray | None, share: np.ndarray
    ) -> None:
        self.x, self.share, self.targets, self.weights = x, share, targets, weights
        self._rows = placed_rows(x, x.dtype, "cpu")

    def times(self, coef: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """Return ``coef @ x.T + bias`` of shape (K, B), for `coef` of shape (K, D)."""
        if isinstance(self._rows, SparseRows):
            scores = csr_matmul(*self._rows, coef.T).T
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
            return np.full(n_rows, self.share[0] / n_rows, self.x.dtype)
        weights = self.weights[0]
        shares = weights * (self.share[0] / (weights.sum() or 1))
        return shares.astype(self.x.dtype)

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
    return min(n_samples, max(64, BLOCK_BYTES // max(n_columns * X.dtype.itemsize, 1)))


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
