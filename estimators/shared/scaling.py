"""What is said to users whose features are too large for the arithmetic of a fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from cukernels.runtime import Array, current
from estimators.shared.device_arrays import device_of
from estimators.shared.warnings import warn

ADVICE = "Scaling input data with StandardScaler or MinMaxScaler might help."
OVERFLOWED = "Floating-point under-/overflow occurred at {} #{}. " + ADVICE
"""What scikit-learn's saga says of an epoch."""

# First weights are made for features of about 1: the scores of an untrained network are about as
# large as its largest feature, and so is the loss. A feature of 10,000 makes a gradient with which
# "sgd" overflows float32 within a few steps or forgets all but one class, and "adam", whose steps
# have a fixed length, needs thousands of them to get back. Digits from 0 to 1 that are multiplied
# by 10,000 are learned to 99 % by "adam", 93 % with "tanh" and 10 % by "sgd"; multiplied by 255
# to 99.9 %, 99 % and 96 %. So the line is between the two, above what people measure in small
# units: pixels of bytes, ages, years, and the tables that come with scikit-learn (up to 4,300 in
# the one of breast cancer). Incomes in a currency are beyond it, and rightly so: of a rule by age
# and income nothing is learned.
LARGE = 2.0**13

_LOOKED_AT = 2**20  # values; a feature that is not scaled shows in any part of the samples


def warn_of_large(estimator: Any, largest: float) -> None:
    """Warn, once in a fit and once in a search, if samples hold numbers that want to be scaled.

    Parameters
    ----------
    estimator : estimator
        What learns from them.
    largest : float
        What `largest_of` has found.
    """
    if largest >= LARGE:
        warn(
            f"X has values up to {largest:.1e}, with which {type(estimator).__name__} learns "
            f"slowly, or not at all, or overflows. {ADVICE}",
            once=True,
        )


def largest_of(X: Any) -> float:
    """Return the largest absolute value of samples, or of a part of them that tells.

    Bytes are known to have none above 255.

    Parameters
    ----------
    X : array or sparse matrix of shape (n_samples, n_features)
        Validated samples, on the host or on a GPU.
    """
    if X.dtype.itemsize == 1:
        return float(np.iinfo(np.uint8).max)
    if device_of(X) is not None:
        with current(str(device_of(X))):
            return _largest(X)
    values = X.data if sp.issparse(X) else X
    return _largest(values[:: max(1, values.size // _LOOKED_AT)])


def _largest(values: Array) -> float:
    return max(float(values.max()), -float(values.min())) if values.size else 0.0
