"""Validation of samples wherever they lie, in scikit-learn's words."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn import get_config
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, validate_data

from cukernels.runtime import Array, current, in_parallel, namespace, shares
from estimators.shared.device_arrays import device_holding, device_of

# Where a sparse matrix has numbers of rows and columns, as they stay if it becomes a CSR matrix.
_PLACES = {
    "csr": ("indices", "indptr"), "csc": ("indices", "indptr"), "bsr": ("indices", "indptr"),
    "coo": ("row", "col"),
}  # fmt: skip
_MANY = 2**22  # values: 32 MB of doubles
_MOST = np.iinfo(np.int32).max  # a place of 32 bits


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
        found = validate_data(estimator, X, *y, dtype=dtype, **options)
        return (_native(found[0]), *found[1:]) if y else _native(found)
    if X.ndim != 2 or not X.size or X.dtype.kind not in "biuf":
        seen = X.get() if X.ndim < 2 or X.dtype.kind not in "biuf" else stand_in(X.shape, X.dtype)
        return validate_data(estimator, seen, *y, dtype=dtype, **options)  # which refuses it
    with current(device):
        X = _converted(X, dtype)
        _check_finite(estimator, X)
    options |= {"dtype": None, "order": None, "ensure_all_finite": False}
    checked = validate_data(estimator, stand_in(X.shape, X.dtype), *y, **options)
    return (X, checked[1]) if y else X


def validated_shape(
    estimator: Any, X: Any, y: Any, *, dtype: Any, **options: Any
) -> tuple[Any, Any]:
    """Return X and y as a fit has them, or refuse them as it does, as far as shape and type tell.

    Numbers of X are neither looked at nor converted: what is returned for X has the shape, the
    dtype and, of a sparse matrix, the size of its arrays, and no memory for them. Lists, objects
    and text are validated as a whole, since whether they are numbers is in their values.

    The arguments are those of `validated`, for a y that may be None.
    """
    if y is None:
        options.pop("multi_output", None)
        return _validated_shape(estimator, X, dtype=dtype, **options), None
    found = _validated_shape(estimator, X, y, dtype=dtype, **options)
    check_classification_targets(found[1])
    return found


def _validated_shape(estimator: Any, X: Any, *y: Any, dtype: Any, **options: Any) -> Any:
    kept = dtype if isinstance(dtype, tuple) else (dtype,)
    device_holding(X, estimator.device)
    found = dtype_of(X)
    if found is None or found.kind not in "biuf" or X.ndim < 2:  # one axis is quoted to the user
        return validated(estimator, X, *y, dtype=dtype, **options)
    if found not in kept:
        found = np.dtype(kept[0])
    if hasattr(X, "columns"):  # names of features
        validate_data(estimator, X, skip_check_array=True)
    own: Any = _csr_stand_in(X, found) if sp.issparse(X) else stand_in(X.shape, found)
    options |= {"dtype": None, "order": None, "ensure_all_finite": False}
    checked = validate_data(estimator, own, *y, **options)
    if isinstance(X, sp.spmatrix) and X.dtype != found and max(own.nnz, *X.shape) <= _MOST:
        # where SciPy converts numbers, it narrows places
        own.indices, own.indptr = stand_in((own.nnz,), np.int32), own.indptr.astype(np.int32)
    return checked


def dtype_of(X: Any) -> np.dtype | None:
    """Return the dtype of what is an array, a sparse matrix or a frame of numbers, or None."""
    if sp.issparse(X) or device_of(X) is not None:
        return np.dtype(X.dtype)
    if isinstance(X, np.ndarray):
        return None if isinstance(X, np.matrix) else X.dtype
    dtypes = list(getattr(X, "dtypes", ())) if hasattr(X, "columns") and hasattr(X, "ndim") else []
    if dtypes and all(isinstance(own, np.dtype) and own.kind in "biuf" for own in dtypes):
        return np.result_type(*dtypes)
    return None


def _csr_stand_in(X: Any, dtype: Any) -> Any:
    """Return a CSR matrix as large as a sparse matrix will be, with memory for its rows alone."""
    arrays = [getattr(X, name) for name in _PLACES.get(X.format, ())]
    stored = X.nnz
    if X.format == "dia":  # its zeros are dropped
        stored = min(stored, int(np.count_nonzero(X.data)))
    is_wide = max(stored, *X.shape) > _MOST or any(a.dtype.itemsize > 4 for a in arrays)
    place = np.dtype(np.int64 if is_wide else np.int32)
    bounds = np.zeros(X.shape[0] + 1, place)
    bounds[-1] = stored
    own = sp.csr_matrix(X.shape, dtype=dtype)
    # given to the constructor, places of 64 bits would become narrower ones
    own.data, own.indices, own.indptr = (
        stand_in((stored,), dtype),
        stand_in((stored,), place),
        bounds,
    )
    return own


def _native(X: Any) -> Any:
    """Return X in the byte order of this machine, which columns of a frame may not have."""
    if isinstance(X, np.ndarray) and not X.dtype.isnative:
        return X.astype(X.dtype.newbyteorder("="))
    return X


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


def is_large(X: Any) -> bool:
    """Whether X is an array or a frame of so many floats that a copy of them is to be avoided."""
    if type(X) is np.ndarray and X.size < _MANY:  # at once, as one row is predicted in 50 us
        return False
    if sp.issparse(X) or device_of(X) is not None:
        return False
    if dtype_of(X) not in (np.float32, np.float64):
        return False
    return X.ndim == 2 and X.shape[0] * X.shape[1] >= _MANY


def fits_float32(X: np.ndarray) -> bool:
    """Whether no value of X is too large for single precision."""
    largest = np.finfo(np.float32).max
    parts = shares(len(X), max(1, _MANY // X.shape[1]))
    found = in_parallel(lambda _, rows: (X[rows].min(), X[rows].max()), parts)
    return all(-largest <= low and high <= largest for low, high in found)
