"""What the estimators share: validated input, device placement and the linear decision function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from cukernels import csr_matmul, matmul
from cukernels.runtime import (
    Array,
    current,
    in_parallel,
    is_undivided,
    on_one_blas_thread,
    resolve_device,
    shares,
    to_device,
    to_host,
)
from estimators.layers.layer import Shape, SparseRows
from estimators.scikit_learn import BaseEstimator, check_sample_weight

_SCORES_AT_ONCE = 2**25
_LARGEST = int(np.finfo(float).max)
_SUMMED = 2**20  # values of X that are worth a thread
FLOATS = (np.float64, np.float32)  # what validate_data keeps; anything else becomes the first


class Classifier(ClassifierMixin, BaseEstimator):
    """A classifier with a `device` parameter whose fitted attributes are NumPy arrays."""

    device: str

    def _validate_params(self) -> None:
        super()._validate_params()
        for name, value in self.get_params(deep=False).items():
            if isinstance(value, int) and abs(value) > _LARGEST:
                raise ValueError(
                    f"The {name!r} parameter of {type(self).__name__} must be a number that a "
                    f"float can hold, up to 1.8e308. Got an integer of "
                    f"{value.bit_length()} bits instead."
                )

    def _as_rows(self, X: Any, *, shape: Shape | None = None) -> Any:
        """Give X as 2-D input for validation.

        `shape` is that of the samples that the model takes, None where this X is to tell it.
        """
        return X

    def _checked_X(self, X: Any) -> Any:
        """Validate X at prediction time: a float array or CSR matrix with the columns of fit."""
        check_is_fitted(self)
        if is_plainly_valid(self, X, FLOATS):
            return X
        with np.errstate(over="ignore", invalid="ignore"):  # in the sum that it looks for NaN by
            return validate_data(self, X, accept_sparse="csr", dtype=FLOATS, reset=False)


class LinearClassifier(Classifier):
    """Predictions of a `coef_` of shape (1 or K, D) and an `intercept_` of shape (1 or K,).

    A fit sets them, or a user does, with `classes_`, as with scikit-learn's linear models.
    """

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
        foreseen = getattr(self, "_foreseen", None)
        if foreseen is not None and foreseen[0] is X:
            scores = foreseen[1]
            return scores[:, 0].copy() if scores.shape[1] == 1 else scores.copy()
        X, coef = self._checked_X(X), dense_rows_of(self.coef_)
        if X.shape[1] != coef.shape[1]:  # where `coef_` was set by hand, nobody has compared them
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting "
                f"{coef.shape[1]} features as input."
            )
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
        return np.asarray(self.classes_)[winners]

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


def is_plainly_valid(estimator: Any, X: Any, dtypes: Any) -> bool:
    """Whether `validate_data` would give back X as it is, told in a tenth of its time.

    To validate a single row takes longer than to predict its class. What is not plainly right here
    is for `validate_data` to convert, or to refuse in scikit-learn's words.
    """
    if (
        type(X) is not np.ndarray
        or X.ndim != 2
        or len(X) == 0
        or X.shape[1] != getattr(estimator, "n_features_in_", None)
        or X.dtype not in (dtypes if isinstance(dtypes, tuple) else (dtypes,))
        or not X.flags.c_contiguous
        or hasattr(estimator, "feature_names_in_")
    ):
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        if X.size <= _SUMMED:
            return bool(np.isfinite(X.sum()))
        some = shares(len(X), -(-_SUMMED // X.shape[1]))
        parts = in_parallel(lambda _, rows: X[rows].sum(), some)
        return bool(np.isfinite(sum(parts)))


def float_dtype(X: Any) -> np.dtype:
    """The precision in which the values of X are given: float32, or float64 for all others."""
    if type(X) is np.ndarray:
        return np.dtype(np.float32 if X.dtype == np.float32 else np.float64)
    columns = [X.dtype] if hasattr(X, "dtype") else list(getattr(X, "dtypes", []))
    # frames have a dtype a column, and types of their own, which NumPy does not know
    single = bool(columns) and all(str(dtype).lower() == "float32" for dtype in columns)
    return np.dtype(np.float32 if single else np.float64)


def check_weights(sample_weight: Any, X: Any, dtype: Any = None) -> np.ndarray:
    """Validate sample weights; ones where there are none.

    Raises
    ------
    ValueError
        If they are not one a sample, or all 0 (which releases before 1.9 let pass).
    """
    weights = check_sample_weight(sample_weight, X, dtype=dtype)
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights


def dense_rows_of(coef: Any) -> np.ndarray:
    """Weights as an array with a row a problem, however a fit or a hand has set them."""
    return np.atleast_2d(coef.toarray() if sp.issparse(coef) else coef)


def linear_scores(X: Any, coef: np.ndarray, intercept: Any, device: str) -> np.ndarray:
    """Return ``X @ coef.T + intercept`` of shape (n_samples, 1 or K), computed on a device.

    The result has the wider of the two dtypes; `intercept` may be 0.0, as `fit_intercept=False`
    leaves it.
    """
    # bits are the same on any number of cores either way
    few = is_undivided(X.shape[0] * coef.size)
    return (_linear_scores if few else _linear_scores_alone)(X, coef, intercept, device)


def _linear_scores(X: Any, coef: np.ndarray, intercept: Any, device: str) -> np.ndarray:
    device = resolve_device(device)
    dtype = np.result_type(X.dtype, coef.dtype)
    coef = np.ascontiguousarray(coef, dtype)
    bias = np.broadcast_to(np.asarray(intercept, dtype), coef.shape[:1]).copy()
    with current(device), np.errstate(over="ignore", invalid="ignore"):  # of very large X
        x = placed_rows(X, dtype, device)
        return to_host(scores_of(x, to_device(coef, device), to_device(bias, device)))


_linear_scores_alone = on_one_blas_thread(_linear_scores)


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


@on_one_blas_thread
def foresee_scores(trainings: Sequence[Any], X: Any) -> None:
    """Let linear models that were trained together know their scores for X; see `fit_protocol`.

    `learned` of each training is its `coef_` and its `intercept_`.
    """
    model = trainings[0].estimator
    rows = validate_data(model, X, accept_sparse="csr", dtype=FLOATS, reset=False)
    device = resolve_device(model.device)
    if sp.issparse(rows):
        return  # its scores are sums over few columns, a model at a time
    learned = [t.learned for t in trainings]
    at_once = max(1, _SCORES_AT_ONCE // max(1, len(rows) * len(learned[0][1])))
    with current(device):
        dtype = np.result_type(rows.dtype, learned[0][0].dtype)
        x = to_device(np.asarray(rows, dtype), device)[None]
        for i in range(0, len(trainings), at_once):
            coef, intercept = (
                to_device(np.stack(parts).astype(dtype), device)
                for parts in zip(*learned[i : i + at_once], strict=True)
            )
            with np.errstate(over="ignore", invalid="ignore"):  # of models that diverged
                scores = to_host(matmul(x, coef, intercept, transpose_b=True))
            for training, own in zip(trainings[i : i + at_once], scores, strict=True):
                training.estimator._foreseen = (X, own)
