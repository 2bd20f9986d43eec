"""The losses of linear classifiers, whose scores come side by side out of one product.

A product of the samples with the weights of a whole stack reads each sample once. It gives scores
of shape (N, M, K). One pass over them gives what remains: the loss of each model, the gradient in
the scores, which stays in that layout for the product back, and the sums of it over the samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.activations.activations import logistic, softmax, softplus
from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.contract import check_integers
from cukernels.runtime.dtypes import INTEGER
from cukernels.runtime.op import op

LOSSES = ("log_loss", "squared_error")


def _scores(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    r = rng.standard_normal
    for n, models, k in ((1, 1, 1), (7, 1, 3), (150, 3, 4), (700, 2, 1), (40, 1, 70), (3, 0, 2)):
        some = {"bias": r((models, k)), "share": rng.random((models, n)) / n}
        for more in ({}, some, some | {"share": some["share"][:1]}):
            yield {"z": 3 * r((n, models, k))} | {"bias": None, "share": None} | more


def _labelled(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for case in _scores(rng):
        n, _, k = case["z"].shape
        for loss in LOSSES:
            yield case | {"y": rng.integers(max(k, 2), size=n), "loss": loss}


def _curved(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for case in _scores(rng):
        z = rng.standard_normal(case["z"].shape)
        yield case | {"p": _probabilities(z)}


@op(
    samples=_labelled,
    outputs=("value", "dz", "dbias"),
    gradients=("z", "bias"),
    kinds={"y": INTEGER},
)
def linear_loss(
    z: Array,
    y: Array,
    bias: Array | None = None,
    share: Array | None = None,
    *,
    loss: str = "log_loss",
) -> tuple[Array, Array, Array | None]:
    """Loss of linear scores, of the softmax of K outputs or the logistic function of a single one.

    The mean of ``-log p_y`` (Bishop, PRML, eq. 4.90 and 4.108), or of half the squared error of
    the probabilities p.

    Parameters
    ----------
    z : array of shape (N, M, K), float32 or float64
        Scores of N samples in M models.
    y : integer array of shape (N,)
        Labels from 0 to K - 1, and 0 or 1 for a single output. On a GPU they are not checked
        beforehand; with another label the values are NaN.
    bias : array of shape (M, K), default=None
        Added to the scores.
    share : array that broadcasts to (M, N), default=None
        The share of each sample in the mean; 1 / N by default.
    loss : str, default="log_loss"
        "log_loss" or "squared_error".

    Returns
    -------
    value : array of shape (M,)
    dz : array of shape (N, M, K)
    dbias : array of shape (M, K), or None
        The sums of `dz` over the samples, where there is a bias.

    Raises
    ------
    ValueError
        If there is no such loss or, on the CPU, a label is out of range.
    """
    check_loss(loss)
    xp, k = namespace(z), z.shape[2]
    if xp is np:
        check_integers("linear_loss", "y", y, max(k, 2), "classes")
    z = z if bias is None else z + bias
    p = _probabilities(z)
    target = (y[:, None, None] == xp.arange(k) + (k == 1)).astype(z.dtype)
    error = p - target
    if loss == "squared_error":
        losses, dz = 0.5 * (error * error).sum(axis=-1), _derivative(error, p)
    elif k == 1:
        losses, dz = (softplus(z) - target * z)[..., 0], error
    else:
        shifted = z - z.max(axis=-1, keepdims=True)
        losses = xp.log(xp.exp(shifted).sum(axis=-1)) - (shifted * target).sum(axis=-1)
        dz = error
    return _means(losses, dz, bias, share)


@op(samples=_curved, outputs=("value", "dz", "dbias"), gradients=("z", "bias"))
def linear_curvature(
    z: Array, p: Array, bias: Array | None = None, share: Array | None = None
) -> tuple[Array, Array, Array | None]:
    """Second-order term of the cross-entropy along scores, at some probabilities.

    With H the Hessian of the loss in the scores of a sample, the mean of ``z'H z / 2``; its
    gradient is ``H z``. For the softmax ``H = diag(p) - p p'``, for a single output it is
    ``p (1 - p)``.

    Parameters
    ----------
    z : array of shape (N, M, K), float32 or float64
        Scores of N samples in M models, in the direction that is looked into.
    p : array of shape (N, M, K)
        The probabilities where one stands.
    bias, share
        As for `linear_loss`.

    Returns
    -------
    value : array of shape (M,)
    dz : array of shape (N, M, K)
    dbias : array of shape (M, K), or None
    """
    z = z if bias is None else z + bias
    dz = _derivative(z, p)
    return _means(0.5 * (z * dz).sum(axis=-1), dz, bias, share)


def check_loss(loss: str) -> None:
    """Raise ValueError if there is no such loss."""
    if loss not in LOSSES:
        raise ValueError(f"linear_loss: loss must be one of {', '.join(LOSSES)}, got {loss!r}")


def _probabilities(z: Array) -> Array:
    return logistic(z) if z.shape[-1] == 1 else softmax(z)


def _derivative(dp: Array, p: Array) -> Array:
    """Return the gradient in the scores from that in the probabilities."""
    if p.shape[-1] == 1:
        return dp * p * (1 - p)
    return p * (dp - (dp * p).sum(axis=-1, keepdims=True))


def _means(
    losses: Array, dz: Array, bias: Array | None, share: Array | None
) -> tuple[Array, Array, Array | None]:
    """Return the mean of losses (N, M), and the gradients of it from those of the losses."""
    own: Any = 1 / max(len(losses), 1)
    if share is not None:
        own = namespace(dz).broadcast_to(share, losses.shape[::-1]).T
    dz = dz * (own if share is None else own[..., None])
    value = (losses * own).sum(axis=0)
    return value, dz, None if bias is None else dz.sum(axis=0)
