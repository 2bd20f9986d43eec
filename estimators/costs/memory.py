"""The memory of a device that a fit needs, known before it starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from cukernels.runtime import LOWER, device_memory
from estimators.layers.layer import Elementwise
from estimators.shared.device_arrays import device_of

_PLACE = 8  # bytes of the number of a row
_VECTORS_OF_LBFGS = 28  # of parameters: its memory, and what an iteration makes
_VECTORS_OF_DEVICE = 3  # parameters and their gradient, and one of them again, transposed
_SCORES = 4  # scores, their gradients, and what a sum makes of them
_BY_CURVATURE = ("newton-cholesky", "liblinear", "sag", "saga")
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
            f"{name} {_amount(getattr(self, name))}" for name in ("data", "parameters", "step")
        )
        return f"{_amount(self.total)} on {self.device}: {parts}"


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


def check_memory(estimate: MemoryEstimate, *, present: int = 0, batch_size: int = 0) -> None:
    """Raise MemoryError if a fit on a GPU needs more than is free, before it starts.

    Parameters
    ----------
    estimate : MemoryEstimate
        What it needs.
    present : int, default=0
        How many of these bytes are on the device already.
    batch_size : int, default=0
        The rows of a step, where it has a batch size. The message says with how many it would do.
    """
    if estimate.device == "cpu":
        return
    free, total = device_memory(estimate.device)
    needed = estimate.total - present
    if needed <= free:
        return
    advice = ""
    if batch_size:
        left = free - replace(estimate, step=0).total + present
        rows = left * batch_size // max(estimate.step, 1)
        advice = f" batch_size={rows} would do." if rows > 0 else " No batch size is small enough."
    raise MemoryError(
        f"{estimate.device} is out of memory: {needed:,} bytes were asked for, and {free:,} of "
        f"{total:,} are free. Lower {LOWER}, or use device='cpu'.{advice}"
    )


def _amount(n_bytes: int) -> str:
    """Write a number of bytes, as 12.3 MB."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n_bytes >= unit:
            return f"{n_bytes / unit:.3g} {name}"
    return f"{n_bytes} bytes"


# Networks ----------------------------------------------------------------------------------------


def network_memory(
    network: Any, X: Any, n_rows: int, batch_size: int, n_copies: int, dtype: Any, device: str
) -> MemoryEstimate:
    """Return what the fit of one network needs.

    Parameters
    ----------
    network : Network
        The network.
    X : ndarray or CSR matrix of shape (n_samples, n_features)
        Samples.
    n_rows : int
        How many of them it learns from.
    batch_size : int
        The rows of a step; 0 where all rows make one step.
    n_copies : int
        How many vectors of the size of its parameters there are.
    dtype : dtype
        The type of parameters and of what is computed.
    device : str
        Where it runs.
    """
    itemsize = np.dtype(dtype).itemsize
    data = samples_bytes(X, X.dtype.itemsize)
    data += X.shape[0] * max(_PLACE, itemsize * network.shapes[-1][0])
    data += 2 * _PLACE * n_rows  # the rows of an epoch in their order, and their labels
    if sp.issparse(X):  # an epoch gathers the stored values of its rows, and where they are
        data += X.nnz * (itemsize + X.indices.itemsize + _PLACE)
    rows = min(batch_size, n_rows) if batch_size else n_rows
    step = itemsize * rows * values_of_row(network, dense=not sp.issparse(X))
    return MemoryEstimate(data, itemsize * n_copies * network.size, step, device)


def values_of_row(network: Any, *, dense: bool = True) -> int:
    """Return how many values a step of training holds at once for each row of its batch.

    On the way forward, all outputs are kept that the way back reads. On the way back there are, in
    each layer, the gradient of its output, that before its activation, and that of its input.
    """
    sizes = [int(np.prod(shape)) for shape in network.shapes]
    kept, most = sizes[0] if dense else 0, 0
    layers = network.layers
    for i, (layer, of_input, of_output) in enumerate(
        zip(layers, sizes[:-1], sizes[1:], strict=True)
    ):
        has_activation = layer.nonlinearity != "identity"
        # the way back reads what went into a normalisation, and what came out of an activation
        elementwise = [isinstance(one, Elementwise) for one in layers[i : i + 2]]
        is_read = has_activation or not all(elementwise) or i + 1 == len(layers)
        kept += of_output * is_read
        gradients = of_output * (1 + (has_activation and not elementwise[0]))
        most = max(most, gradients + (of_input if i else 0))
    return kept + most


# Linear models -----------------------------------------------------------------------------------


def logistic_memory(X: Any, n_outputs: int, solver: str, device: str) -> MemoryEstimate:
    """Return what the fit of a logistic regression needs.

    On a GPU the solver's vectors stay on the host. On the CPU they are in double precision.
    """
    itemsize, (n_rows, n_features) = X.dtype.itemsize, X.shape
    data = samples_bytes(X, itemsize) + n_rows * _PLACE
    n_parameters = n_outputs * (n_features + 1)
    if device == "cpu":
        parameters = 8 * _VECTORS_OF_LBFGS * n_parameters
    else:
        parameters = _VECTORS_OF_DEVICE * itemsize * n_parameters
    step = _SCORES * itemsize * n_rows * n_outputs
    if sp.issparse(X) and device != "cpu":  # entries that are sorted by their columns, twice
        step = step // 2 + 2 * X.nnz * (itemsize + 2 * X.indices.itemsize)
    if solver in _BY_CURVATURE:  # the rows with a column of ones, times their weights, and again
        step += (3 + (n_outputs > 1)) * samples_bytes(X, itemsize)
    return MemoryEstimate(data, parameters, step, device)


def perceptron_memory(
    X: Any, n_problems: int, orders: int, has_l1: bool, device: str
) -> MemoryEstimate:
    """Return what the fit of a perceptron needs.

    It has a row of weights for each of its problems, and visits the samples in so many orders.
    """
    itemsize, (n_rows, n_features) = X.dtype.itemsize, X.shape
    data = samples_bytes(X, itemsize) + _PLACE * n_rows * (1 + orders)
    parameters = 2 * (1 + has_l1) * itemsize * n_problems * n_features
    step = 0
    if device != "cpu" and not sp.issparse(X) and not has_l1:
        # products between samples that are near each other in an order
        step = min(orders * n_rows * _GROUP * itemsize, _MOST_OF_GROUPS)
    return MemoryEstimate(data, parameters, step, device)
