"""The decision function of linear models, on any device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from cukernels import csr_matmul, linear_weights, matmul
from cukernels.gpu import chosen_device
from cukernels.runtime import (
    Array,
    current,
    is_undivided,
    namespace,
    on_one_blas_thread,
    to_device,
    to_host,
)
from estimators.costs.work import linear_prediction_work
from estimators.linear.row_blocks import by_columns, in_blocks
from estimators.shared.base import float_dtype
from estimators.shared.device_arrays import device_holding
from estimators.shared.parts import brought, in_parts
from estimators.shared.rows import SparseRows, placed_rows

_SCORES_AT_ONCE = 2**25


def linear_scores(X: Any, coef: np.ndarray, intercept: Any, device: str) -> Array:
    """Return ``X @ coef.T + intercept`` of shape (n_samples, 1 or K), computed on a device.

    Scores of samples on a GPU stay there, and all others come to the host.

    The result has the wider of the two dtypes; `intercept` may be 0.0, as `fit_intercept=False`
    leaves it.
    """
    scores = _linear_scores
    if not is_undivided(X.shape[0] * coef.size):  # else the bits depend on the number of cores
        scores = on_one_blas_thread(scores)
    return scores(X, coef, intercept, device)


def _linear_scores(X: Any, coef: np.ndarray, intercept: Any, device: str) -> Array:
    holding = device_holding(X, device)
    device = holding or chosen_device(device, lambda: linear_prediction_work(X, coef))
    dtype = np.result_type(float_dtype(X), coef.dtype)
    coef = np.ascontiguousarray(coef, dtype)
    bias = np.broadcast_to(np.asarray(intercept, dtype), coef.shape[:1]).copy()
    with current(device), np.errstate(over="ignore", invalid="ignore"):  # X may be very large
        own_coef, own_bias = to_device(coef, device), to_device(bias, device)

        def of(rows: Any) -> Array:
            return scores_of(placed_rows(rows, dtype, device), own_coef, own_bias)

        if device == "cpu":
            return in_blocks(of, X, (X.shape[0], len(coef)), dtype)
        return of(X) if holding else in_parts(of, X, device)


def scores_of(x: Array | SparseRows, coef: Array, bias: Array) -> Array:
    """Return ``x @ coef.T + bias`` on the device of `x`."""
    if isinstance(x, SparseRows):
        return csr_matmul(*x, coef.T.copy()) + bias
    if by_columns(x):
        scores = matmul(coef, x, transpose_b=True)
        scores += bias[:, None]
        return scores.T
    return matmul(x, coef, bias, transpose_b=True)


def host_scores(x: np.ndarray | SparseRows, coef: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return what `scores_of` does, of samples on the host that may be bytes."""
    if isinstance(x, SparseRows):
        return scores_of(x, coef, bias)
    shape = (len(x), len(coef))
    return in_blocks(lambda rows: scores_of(rows, coef, bias), x, shape, coef.dtype)


def device_scores(x: Array | SparseRows, w: Array) -> Iterator[np.ndarray]:
    """Yield ``x @ w[m].T`` for each model on a GPU, which is read once for dense samples."""
    if not isinstance(x, SparseRows):
        yield from to_host(matmul(x[None], w, transpose_b=True))
        return
    n_models, k, d = w.shape
    for m in range(n_models):  # one by one, as the sums of a sparse product depend on its width
        coef = namespace(w).empty((d, 1, k), w.dtype)
        linear_weights(w[m].reshape(1, k * d), coef, transpose=True)
        yield to_host(csr_matmul(x.data, x.indices, x.indptr, coef.reshape(d, k)))


@on_one_blas_thread
def scores_together(fits: Sequence[Any], X: Any) -> list[np.ndarray]:
    """Compute the scores for X of linear models that were trained together.

    `learned` of each fit is its `coef_` and its `intercept_`. The list is empty for sparse samples:
    their scores are sums over few columns, and models are as fast one by one.
    """
    model = fits[0].estimator
    rows = model._checked_X(X)
    if sp.issparse(rows):
        return []
    learned = [fit.learned for fit in fits]
    # as for one model alone, which must give the same
    device = chosen_device(model.device, lambda: linear_prediction_work(rows, learned[0][0]))
    outputs: list[np.ndarray] = []
    at_once = max(1, _SCORES_AT_ONCE // max(1, len(rows) * len(learned[0][1])))
    with current(device):
        dtype = np.result_type(float_dtype(rows), learned[0][0].dtype)
        x = rows
        if device != "cpu":
            x = brought(namespace(rows).ascontiguousarray(rows, dtype), device)
        for i in range(0, len(fits), at_once):
            coef, intercept = (
                to_device(np.stack(parts).astype(dtype), device)
                for parts in zip(*learned[i : i + at_once], strict=True)
            )

            def of(some: Array, coef: Array = coef, intercept: Array = intercept) -> Array:
                return matmul(to_device(some, device)[None], coef, intercept, transpose_b=True)

            with np.errstate(over="ignore", invalid="ignore"):  # of models that diverged
                if device == "cpu":
                    outputs.extend(in_blocks(of, x, (len(coef), len(x), coef.shape[1]), dtype, 1))
                else:
                    outputs.extend(in_parts(of, x, device, axis=1))
    return outputs


def n_outputs(n_classes: int) -> int:
    """Return how many scores there are for so many classes."""
    return n_classes if n_classes > 2 else 1


def two_columns(scores: Array) -> Array:
    """Return scores of shape (n_samples, n_classes); of two classes the first has score 0."""
    if scores.ndim > 1:
        return scores
    xp = namespace(scores)
    return xp.stack([xp.zeros_like(scores), scores], axis=1)
