"""Rows of samples where kernels take them: an array, or the three arrays of a CSR matrix."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from cukernels.runtime import (
    Array,
    to_device,
)


class SparseRows(NamedTuple):
    """Rows of a CSR matrix, those of each model of the stack after those of the one before."""

    data: Array
    indices: Array
    indptr: Array


def dense_rows_of(coef: Any) -> np.ndarray:
    """Weights as an array with a row a problem, however a fit or a hand has set them."""
    return np.atleast_2d(coef.toarray() if sp.issparse(coef) else coef)


def placed_rows(X: Any, dtype: Any, device: str) -> Array | SparseRows:
    """Bring an array or a CSR matrix to a device, in a dtype."""
    if sp.issparse(X):
        parts = (X.data.astype(dtype, copy=False), X.indices, X.indptr)
        return SparseRows(*(to_device(part, device) for part in parts))
    return to_device(np.asarray(X, dtype), device)
