"""Losses that return their value and their gradient in one pass.

Every loss is a weighted mean over samples. It returns the mean for each model of the stack, and the
gradient of the mean in its first argument. `sample_weight` of shape (..., N) defaults to ones. A
sample of weight 0 counts as absent; if all weights are 0, so are the loss and the gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.activations.activations import logistic, softplus
from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.contract import check_integers
from cukernels.runtime.dtypes import INTEGER
from cukernels.runtime.op import op

_SHAPES = ((6, 4), (3, 6, 4), (2, 3, 5, 2), (1, 1), (0, 3), (33, 10))


def _labelled(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for shape in _SHAPES:
        z = 3 * rng.standard_normal(shape)
        yield {"z": z, "y": rng.integers(shape[-1], size=shape[:-1])}
    z = 3 * rng.standard_normal((2, 7, 3))
    y = rng.integers(3, size=(2, 7))
    yield {"z": z, "y": y, "sample_weight": rng.random((2, 7)).round(1)}
    yield {"z": z, "y": y, "sample_weight": np.zeros((2, 7))}


def _indicated(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for case in _labelled(rng):
        y = rng.integers(2, size=case["z"].shape).astype(float)
        yield case | {"y": y}


def _regressed(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for case in _indicated(rng):
        yield {"p" if name == "z" else name: value for name, value in case.items()}


@op(samples=_labelled, outputs=("loss", "dz"), gradients=("z",), kinds={"y": INTEGER})
def softmax_cross_entropy(
    z: Array, y: Array, sample_weight: Array | None = None
) -> tuple[Array, Array]:
    """Cross-entropy of the softmax of scores with class labels.

    The mean of ``log(sum_k exp(z_k)) - z_y`` (Bishop, PRML, eq. 4.108).

    Parameters
    ----------
    z : array of shape (..., N, K), float32 or float64
        Scores of K classes.
    y : integer array of shape (..., N)
        Labels from 0 to K - 1. On a GPU they are not checked beforehand, as the host would have to
        wait. Instead the loss of a model with another label, and the gradient of the sample, is
        NaN.
    sample_weight : array of shape (..., N), default=None
        Weights of the samples in the mean.

    Returns
    -------
    loss : array of shape (...)
    dz : array of shape (..., N, K)

    Raises
    ------
    ValueError
        If a label is out of range, on the CPU.
    """
    xp = namespace(z)
    check_labels("softmax_cross_entropy", y, z)
    share = shares_of(z, sample_weight)
    shifted = z - z.max(axis=-1, keepdims=True)
    e = xp.exp(shifted)
    total = e.sum(axis=-1)
    right = _one_hot(y, z)
    losses = xp.log(total) - (shifted * right).sum(axis=-1)
    return (share * losses).sum(axis=-1), share[..., None] * (e / total[..., None] - right)


@op(samples=_indicated, outputs=("loss", "dz"), gradients=("z",))
def logistic_loss(z: Array, y: Array, sample_weight: Array | None = None) -> tuple[Array, Array]:
    """Cross-entropy of logistic outputs with targets of 0 and 1, summed over the outputs.

    The mean of ``sum_k log(1 + exp(z_k)) - y_k z_k`` (Bishop, PRML, eq. 4.90).

    Parameters
    ----------
    z : array of shape (..., N, K), float32 or float64
        Scores of K independent outputs.
    y : array of shape (..., N, K)
        Targets in [0, 1].
    sample_weight : array of shape (..., N), default=None
        Weights of the samples in the mean.

    Returns
    -------
    loss : array of shape (...)
    dz : array of shape (..., N, K)
    """
    share = shares_of(z, sample_weight)
    losses = (softplus(z) - y * z).sum(axis=-1)
    return (share * losses).sum(axis=-1), share[..., None] * (logistic(z) - y)


@op(samples=_regressed, outputs=("loss", "dp"), gradients=("p",))
def squared_loss(p: Array, y: Array, sample_weight: Array | None = None) -> tuple[Array, Array]:
    """Half the squared error, summed over the outputs: the mean of ``sum_k (p_k - y_k)**2 / 2``.

    Parameters
    ----------
    p : array of shape (..., N, K), float32 or float64
        Predictions; for classes their probabilities.
    y : array of shape (..., N, K)
        Targets.
    sample_weight : array of shape (..., N), default=None
        Weights of the samples in the mean.

    Returns
    -------
    loss : array of shape (...)
    dp : array of shape (..., N, K)
    """
    share = shares_of(p, sample_weight)
    error = p - y
    losses = 0.5 * (error * error).sum(axis=-1)
    return (share * losses).sum(axis=-1), share[..., None] * error


@op(samples=_labelled, outputs=("loss", "dz"), gradients=("z",), kinds={"y": INTEGER})
def perceptron_loss(z: Array, y: Array, sample_weight: Array | None = None) -> tuple[Array, Array]:
    """How far the score of the right class is below the best: the mean of ``max_k z_k - z_y``.

    Its gradient raises the score of the right class and lowers that of the predicted one, which is
    the first with the best score (Collins, EMNLP 2002; Rosenblatt 1958).

    Parameters
    ----------
    z : array of shape (..., N, K), float32 or float64
        Scores of K classes.
    y : integer array of shape (..., N)
        Labels from 0 to K - 1. On a GPU they are not checked beforehand, as the host would have to
        wait. Instead the loss of a model with another label, and the gradient of the sample, is
        NaN.
    sample_weight : array of shape (..., N), default=None
        Weights of the samples in the mean.

    Returns
    -------
    loss : array of shape (...)
    dz : array of shape (..., N, K)

    Raises
    ------
    ValueError
        If a label is out of range, on the CPU.
    """
    check_labels("perceptron_loss", y, z)
    share = shares_of(z, sample_weight)
    change = _one_hot(z.argmax(axis=-1), z) - _one_hot(y, z)
    return (share * (change * z).sum(axis=-1)).sum(axis=-1), share[..., None] * change


def check_labels(op: str, y: Array, z: Array) -> None:
    """Raise ValueError if a label is not a class; on a GPU the host does not wait to check."""
    if namespace(z) is np:
        check_integers(op, "y", y, z.shape[-1], "classes")


def _one_hot(labels: Array, like: Array) -> Array:
    classes = namespace(like).arange(like.shape[-1])
    return (labels[..., None] == classes).astype(like.dtype)


def shares_of(z: Array, sample_weight: Array | None) -> Array:
    """Return the share of each sample in the mean: its weight over their sum, (..., N)."""
    xp = namespace(z)
    if sample_weight is None:
        return xp.full(z.shape[:-1], 1 / max(z.shape[-2], 1), z.dtype)
    total = sample_weight.sum(axis=-1, keepdims=True)
    share = sample_weight / xp.where(total == 0, 1, total)
    return xp.broadcast_to(share, z.shape[:-1]).astype(z.dtype)
