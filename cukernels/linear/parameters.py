"""From the parameters of linear models to the factors of products, and back to their gradients.

The parameters of a model are one vector: the weights of each output, then the intercepts. A product
with the samples takes the weights of all models of a stack together, in the dtype of the samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.runtime.arrays import Array
from cukernels.runtime.op import op

_SHAPES = ((1, 1, 1), (3, 4, 7), (2, 1, 30), (0, 2, 3), (1, 10, 600), (2, 3, 0))  # models, K, D


def _weights(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for models, k, d in _SHAPES:
        for transpose in (False, True):
            has_bias = (models + transpose) % 2 == 0
            yield {
                "params": rng.standard_normal((models, k * (d + has_bias))),
                "coef": np.zeros((d, models, k) if transpose else (models, k, d)),
                "bias": np.zeros((models, k)) if has_bias else None,
                "intercept_scaling": 1.0 + has_bias,
                "transpose": transpose,
            }


def _gradients(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    r = rng.standard_normal
    for models, k, d in _SHAPES:
        for has_bias, penalize in ((False, False), (True, False), (True, True)):
            p = k * (d + has_bias)
            yield {
                "dcoef": r((d, models, k)),
                "loss": r(models),
                "params": r((models, p)),
                "l2": rng.random(models),
                "value": np.zeros(models),
                "gradient": np.zeros((models, p)),
                "dbias": r((models, k)) if has_bias else None,
                "intercept_scaling": 1.0 + penalize,
                "penalize_intercept": penalize,
            }


@op(
    samples=_weights,
    outputs=(),
    mutates=("coef", "bias"),
    no_backward="`linear_gradient` goes the way back",
)
def linear_weights(
    params: Array,
    coef: Array,
    bias: Array | None = None,
    *,
    intercept_scaling: float = 1.0,
    transpose: bool = False,
) -> None:
    """Set the factors of products to the parameters of linear models, in the factors' dtype.

    Parameters
    ----------
    params : array of shape (M, P), float32 or float64
        The K D weights of each model, output after output, and then its intercepts, if it has any.
    coef : array of shape (M, K, D), or (D, M, K) with `transpose`
        Set to the weights.
    bias : array of shape (M, K), default=None
        Set to the intercepts times `intercept_scaling`; None where there are none.
    intercept_scaling : float, default=1.0
        See above.
    transpose : bool, default=False
        Whether the features come first.

    Raises
    ------
    ValueError
        If there are not as many parameters as weights and intercepts.
    """
    models, k, d = _sizes(coef, transpose)
    check_parameters("linear_weights", params, k, d, bias)
    w = params[:, : k * d].reshape(models, k, d)
    coef[...] = w.transpose(2, 0, 1) if transpose else w
    if bias is not None:
        bias[...] = intercept_scaling * params[:, k * d :]


@op(
    samples=_gradients,
    outputs=(),
    mutates=("value", "gradient"),
    no_backward="it is the end of a backward pass",
)
def linear_gradient(
    dcoef: Array,
    loss: Array,
    params: Array,
    l2: Array,
    value: Array,
    gradient: Array,
    dbias: Array | None = None,
    *,
    intercept_scaling: float = 1.0,
    penalize_intercept: bool = False,
) -> None:
    """Set the value and the gradient of linear models: loss plus ``l2 / 2 * |w|^2``.

    Parameters
    ----------
    dcoef : array of shape (D, M, K), float32 or float64
        The gradient of the loss in the weights, as a product with the transposed samples gives it.
    loss : array of shape (M,)
        The loss of each model.
    params : array of shape (M, P)
        The parameters, as `linear_weights` takes them.
    l2 : array of shape (M,)
        Strength of the penalty.
    value : array of shape (M,)
        Set to the loss with the penalty.
    gradient : array of shape (M, P)
        Set to its gradient.
    dbias : array of shape (M, K), default=None
        The gradient of the loss in what `linear_weights` calls `bias`.
    intercept_scaling : float, default=1.0
        As for `linear_weights`.
    penalize_intercept : bool, default=False
        Whether the penalty holds for the intercepts too.

    Raises
    ------
    ValueError
        If there are not as many parameters as weights and intercepts.
    """
    d, models, k = dcoef.shape
    check_parameters("linear_gradient", params, k, d, dbias)
    gradient[:, : k * d] = dcoef.transpose(1, 2, 0).reshape(models, k * d)
    if dbias is not None:
        gradient[:, k * d :] = intercept_scaling * dbias
    n = params.shape[1] if penalize_intercept else k * d
    gradient[:, :n] += l2[:, None] * params[:, :n]
    value[...] = loss + 0.5 * l2 * (params[:, :n] ** 2).sum(axis=1)


def _sizes(coef: Array, transpose: bool) -> tuple[int, int, int]:
    """Return the numbers of models, outputs and features."""
    first, second, third = coef.shape
    return (second, third, first) if transpose else (first, second, third)


def check_parameters(op: str, params: Array, k: int, d: int, bias: Array | None) -> None:
    """Raise ValueError unless a model has its weights and intercepts, and no other parameters."""
    p = k * d + (0 if bias is None else k)
    if params.shape[1] != p:
        raise ValueError(
            f"{op}: {k} outputs of {d} features {'without' if bias is None else 'with'} intercepts "
            f"have {p} parameters, got {params.shape[1]}"
        )
