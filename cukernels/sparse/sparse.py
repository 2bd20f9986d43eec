"""Products with sparse matrices in compressed sparse row form (CSR), as SciPy has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.contract import check_integers
from cukernels.runtime.dtypes import INTEGER
from cukernels.runtime.op import op


def _sparse_products(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    r = rng.standard_normal
    for rows, columns, b in (
        (6, 7, r((7, 3))),
        (6, 7, r((2, 7, 3))),  # two models, three rows each
        (1, 1, r((1, 1))),
        (0, 7, r((7, 3))),
        (5, 40, r((40, 9))),
    ):
        a = np.where(rng.random((rows, columns)) < 0.3, r((rows, columns)), 0)
        a[1:2] = 0  # an empty row
        a[:1, :1] = 1.0
        csr = sp.csr_matrix(a)
        yield {"data": csr.data, "indices": csr.indices, "indptr": csr.indptr, "b": b}
    yield {  # an entry given twice counts twice
        "data": np.array([1.0, 2.0]),
        "indices": np.array([1, 1], dtype=np.int32),
        "indptr": np.array([0, 2], dtype=np.int32),
        "b": r((2, 3)),
    }


@op(samples=_sparse_products, kinds={"indices": INTEGER, "indptr": INTEGER})
def csr_matmul(data: Array, indices: Array, indptr: Array, b: Array) -> Array:
    """Return ``a @ b`` for a sparse matrix `a` in CSR form.

    Parameters
    ----------
    data : array of shape (nnz,), float32 or float64
        The stored values, row after row.
    indices : integer array of shape (nnz,)
        The column of each value, from 0 to D - 1. Values of the same row and column add up.
    indptr : integer array of shape (n_rows + 1,)
        Row i holds the values from ``indptr[i]`` to ``indptr[i + 1]``; it rises from 0 to nnz.
    b : array of shape (D, K) or (M, D, K)
        The dense factor, or one for each of M models. Then `a` holds ``n_rows / M`` rows for each
        model, one model after the other.

    Returns
    -------
    y : array of shape (n_rows, K) or (M, n_rows / M, K)
        On a GPU `indices` and `indptr` are not checked beforehand, as the host would have to wait.
        Instead a row of `y` is NaN if a column in it, or its beginning or end, is out of range.

    Raises
    ------
    ValueError
        If the number of rows is not a multiple of M, or, on the CPU, if `indices` or `indptr` are
        out of range.
    """
    check_csr("csr_matmul", data, indices, indptr, b)
    a = _dense(data, indices, indptr, b.shape[-2])
    return namespace(b).matmul(a.reshape(*b.shape[:-2], -1, b.shape[-2]), b)


@op(gradients=("b",))
def csr_matmul_backward(dy: Array, data: Array, indices: Array, indptr: Array, b: Array) -> Array:
    """Gradient of `csr_matmul` in `b`, ``a.T @ dy``, of the shape of `b`.

    On a GPU a value whose column is out of range makes the gradient of the nearest column NaN. An
    `indptr` that falls gives undefined numbers.
    """
    check_csr("csr_matmul_backward", data, indices, indptr, b)
    a = _dense(data, indices, indptr, b.shape[-2])
    return namespace(b).matmul(a.reshape(*dy.shape[:-1], b.shape[-2]).swapaxes(-1, -2), dy)


def check_csr(op: str, data: Array, indices: Array, indptr: Array, b: Array) -> None:
    """Raise unless the rows divide evenly among the models and, on the CPU, all indices are valid.

    Raises
    ------
    TypeError, ValueError
        As `csr_matmul` and its backward raise.
    """
    models, rows = b.shape[0] if b.ndim == 3 else 1, len(indptr) - 1
    if rows % max(models, 1):
        raise ValueError(f"{op}: {rows} rows are no multiple of the {models} models of b {b.shape}")
    if namespace(data) is np:
        check_rows(op, data, indices, indptr, b.shape[-2])


def check_rows(op: str, data: Array, indices: Array, indptr: Array, columns: int) -> None:
    """Raise unless NumPy arrays are a matrix in CSR form with this many columns.

    Raises
    ------
    TypeError
        If `indices` or `indptr` do not hold integers.
    ValueError
        If they are out of range.
    """
    check_integers(op, "indices", indices, columns, "columns")
    check_integers(op, "indptr", indptr, len(data) + 1, "places from 0 to the number of values")
    if indptr[0] != 0 or indptr[-1] != len(data) or (indptr[1:] < indptr[:-1]).any():
        raise ValueError(
            f"{op}: indptr must rise from 0 to the number of values {len(data)}, and goes from "
            f"{indptr[0]} to {indptr[-1]}" + ("" if indptr[-1] < indptr[0] else " or falls between")
        )


def _dense(data: Array, indices: Array, indptr: Array, columns: int) -> Array:
    """Return the matrix as a dense array."""
    xp = namespace(data)
    a = xp.zeros((len(indptr) - 1, columns), data.dtype)
    row = xp.searchsorted(indptr, xp.arange(len(data)), side="right") - 1
    xp.add.at(a, (row, indices), data)
    return a
