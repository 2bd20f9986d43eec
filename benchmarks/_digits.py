"""Handwritten digits for the benchmarks on a GPU, in MNIST's shapes."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
from scipy.ndimage import zoom
from sklearn.datasets import load_digits

from estimators.datasets import DATA_VARIABLE, load_mnist

ROWS = 60_000


class Digits(NamedTuple):
    """Samples from 0 to 1 as rows of pixels, float32, to train and to test; and what they are."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    name: str


def digits(folder: str | None = None, *, small: bool = False) -> Digits:
    """MNIST's four files from a folder, else scikit-learn's digits scaled up to its shapes.

    Parameters
    ----------
    folder : path, default=None
        Where the files are; None: the folder that CUKERNELS_DATA names.
    small : bool, default=False
        Whether a few digits of 8 x 8 pixels do, because nothing is measured.
    """
    folder = folder or os.environ.get(DATA_VARIABLE)
    if folder and not small:
        X, X_test, y, y_test = load_mnist(folder, scale=True, return_X_y=True)
        return Digits(X, y, X_test, y_test, "MNIST")
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    if small:
        return Digits(X[:64], y[:64], X[64:96], y[64:96], "64 digits of 8 x 8")
    X = np.clip(zoom(X.reshape(-1, 8, 8), (1, 3.5, 3.5), order=1), 0, 1).reshape(-1, 784)
    test, train = slice(0, 300), np.arange(ROWS) % (len(X) - 300) + 300
    return Digits(X[train], y[train], X[test], y[test], "digits scaled to 28 x 28, 40 times")
