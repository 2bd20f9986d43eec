"""Validation of samples wherever they lie, in scikit-learn's words."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils.validation import assert_all_finite, validate_data

from cukernels.runtime import Array, current, namespace
from estimators.shared.device_arrays import device_holding


def validated(estimator: Any, X: Any, *y: Any, dtype: Any, **options: Any) -> Any:
    """Return what scikit-learn's `validate_data` returns, for samples on a GPU too.

    Those stay where they are: they are converted and searched for NaN there. All else that
    scikit-learn checks is in the shape, and it looks at a NumPy array of that shape, which has no
    memory of its own.

    Parameters
    ----------
    estimator : estimator
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples, as `received` returns them.
    *y : array-like
        Labels, if there are any.
    dtype, **options
        As `validate_data` takes them; `order` is "C" for samples on a GPU.

    Returns
    -------
    X, or X and y
    """
    device = device_holding(X, estimator.device)
    if device is None:
        return validate_data(estimator, X, *y, dtype=dtype, **options)
    if X.ndim != 2 or not X.size or X.dtype.kind not in "biuf":
        seen = X.get() if X.ndim < 2 or X.dtype.kind not in "biuf" else stand_in(X.shape, X.dtype)
        return validate_data(estimator, seen, *y, dtype=dtype, **options)  # which refuses it
    with current(device):
        X = _converted(X, dtype)
        _check_finite(estimator, X)
    options |= {"dtype": None, "order": None, "ensure_all_finite": False}
    checked = validate_data(estimator, stand_in(X.shape, X.dtype), *y, **options)
    return (X, checked[1]) if y else X


def stand_in(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array on the host of a shape and dtype, without memory for its values."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def _converted(X: Array, dtypes: Any) -> Array:
    """Return X in the first of some dtypes, or as it is if it has one of them; C-contiguous."""
    allowed = dtypes if isinstance(dtypes, tuple) else (dtypes,)
    dtype = X.dtype if X.dtype in allowed else np.dtype(allowed[0])
    return namespace(X).ascontiguousarray(X, dtype)


def _check_finite(estimator: Any, X: Array) -> None:
    """Raise scikit-learn's ValueError if X holds NaN or infinity.

    As in scikit-learn, the sum tells first whether there is anything to look for: it is one pass,
    and the host reads a single number.
    """
    if get_config()["assume_finite"] or np.isfinite(float(X.sum())):
        return
    xp = namespace(X)
    for wrong, found in ((np.nan, xp.isnan), (np.inf, xp.isinf)):
        if bool(found(X).any()):
            name = type(estimator).__name__
            assert_all_finite(np.array([wrong], X.dtype), estimator_name=name, input_name="X")
