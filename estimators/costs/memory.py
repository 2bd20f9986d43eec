"""The memory of a device that a fit needs, known before it starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from cukernels.runtime import LOWER, device_memory
from estimators.shared.base import float_dtype
from estimators.shared.device_arrays import device_of

ANY_GPU = "cuda"
"""A GPU of which nothing is asked, so that the parts of sums that fill it are not counted."""

_OF_OURS, _OF_THEIRS = 15, 5  # vectors of samples that the fit of a perceptron makes
_PLACE = 8  # bytes of the number of a row
_GROUP, _MOST_OF_GROUPS = 32, 2**28  # samples of a group of a sweep; bytes of all their products


@dataclass(frozen=True, repr=False)
class MemoryEstimate:
    """The bytes that a fit needs on its device.

    Attributes
    ----------
    data : int
        Samples, targets and weights. On the CPU those are in memory already.
    parameters : int
        Parameters, their gradients, and what the solver keeps beside them.
    step : int
        What is made in a step, and given back after it.
    device : str
        Where the fit runs.
    """

    data: int
    parameters: int
    step: int
    device: str

    @property
    def total(self) -> int:
        """All of them."""
        return self.data + self.parameters + self.step

    def __repr__(self) -> str:
        parts = ", ".join(
            f"{name} {amount(getattr(self, name))}" for name in ("data", "parameters", "step")
        )
        return f"{amount(self.total)} on {self.device}: {parts}"


def samples_bytes(X: Any, itemsize: int) -> int:
    """Return the bytes of samples on a device, as an array or as the arrays of a CSR matrix."""
    if sp.issparse(X):
        return int(X.nnz * (itemsize + X.indices.itemsize) + X.indptr.nbytes)
    return itemsize * int(np.prod(X.shape))


def present_bytes(X: Any, device: str, *, is_placed: bool = False) -> int:
    """Return how many bytes of samples a device has already.

    Parameters
    ----------
    X : array or CSR matrix
        The samples of a fit.
    device : str
        Where it runs.
    is_placed : bool, default=False
        Whether another fit has brought them there.
    """
    return samples_bytes(X, X.dtype.itemsize) if is_placed or device_of(X) == device else 0


def check_memory(
    estimate: MemoryEstimate,
    *,
    present: int = 0,
    batch_size: int = 0,
    of_batch: Callable[[int], MemoryEstimate] | None = None,
) -> None:
    """Raise MemoryError if a fit on a GPU needs more than is free, before it starts.

    Parameters
    ----------
    estimate : MemoryEstimate
        What it needs.
    present : int, default=0
        How many of these bytes are on the device already.
    batch_size : int, default=0
        The rows of a step, where it has a batch size.
    of_batch : callable, default=None
        Returns what it needs with another batch size. The message says with which it would do.
    """
    if estimate.device == "cpu":
        return
    free, total = device_memory(estimate.device)
    needed = estimate.total - present
    if needed <= free:
        return
    advice = ""
    if batch_size and of_batch:
        enough, too_many = 0, batch_size
        while too_many - enough > 1:
            rows = (enough + too_many) // 2
            if of_batch(rows).total - present <= free:
                enough = rows
            else:
                too_many = rows
        advice = f" batch_size={enough} would do." if enough else " No batch size is small enough."
    raise MemoryError(
        f"{estimate.device} is out of memory: {needed:,} bytes were asked for, and {free:,} of "
        f"{total:,} are free. Lower {LOWER}, or use device='cpu'.{advice}"
    )


def amount(n_bytes: int) -> str:
    """Write a number of bytes, as 12.3 MB."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n_bytes >= unit:
            return f"{n_bytes / unit:.3g} {name}"
    return f"{n_bytes} bytes"


def perceptron_memory(
    X: Any, n_problems: int, orders: int, has_l1: bool, device: str, models: int = 1,
    n_learned: int | None = None, held_out: float = 0.0, is_multinomial: bool = False,
) -> MemoryEstimate:  # fmt: skip
    """Return what the fit of a perceptron needs, or a stack of them that share their orders.

    A model has a row of weights for each of its problems, and visits the samples in so many orders.
    The fraction of them that is `held_out` is copied.
    """
    itemsize, (n_rows, n_features) = float_dtype(X).itemsize, X.shape
    learned = n_rows if n_learned is None else n_learned
    stored = X.dtype.itemsize if device == "cpu" else itemsize
    vectors = n_rows + learned * orders
    if device == "cpu":  # labels, weights and orders, on their way into our loop or scikit-learn's
        vectors = (_OF_OURS if is_multinomial else _OF_THEIRS) * learned
    data = samples_bytes(X, stored) + _PLACE * vectors
    data += int(held_out * samples_bytes(X, stored) * learned / max(n_rows, 1))
    parameters = 2 * (1 + has_l1) * itemsize * models * n_problems * n_features
    step = 0
    if device != "cpu" and not sp.issparse(X) and not has_l1:
        # products between samples that are near each other in an order
        step = min(orders * learned * _GROUP * itemsize, _MOST_OF_GROUPS)
    return MemoryEstimate(data, parameters, step, device)
