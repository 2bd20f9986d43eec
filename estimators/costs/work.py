"""What fits and predictions have to do, for the choice of `device="auto"`.

All is known from shapes and parameters. How many epochs or iterations a fit will take is not: so
few of them are assumed that copying the data weighs as much as it ever does.
"""

from __future__ import annotations

from math import ceil, prod
from typing import Any

import numpy as np
import scipy.sparse as sp

from cukernels.runtime import Work, threads
from estimators.costs.memory import MemoryEstimate, samples_bytes
from estimators.shared.base import float_dtype

_EPOCHS = 20  # or iterations of a solver, at most
_EVALUATIONS = 1.2  # of the objective, for each iteration
_COPIES_OF_EPOCH, _COPIES_OF_FIT = 6, 20
# Kernels of a step, which are rather too many than too few: of any step, of each layer in it, and
# more of one that normalises or has sparse samples.
_OF_STEP, _OF_LAYER, _MORE = 5, 2, 2
_OF_ITERATION, _OF_PASS = 60, 6  # of an iteration of L-BFGS, and of a pass of a linear model
_PARTS = 1.2  # times the memory that is estimated for any GPU: parts of sums, which fill one
_VALUES_AT_ONCE = 2**22  # of the widest layer, in a step of a prediction
# scikit-learn's compiled loop adds up one product after the other, in no less time than this.
_SECONDS_OF_VALUE = 5e-10


def learned_samples(X: Any, rows: np.ndarray | None) -> Any:
    """Return samples that cost what those in some rows of X do, if possible without a copy.

    A fit has the same work in a search, where it shares X with others, and alone.
    """
    if rows is None:
        return X
    return X[rows] if sp.issparse(X) else X[: len(rows)]


def kind_of(X: Any, dtype: Any) -> str:
    """Return the kind of work that products of these samples are."""
    return "sparse" if sp.issparse(X) else np.dtype(dtype).name


def _operations_of_row(network: Any, X: Any) -> float:
    """Return the operations of the products of a network for one sample, forward."""
    operations = float(network.operations)
    if sp.issparse(X):
        first = network.layers[0].operations(network.shapes[0])
        operations -= first * (1 - X.nnz / max(prod(X.shape), 1))
    return operations


def network_fit_work(
    network: Any, X: Any, dtype: np.dtype, memory: MemoryEstimate, batch_size: int, n_epochs: int
) -> Work:
    """Return the work of a fit of a network.

    Parameters
    ----------
    network : Network
        The network.
    X : ndarray or CSR matrix
        The samples that it learns from.
    dtype : dtype
        The type that it computes in.
    memory : MemoryEstimate
        What the fit needs.
    batch_size : int
        The rows of a step; 0 where all rows make one step.
    n_epochs : int
        The most epochs, or iterations.
    """
    epochs, n_layers, n_rows = min(n_epochs, _EPOCHS), len(network.layers), X.shape[0]
    n_normalised = sum(bool(layer.attribute) for layer in network.layers)
    launches = _OF_STEP + _OF_LAYER * n_layers + _MORE * (n_normalised + sp.issparse(X))
    if batch_size:
        rows, steps = min(batch_size, n_rows), float(epochs * ceil(n_rows / batch_size))
    else:
        rows, steps, launches = n_rows, _EVALUATIONS * epochs, launches + _OF_ITERATION
    return Work(
        kind=kind_of(X, dtype),
        steps=steps,
        is_replayed=bool(batch_size) and not sp.issparse(X),
        operations=3 * rows * _operations_of_row(network, X),
        products=3 * len(network.weighted),
        launches=launches,
        copies=_COPIES_OF_EPOCH * epochs + _COPIES_OF_FIT,
        bytes_up=memory.data + memory.parameters + 16 * n_rows * epochs,
        bytes_down=memory.parameters,
        memory=_PARTS * memory.total,
    )


