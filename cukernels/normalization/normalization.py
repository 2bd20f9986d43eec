"""Batch normalisation of each channel; channels are the last axis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.op import op


def _batches(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    r = rng.standard_normal
    for stack, shape in (
        ((), (6, 4)),
        ((), (3, 5, 4, 2)),
        ((3,), (6, 4)),
        ((2,), (3, 4, 5, 2)),
        ((), (1, 1)),
        ((), (0, 3)),
    ):
        channels = stack + shape[-1:]
        case = {"x": 2 + 3 * r(stack + shape), "gamma": r(channels), "beta": r(channels)}
        yield case
        yield case | {"sample_weight": rng.random(stack + shape[:1]).round(1)}


def _inferences(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for case in _batches(rng):
        if "sample_weight" not in case:
            channels = case["gamma"].shape
            yield case | {
                "mean": rng.standard_normal(channels),
                "variance": rng.random(channels),
            }


@op(samples=_batches, outputs=("y", "mean", "variance"))
def batch_norm(
    x: Array,
    gamma: Array,
    beta: Array,
    sample_weight: Array | None = None,
    *,
    epsilon: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """Normalise each channel over the batch (Ioffe and Szegedy, arXiv:1502.03167, algorithm 1).

    ``gamma * (x - mean) / sqrt(variance + epsilon) + beta``, with weighted statistics, to which a
    sample of weight 0 contributes nothing.

    Parameters
    ----------
    x : array of shape (*stack, N, ..., C), float32 or float64
        Activations; images are (*stack, N, H, W, C).
    gamma, beta : arrays of shape (*stack, C)
        Scale and shift of each channel.
    sample_weight : array of shape (*stack, N), default=None
        Weights of the samples in the statistics; None means ones.
    epsilon : float, default=1e-5
        Added to the variance.

    Returns
    -------
    y : array of the shape of `x`
    mean, variance : arrays of shape (*stack, C)
        Statistics of this batch; the variance is the biased one, as in the paper.
    """
    axes = _axes(x, gamma)
    share = _share(x, gamma, sample_weight)
    mean = (share * x).sum(axis=axes)
    centred = x - _spread(mean, x)
    variance = (share * centred * centred).sum(axis=axes)
    slope = _spread(gamma / namespace(x).sqrt(variance + epsilon), x)
    return slope * centred + _spread(beta, x), mean, variance


@op(gradients=("x", "gamma", "beta"))
def batch_norm_backward(
    dy: Array,
    x: Array,
    gamma: Array,
    sample_weight: Array | None,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """Gradients of `batch_norm` in `x`, `gamma` and `beta`, also through the statistics."""
    axes = _axes(x, gamma)
    share = _share(x, gamma, sample_weight)
    inverse = 1 / namespace(x).sqrt(variance + epsilon)
    normal = (x - _spread(mean, x)) * _spread(inverse, x)
    dgamma = (dy * normal).sum(axis=axes)
    dbeta = dy.sum(axis=axes)
    through = _spread(dbeta, x) + normal * _spread(dgamma, x)
    return _spread(gamma * inverse, x) * (dy - share * through), dgamma, dbeta


@op(samples=_inferences)
def batch_norm_inference(
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
) -> Array:
    """Normalise each channel with given statistics, as a trained network does at prediction.

    Parameters
    ----------
    x : array of shape (*stack, N, ..., C), float32 or float64
        Activations.
    gamma, beta, mean, variance : arrays of shape (*stack, C)
        Scale, shift and statistics of each channel.
    epsilon : float, default=1e-5
        Added to the variance.

    Returns
    -------
    y : array of the shape of `x`
    """
    slope = gamma / namespace(x).sqrt(variance + epsilon)
    return _spread(slope, x) * x + _spread(beta - slope * mean, x)


@op(gradients=("x", "gamma", "beta"))
def batch_norm_inference_backward(
    dy: Array,
    x: Array,
    gamma: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """Gradients of `batch_norm_inference` in `x`, `gamma` and `beta`."""
    axes = _axes(x, gamma)
    inverse = 1 / namespace(x).sqrt(variance + epsilon)
    normal = (x - _spread(mean, x)) * _spread(inverse, x)
    dgamma = (dy * normal).sum(axis=axes)
    return _spread(gamma * inverse, x) * dy, dgamma, dy.sum(axis=axes)


def _axes(x: Array, gamma: Array) -> tuple[int, ...]:
    """The axes to average over: those between the stack of models and the channels."""
    return tuple(range(gamma.ndim - 1, x.ndim - 1))


def _spread(channels: Array, x: Array) -> Array:
    """Insert axes of length 1 between the stack and the channels, to broadcast against `x`."""
    batch = (1,) * (x.ndim - channels.ndim)
    return channels.reshape(*channels.shape[:-1], *batch, channels.shape[-1])


def _share(x: Array, gamma: Array, sample_weight: Array | None) -> Array:
    """The weight of each pixel in the mean of its channel, normalised to a sum of 1.

    Its shape broadcasts against that of `x`.
    """
    xp = namespace(x)
    stack = gamma.ndim - 1
    pixels = int(np.prod(x.shape[stack + 1 : -1]))
    if sample_weight is None:
        return xp.full((1,) * x.ndim, 1 / max(pixels * x.shape[stack], 1), x.dtype)
    total = pixels * sample_weight.sum(axis=-1, keepdims=True)
    share = (sample_weight / xp.where(total == 0, 1, total)).astype(x.dtype)
    return share.reshape(share.shape + (1,) * (x.ndim - share.ndim))
