"""The base class of all classifiers, and the validation of their input."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score

from cukernels.runtime import in_parallel, shares
from estimators.scikit_learn import BaseEstimator, check_sample_weight
from estimators.shared.device_arrays import on_host

_LARGEST = int(np.finfo(float).max)
_SUMMED = 2**20  # values of X that make a thread worth its start
# The dtypes that validate_data keeps. It converts every other dtype to the first of them.
FLOATS = (np.float64, np.float32)
# The names of the parameters of each class, which scikit-learn reads from its signature every time.
_NAMES: WeakKeyDictionary[type, tuple[str, ...]] = WeakKeyDictionary()


class Classifier(ClassifierMixin, BaseEstimator):
    """A classifier with a `device` parameter whose fitted attributes are NumPy arrays."""

    device: str

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by their names.

        A search asks for them some eight times for each fit.

        Parameters
        ----------
        deep : bool, default=True
            Whether to return the parameters of parameters that are estimators too.

        Returns
        -------
        params : dict
            The parameters, and their values.
        """
        names = _NAMES.get(type(self))
        if names is None:
            names = _NAMES[type(self)] = tuple(super().get_params(deep=False))
        values = {name: getattr(self, name) for name in names}
        if deep and any(hasattr(value, "get_params") for value in values.values()):
            return super().get_params(deep)
        return values

    def _validate_params(self) -> None:
        super()._validate_params()
        for name, value in self.get_params(deep=False).items():
            # it would pass as a number, and fail as an OverflowError amid the arithmetic
            if isinstance(value, int) and abs(value) > _LARGEST:
                raise ValueError(
                    f"The {name!r} parameter of {type(self).__name__} must be a number that a "
                    f"float can hold, up to 1.8e308. Got an integer of "
                    f"{value.bit_length()} bits instead."
                )

    def _as_rows(self, X: Any, *, shape: tuple[int, ...] | None = None) -> Any:
        """Return X as 2-D input for validation; classifiers of images flatten them here.

        `shape` is the shape of the samples that the fitted model takes. It is None during a fit,
        where X determines the shape.
        """
        return X

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the fraction of the samples whose class is predicted right.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their labels. If samples have several labels each, all of them have to be right.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        accuracy : float
        """
        predicted, y = on_host(self.predict(X)), on_host(y)
        if sample_weight is None and _are_plain_labels(y, predicted):
            return float(np.mean(y == predicted))
        return accuracy_score(y, predicted, sample_weight=on_host(sample_weight))


def _are_plain_labels(y: Any, predicted: np.ndarray) -> bool:
    """Whether `accuracy_score` would only compare two arrays, which takes a tenth of its time.

    Labels are plain if they are integers of a range of at most half as many as there are samples:
    where there may be more classes than that, scikit-learn warns.
    """
    return (
        type(y) is np.ndarray
        and y.ndim == 1
        and y.shape == predicted.shape
        and y.size > 0
        and y.dtype.kind in "iu"
        and predicted.dtype == y.dtype
        and all(int(a.max()) - int(a.min()) < len(a) // 2 for a in (y, predicted))
    )


def is_plainly_valid(estimator: Any, X: Any, dtypes: Any) -> bool:
    """Return whether `validate_data` would return X unchanged, in a tenth of the time.

    Validating a single row takes longer than predicting its class. Where this returns False,
    `validate_data` is to be called, which converts X or refuses it in scikit-learn's words.
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
        row_slices = shares(len(X), -(-_SUMMED // X.shape[1]))
        sums = in_parallel(lambda _, rows: X[rows].sum(), row_slices)
        return bool(np.isfinite(sum(sums)))


def float_dtype(X: Any) -> np.dtype:
    """Return float32 where X holds nothing but float32, and float64 for everything else."""
    if type(X) is np.ndarray:
        return np.dtype(np.float32 if X.dtype == np.float32 else np.float64)
    columns = [X.dtype] if hasattr(X, "dtype") else list(getattr(X, "dtypes", []))
    # a frame has a dtype for each column, and may have types that NumPy does not know
    single = bool(columns) and all(str(dtype).lower() == "float32" for dtype in columns)
    return np.dtype(np.float32 if single else np.float64)


def check_weights(sample_weight: Any, X: Any, dtype: Any = None) -> np.ndarray:
    """Return validated sample weights; all are 1 where `sample_weight` is None.

    Raises
    ------
    ValueError
        If there is not one weight for each sample, or if all are 0. (scikit-learn itself refuses
        the latter from release 1.9 on.)
    """
    weights = check_sample_weight(sample_weight, X, dtype=dtype)
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights
