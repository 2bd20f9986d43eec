"""What the estimators share: validated input, device placement and the linear decision function."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from cukernels._array import Array, current, resolve_device, to_device, to_host
from cukernels.matmul import matmul
from cukernels.sparse import csr_matmul
from estimators._layers import SparseRows

FLOATS = (np.float64, np.float32)  # what validate_data keeps; anything else becomes the first


class Classifier(ClassifierMixin, BaseEstimator):
    """A classifier with a `device` parameter whose fitted attributes are NumPy arrays."""

    device: str

    def _checked_X(self, X: Any) -> Any:
        """Validate X at prediction time: a float array or CSR matrix with the columns of fit."""
        check_is_fitted(self)
        return validate_data(self, X, accept_sparse="csr", dtype=FLOATS, reset=False)


class LinearClassifier(Classifier):
    """Predictions of a fitted `coef_` of shape (1 or K, D) and `intercept_` of shape (1 or K,)."""

    coef_: Any  # ndarray, or a CSR matrix after `sparsify`
    intercept_: np.ndarray
    classes_: np.ndarray

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the signed distance of each sample to the hyperplane, times the norm of `coef_`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            One score a class; with two classes one score, above 0 for `classes_[1]`.
        """
        X = self._checked_X(X)
        coef = self.coef_.toarray() if sp.issparse(self.coef_) else self.coef_
        scores = linear_scores(X, coef, self.intercept_, self.device)
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of highest score for each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels out of `classes_`.
        """
        scores = self.decision_function(X)
        winners = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[winners]

    def densify(self) -> LinearClassifier:
        """Store `coef_` as an array, which is how `fit` leaves it, and return self."""
        check_is_fitted(self)
        if sp.issparse(self.coef_):
            self.coef_ = self.coef_.toarray()
        return self

    def sparsify(self) -> LinearClassifier:
        """Store `coef_` as a CSR matrix, small where an L1 penalty left zeros, and return self.

        Call `densify` before fitting on from it (`partial_fit`, `warm_start`).
        """
        check_is_fitted(self)
        self.coef_ = sp.csr_matrix(self.coef_)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def check_weights(sample_weight: Any, X: Any, dtype: Any = None) -> np.ndarray:
    """Validate sample weights; ones where there are none.

    Raises
    ------
    ValueError
        If they are not one a sample, or all 0 (which releases before 1.9 let pass).
    """
    weights = _check_sample_weight(sample_weight, X, dtype=dtype)
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights


def linear_scores(X: Any, coef: np.ndarray, intercept: Any, device: str) -> np.ndarray:
    """Return ``X @ coef.T + intercept`` of shape (n_samples, 1 or K), computed on a device.

    The result has the wider of the two dtypes; `intercept` may be 0.0, as `fit_intercept=False`
    leaves it.
    """
    device = resolve_device(device)
    dtype = np.result_type(X.dtype, coef.dtype)
    coef = np.ascontiguousarray(coef, dtype)
    bias = np.broadcast_to(np.asarray(intercept, dtype), coef.shape[:1]).copy()
    with current(device):
        x = placed_rows(X, dtype, device)
        return to_host(scores_of(x, to_device(coef, device), to_device(bias, device)))


def placed_rows(X: Any, dtype: Any, device: str) -> Array | SparseRows:
    """Bring an array or a CSR matrix to a device, in a dtype."""
    if sp.issparse(X):
        parts = (X.data.astype(dtype, copy=False), X.indices, X.indptr)
        return SparseRows(*(to_device(part, device) for part in parts))
    return to_device(np.asarray(X, dtype), device)


def scores_of(x: Array | SparseRows, coef: Array, bias: Array) -> Array:
    """Return ``x @ coef.T + bias``, where `x` is."""
    if isinstance(x, SparseRows):
        return csr_matmul(*x, coef.T.copy()) + bias
    return matmul(x, coef, bias, transpose_b=True)
