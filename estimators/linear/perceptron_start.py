"""The weights that a perceptron starts from."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from estimators.shared.rows import dense_rows_of


def given_weights(
    n_classes: int, X: Any, coef: Any, intercept: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return copies of the weights and intercepts that are given, in the dtype of X, or zeros.

    Parameters
    ----------
    n_classes : int
    X : ndarray or CSR matrix of shape (n_samples, n_features)
        The samples to learn from.
    coef : {array-like, sparse matrix} of shape (1 or n_classes, n_features), or None
    intercept : array-like of shape (1 or n_classes,), or None

    Raises
    ------
    ValueError
        If one of them has another shape.
    """
    n_rows = 1 if n_classes == 2 else n_classes
    w, b = np.zeros((n_rows, X.shape[1]), X.dtype), np.zeros(n_rows, X.dtype)
    for name, start, given in (("coef", w, coef), ("intercept", b, intercept)):
        if given is None:
            continue
        given = np.asarray(given.toarray() if sp.issparse(given) else given, X.dtype)
        if given.size != start.size or (n_rows > 1 and given.shape != start.shape):
            raise ValueError(
                f"Provided {name}_init does not match dataset: expected shape {start.shape}, "
                f"got {given.shape}."
            )
        start[...] = given.reshape(start.shape)
    return w, b


def learned_weights(estimator: Any, X: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return copies of what an estimator has learned, to go on from with samples X.

    A single intercept is in double precision, in which the fit has left it.

    Raises
    ------
    ValueError
        If X has another number of features.
    """
    coef, intercept = dense_rows_of(estimator.coef_), np.atleast_1d(estimator.intercept_)
    if coef.shape[1] != X.shape[1]:
        raise ValueError(
            f"Number of features {X.shape[1]} does not match previous data {coef.shape[1]}."
        )
    dtype = np.float64 if len(coef) == 1 else X.dtype
    return np.array(coef, X.dtype, order="C"), np.array(intercept, dtype)
