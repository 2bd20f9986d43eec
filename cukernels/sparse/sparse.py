"""Products with sparse matrices in compressed sparse row form (CSR), as SciPy has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from cukernels.activations.activations import fused_activation
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
    # The rows of two models are a part of those of a longer matrix.
    long = sp.random_array((9, 8), density=0.4, format="csr", random_state=rng)
    for activation in ("relu", "softmax"):
        yield {
            "data": long.data,
            "indices": long.indices,
            "indptr": long.indptr[2:9],
            "b": r((2, 8, 5)),
            "bias": r((2, 5)),
            "activation": activation,
        }
    yield {
        "data": long.data,
        "indices": long.indices,
        "indptr": long.indptr,
        "b": r((8, 4)),
        "bias": r(4),
        "activation": "tanh",
    }


@op(samples=_sparse_products, kinds={"indices": INTEGER, "indptr": INTEGER})
def csr_matmul(
    data: Array,
    indices: Array,
    indptr: Array,
    b: Array,
    bias: Array | None = None,
    *,
    activation: str = "identity",
) -> Array:
    """Return ``activation(a @ b + bias)`` for a sparse matrix `a` in CSR form.

    Parameters
    ----------
    data : array of shape (nnz,), float32 or float64
        The stored values, row after row.
    indices : integer array of shape (nnz,)
        The column of each value, from 0 to D - 1. Values of the same row and column add up.
    indptr : integer array of shape (n_rows + 1,)
        Row i holds the values from ``indptr[i]`` to ``indptr[i + 1]``; it never falls. It need not
        begin at 0 nor end at nnz: a slice of the `indptr` of a longer matrix, with `data` and
        `indices` of the whole, is some of its rows.
    b : array of shape (D, K) or (M, D, K)
        The dense factor, or one for each of M models. Then `a` holds ``n_rows / M`` rows for each
        model, one model after the other.
    bias : array of shape (K,) or (M, K), default=None
        Added to every row.
    activation : str, default="identity"
        Name of an activation whose derivative needs only its output: one of
        `FUSED_ACTIVATIONS`.

    Returns
    -------
    y : array of shape (n_rows, K) or (M, n_rows / M, K)
        On a GPU `indices` and `indptr` are not checked beforehand, as the host would have to wait.
        Instead a row of `y` is NaN if a column in it, or its beginning or end, is out of range.

    Raises
    ------
    ValueError
        If the number of rows is not a multiple of M, if the activation cannot be fused, or, on the
        CPU, if `indices` or `indptr` are out of range.
    """
    check_csr("csr_matmul", data, indices, indptr, b)
    a = _dense(data, indices, indptr, b.shape[-2])
    y = namespace(b).matmul(a.reshape(*b.shape[:-2], -1, b.shape[-2]), b)
    if bias is not None:
        y += bias[..., None, :]
    return fused_activation(activation).forward(y)


@op(gradients=("b", "bias"))
def csr_matmul_backward(
    dy: Array,
    data: Array,
    indices: Array,
    indptr: Array,
    b: Array,
    bias: Array | None = None,
    y: Array | None = None,
    *,
    activation: str = "identity",
) -> tuple[Array, Array | None]:
    """Gradients of `csr_matmul` in `b` and `bias`.

    With ``dz = dy * activation'(y)`` they are ``a.T @ dz`` and the sum of the rows of ``dz``.

    On a GPU a value whose column is out of range makes the gradient of the nearest column NaN. An
    `indptr` that falls gives undefined numbers.

    Parameters
    ----------
    dy : array of shape (n_rows, K) or (M, n_rows / M, K)
        Gradient in the output.
    data, indices, indptr, b, bias, activation
        As given to `csr_matmul`.
    y : array of shape (n_rows, K) or (M, n_rows / M, K), default=None
        The output, which the identity does not need.

    Returns
    -------
    db, dbias : arrays of the shapes of `b` and `bias`; None for a bias of None
    """
    check_csr("csr_matmul_backward", data, indices, indptr, b)
    check_output(y, activation)
    xp, dz = namespace(b), fused_activation(activation).backward(dy, y)
    a = _dense(data, indices, indptr, b.shape[-2])
    db = xp.matmul(a.reshape(*dz.shape[:-1], b.shape[-2]).swapaxes(-1, -2), dz)
    return db, None if bias is None else dz.sum(axis=-2)


def check_output(y: Array | None, activation: str) -> None:
    """Raise ValueError if the derivative of an activation needs an output that is not given."""
    if y is None and activation != "identity":
        raise ValueError(f"csr_matmul_backward: activation {activation!r} needs the output y")


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
        check_rows(op, data, indices, indptr, b.shape[-2], whole=False)


def check_rows(
    op: str, data: Array, indices: Array, indptr: Array, columns: int, whole: bool = True
) -> None:
    """Raise unless NumPy arrays are a matrix in CSR form with this many columns.

    Unless it has to be a `whole` one, `data` and `indices` may hold more values than its rows do.

    Raises
    ------
    TypeError
        If `indices` or `indptr` do not hold integers.
    ValueError
        If they are out of range.
    """
    check_integers(op, "indptr", indptr, len(data) + 1, "places from 0 to the number of values")
    begin, end = indptr[0], indptr[-1]
    falls = (indptr[1:] < indptr[:-1]).any()
    if falls or (whole and (begin != 0 or end != len(data))):
        wanted = f"rise from 0 to the number of values {len(data)}" if whole else "never fall"
        between = " or falls between" if begin <= end else ""
        raise ValueError(f"{op}: indptr must {wanted}, and goes from {begin} to {end}{between}")
    check_integers(op, "indices", indices[begin:end], columns, "columns")


def _dense(data: Array, indices: Array, indptr: Array, columns: int) -> Array:
    """Return the matrix as a dense array."""
    xp, begin, end = namespace(data), int(indptr[0]), int(indptr[-1])
    a = xp.zeros((len(indptr) - 1, columns), data.dtype)
    row = xp.searchsorted(indptr, xp.arange(begin, end), side="right") - 1
    xp.add.at(a, (row, indices[begin:end]), data[begin:end])
    return a
