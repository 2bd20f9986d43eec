"""What all classifiers share: parameters, and input that is validated."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from cukernels.runtime import (
    in_parallel,
    shares,
)
from estimators.scikit_learn import BaseEstimator, check_sample_weight

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

    def _as_rows(self, X: Any, *, shape: tuple[int, ...] | None = None) -> Any:
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
