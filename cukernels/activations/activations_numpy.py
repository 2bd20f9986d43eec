"""Faster NumPy bodies of some activations."""

from __future__ import annotations

import numpy as np

from cukernels.activations.activations import rectify
from cukernels.runtime.arrays import special
from cukernels.runtime.workspace import empty


def logistic(x: np.ndarray) -> np.ndarray:
    return special(x).expit(x)


def relu(x: np.ndarray) -> np.ndarray:
    return rectify(x, out=empty(x.shape, x.dtype)) if x.ndim else np.maximum(x, 0)


def relu_backward(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    is_open = np.greater(y, 0, out=empty(y.shape, bool))
    return np.multiply(dy, is_open, out=empty(dy.shape, dy.dtype))
