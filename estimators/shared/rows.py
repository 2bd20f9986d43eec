"""Rows of samples where kernels take them: an array, or the three arrays of a CSR matrix."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from cukernels.runtime import Array, to_device
from estimators.shared.device_arrays import device_of


class SparseRows(NamedTuple):
    """The arrays of a CSR matrix. In a stack, the rows of each model follow the model before."""

    data: Array
    indices: Array
    indptr: Array


class SharedRows(NamedTuple):
    """Samples of a stack in which several models have the same ones.

    Attributes
    ----------
    x : array of shape (G, B, ...)
        The samples of each group of models.
    group : int32 array of shape (M,)
        The group of each model.
    """

    x: Array
    group: Array


def dense_rows_of(coef: Any) -> np.ndarray:
    """Return weights as an array of one row for each problem.

    `coef_` may be sparse, or have a single axis where the user has set it.
    """
    return np.atleast_2d(coef.toarray() if sp.issparse(coef) else coef)


def placed_samples(X: Any, dtype: Any, device: str) -> Array | SparseRows:
    """Return what `placed_rows` does, but bytes on the host as they are."""
    return X if device == "cpu" and X.dtype == np.uint8 else placed_rows(X, dtype, device)


def placed_rows(X: Any, dtype: Any, device: str) -> Array | SparseRows:
    """Return an array or a CSR matrix as an array or `SparseRows` of a dtype on a device.

    An array that lies there already is copied only if it has another dtype.
    """
    if sp.issparse(X):
        arrays = (X.data.astype(dtype, copy=False), X.indices, X.indptr)
        return SparseRows(*(to_device(array, device) for array in arrays))
    if device_of(X) is None:
        X = np.asarray(X, dtype, order=None if device == "cpu" else "C")
    return to_device(X, device).astype(dtype, copy=False)
