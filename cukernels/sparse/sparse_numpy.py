"""NumPy bodies of the products with sparse matrices, by SciPy's."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from cukernels.activations.activations import fused_activation
from cukernels.runtime.arrays import Array
from cukernels.sparse.sparse import check_csr, check_output


def _matrices(data: Array, indices: Array, indptr: Array, b: Array) -> list[sp.csr_array]:
    """The rows of each model as a CSR array of its own, which shares the values."""
    models = b.shape[0] if b.ndim == 3 else 1
    rows = (len(indptr) - 1) // models
    bounds = [indptr[m * rows : (m + 1) * rows + 1] for m in range(models)]
    return [
        sp.csr_array(
            (data[p[0] : p[-1]], indices[p[0] : p[-1]], p - p[0]), shape=(rows, b.shape[-2])
        )
        for p in bounds
    ]


def csr_matmul(
    data: Array,
    indices: Array,
    indptr: Array,
    b: Array,
    bias: Array | None = None,
    *,
    activation: str = "identity",
) -> Array:
    check_csr("csr_matmul", data, indices, indptr, b)
    matrices = _matrices(data, indices, indptr, b)
    if b.ndim == 2:
        y = matrices[0] @ b
    else:
        y = np.stack([a @ b_m for a, b_m in zip(matrices, b, strict=True)])
    if bias is not None:
        y += bias[..., None, :]
    return fused_activation(activation).forward(y)


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
    check_csr("csr_matmul_backward", data, indices, indptr, b)
    check_output(y, activation)
    dz = fused_activation(activation).backward(dy, y)
    matrices = _matrices(data, indices, indptr, b)
    if b.ndim == 2:
        db = matrices[0].T @ dz
    else:
        db = np.stack([a.T @ dz_m for a, dz_m in zip(matrices, dz, strict=True)])
    return db, None if bias is None else dz.sum(axis=-2)
