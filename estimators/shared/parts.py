"""Results for samples of the host, from as many of them at once as a GPU has room for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cukernels.runtime import Array, current, to_device, to_host


def in_parts(of: Callable[[Any], Array], X: Any, device: str, axis: int = 0) -> np.ndarray:
    """Return on the host what a function makes of samples on a device.

    It is asked about all of them, and where the device runs out of memory about half as many at a
    time, until it has room. What it makes of a sample must not depend on the others.

    Parameters
    ----------
    of : callable
        Takes some of the samples.
    X : array or CSR matrix of shape (n_samples, ...)
        Samples, wherever they are.
    device : str
        The device.
    axis : int, default=0
        The axis of the samples in what the function returns.

    Raises
    ------
    MemoryError
        If there is no room for one sample.
    """
    n_samples = X.shape[0]
    found: list[np.ndarray] = []
    begin, at_once = 0, n_samples
    while begin < n_samples or not found:
        try:
            with current(device):
                part = X if at_once >= n_samples else X[begin : begin + at_once]
                found.append(to_host(of(part)))
        except MemoryError:
            if device == "cpu" or at_once <= 1:
                raise
            at_once = -(-at_once // 2)
        else:
            begin += at_once
    return found[0] if len(found) == 1 else np.concatenate(found, axis=axis)


def brought(X: Array, device: str) -> Array:
    """Return samples on a device, or as they are if it has no room for them."""
    try:
        with current(device):
            return to_device(X, device)
    except MemoryError:
        return X
