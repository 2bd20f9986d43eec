"""The memory of a device that a fit needs, known before it starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from cukernels.matmul import of_product
from cukernels.runtime import LOWER, device_memory
from estimators.shared.device_arrays import device_of

ANY_GPU = "cuda"
"""A GPU of which nothing is asked, so that the parts of sums that fill it are not counted."""

_PLACE = 8  # bytes of the number of a row
_VECTORS_OF_LBFGS = 28  # of parameters: its memory, and what an iteration makes
# Of L-BFGS on a GPU: twenty of its memory, where it is and was, two gradients, and the direction.
_VECTORS_OF_DEVICE = 25
_SCORES = 4  # scores, their gradients, and what a sum makes of them
_BY_CURVATURE = ("newton-cholesky", "liblinear", "sag", "saga")
BYTES_READ_AT_ONCE = 2**24
"""Of the blocks of a Hessian on a GPU; larger ones are read alone."""
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


def _amount(n_bytes: int) -> str:
    """Write a number of bytes, as 12.3 MB."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n_bytes >= unit:
            return f"{n_bytes / unit:.3g} {name}"
    return f"{n_bytes} bytes"


def logistic_memory(
    X: Any, n_outputs: int, solver: str, device: str, models: int = 1, *, of_hessian: int = 0
) -> MemoryEstimate:
    """Return what the fit of a logistic regression needs, or a stack of them on the same rows.

    `of_hessian` is how many columns of samples there are on a GPU while it makes a Hessian, or 0.

    Parameters are in double precision. On a GPU those of L-BFGS stay there with all its vectors;
    other solvers have theirs on the host, and bring one at a time.
    """
    itemsize, (n_rows, n_features) = X.dtype.itemsize, X.shape
    data = samples_bytes(X, itemsize) + n_rows * _PLACE
    n_parameters = models * n_outputs * (n_features + 1)
    if device == "cpu":
        parameters = 8 * _VECTORS_OF_LBFGS * n_parameters
        step = _SCORES * itemsize * n_rows * n_outputs * models
    else:
        if sp.issparse(X):  # and the other way round, for the gradient in the weights
            data += X.nnz * (itemsize + X.indices.itemsize) + n_features * X.indptr.itemsize
        parameters = 8 * n_parameters * (_VECTORS_OF_DEVICE if solver == "lbfgs" else 2)
        step = _logistic_step(X, n_outputs, device, models)
        if of_hessian and not sp.issparse(X):  # that of sparse rows is made on the host
            step = max(step, _hessian_step(X, n_outputs, device, of_hessian))
    if device == "cpu" and solver in _BY_CURVATURE:  # rows with ones, times weights, and again
        step += (3 + (n_outputs > 1)) * samples_bytes(X, itemsize)
    return MemoryEstimate(data, parameters, step, device)


def _logistic_step(X: Any, n_outputs: int, device: str, models: int) -> int:
    """Return the most bytes that a pass over X has at once on a GPU, beside the parameters.

    The product that makes scores has parts of its sums. Then there are scores and their gradients,
    and the product that makes the gradient in the weights, which has parts too.
    """
    itemsize, (n_rows, n_features) = X.dtype.itemsize, X.shape
    all_outputs = models * n_outputs
    scores, weights = itemsize * n_rows * all_outputs, itemsize * all_outputs * n_features
    if sp.issparse(X):
        return 2 * scores + weights
    forward = of_product(n_rows, all_outputs, n_features, 1, X.dtype, device)
    backward = of_product(n_features, all_outputs, n_rows, 1, X.dtype, device)
    return weights + max(scores + forward, 2 * scores + backward)


def _hessian_step(X: Any, n_outputs: int, device: str, n_columns: int) -> int:
    """Return the most bytes that a Hessian of dense samples has at once on a GPU.

    There are columns of samples, their shares and probabilities, and what makes the weights of a
    block; the blocks that are read at once; and the parts of the sums of one.
    """
    itemsize, (n_rows, n_features) = X.dtype.itemsize, X.shape
    side = n_features + 1
    blocks, block = n_outputs * (n_outputs + 1) // 2, side**2 * itemsize
    read = min(blocks, max(BYTES_READ_AT_ONCE // block, 1)) * block
    parts = of_product(side, side, n_rows, 1, X.dtype, device, a_k=False)
    return (n_columns + n_outputs + 4) * n_rows * itemsize + read + parts


def perceptron_memory(
    X: Any, n_problems: int, orders: int, has_l1: bool, device: str, models: int = 1,
    n_learned: int | None = None,
) -> MemoryEstimate:  # fmt: skip
    """Return what the fit of a perceptron needs, or a stack of them that share their orders.

    A model has a row of weights for each of its problems, and visits the samples in so many orders.
    """
    itemsize, (n_rows, n_features) = X.dtype.itemsize, X.shape
    learned = n_rows if n_learned is None else n_learned
    data = samples_bytes(X, itemsize) + _PLACE * (n_rows + learned * orders)
    parameters = 2 * (1 + has_l1) * itemsize * models * n_problems * n_features
    step = 0
    if device != "cpu" and not sp.issparse(X) and not has_l1:
        # products between samples that are near each other in an order
        step = min(orders * learned * _GROUP * itemsize, _MOST_OF_GROUPS)
    return MemoryEstimate(data, parameters, step, device)