def network_prediction_work(network: Any, X: Any, dtype: np.dtype) -> Work:
    """Return the work of a prediction by a fitted network of a dtype, for samples X."""
    itemsize, n_rows = dtype.itemsize, X.shape[0]
    widest = max(prod(shape) for shape in network.shapes)
    steps = max(1, ceil(n_rows * widest / _VALUES_AT_ONCE))
    rows = n_rows / steps
    return Work(
        kind=kind_of(X, dtype),
        steps=steps,
        operations=rows * _operations_of_row(network, X),
        products=len(network.weighted),
        launches=3 * len(network.layers) + 1,
        copies=steps + 1 + len(network.slots),
        bytes_up=samples_bytes(X, X.dtype.itemsize) + itemsize * network.size,
        bytes_down=itemsize * n_rows * network.shapes[-1][0],
        memory=itemsize * (2 * rows * (network.shapes[0][0] + widest) + network.size),
    )


def logistic_fit_work(
    X: Any, memory: MemoryEstimate, n_outputs: int, solver: str, max_iter: int
) -> Work:
    """Return the work of a fit of a logistic regression."""
    n_values = X.nnz if sp.issparse(X) else prod(X.shape)
    n_parameters = n_outputs * (X.shape[1] + 1)
    steps = _EVALUATIONS * min(max_iter, _EPOCHS)
    operations = 4.0 * n_values * n_outputs  # the scores, and their gradient
    if solver == "newton-cholesky":
        operations += 2.0 * n_values * X.shape[1] * n_outputs**2
    return Work(
        kind=kind_of(X, float_dtype(X)),
        steps=steps,
        operations=operations,
        products=2,
        launches=2 * _OF_PASS,
        copies=_COPIES_OF_EPOCH * steps + _COPIES_OF_FIT,
        bytes_up=memory.data + 8 * n_parameters * steps,
        bytes_down=8 * n_parameters * steps,
        memory=_PARTS * memory.total,
    )


def perceptron_fit_work(
    X: Any, memory: MemoryEstimate, n_problems: int, is_multinomial: bool, max_iter: int
) -> Work:
    """Return the work of a fit of a perceptron. A step is one sample, after the others."""
    epochs, n_rows = min(max_iter, _EPOCHS), max(X.shape[0], 1)
    of_row = (X.nnz if sp.issparse(X) else prod(X.shape)) / n_rows
    classes = n_problems if is_multinomial else 1  # problems have multiprocessors of their own
    cpu_seconds = None
    if not is_multinomial:
        values = epochs * n_rows * of_row * n_problems
        cpu_seconds = _SECONDS_OF_VALUE * values / min(threads(), n_problems)
    return Work(
        kind="online",
        steps=epochs * n_rows,
        operations=2 * of_row * classes,
        products=1,
        launches=4 * _OF_PASS / n_rows,
        copies=_COPIES_OF_EPOCH * epochs + _COPIES_OF_FIT,
        bytes_up=memory.data + memory.parameters + 8 * n_rows * n_problems * epochs,
        bytes_down=memory.parameters,
        memory=_PARTS * memory.total,
        cpu_seconds=cpu_seconds,
    )


def linear_prediction_work(X: Any, coef: np.ndarray) -> Work:
    """Return the work of the scores of a linear model for samples X."""
    n_values = X.nnz if sp.issparse(X) else prod(X.shape)
    dtype = np.result_type(float_dtype(X), coef.dtype)
    n_scores = X.shape[0] * len(coef)
    bytes_up = samples_bytes(X, dtype.itemsize) + dtype.itemsize * coef.size
    return Work(
        kind=kind_of(X, dtype),
        steps=1,
        operations=2.0 * n_values * len(coef),
        products=1,
        launches=_OF_PASS,
        copies=5,
        bytes_up=bytes_up,
        bytes_down=dtype.itemsize * n_scores,
        memory=bytes_up + 3 * dtype.itemsize * n_scores,
    )
