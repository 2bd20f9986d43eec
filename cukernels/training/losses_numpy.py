"""Faster NumPy bodies of the losses."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from cukernels.runtime.arrays import Array
from cukernels.runtime.workspace import empty
from cukernels.training.losses import check_labels, shares_of


def softmax_cross_entropy(
    z: Array, y: Array, sample_weight: Array | None = None
) -> tuple[Array, Array]:
    """Without one-hot labels, and with the classes as rows: NumPy sums fastest over long rows."""
    check_labels("softmax_cross_entropy", y, z)
    n, k = z.shape[-2:]
    share = 1 / max(n, 1) if sample_weight is None else shares_of(z, sample_weight)
    p = empty((*z.shape[:-2], k, n), z.dtype)
    p[...] = z.swapaxes(-1, -2)
    flat, right = p.reshape(-1), _first_class(z.shape) + n * y.astype(np.intp, copy=False)
    p -= p.max(axis=-2)[..., None, :]
    score = empty(right.shape, z.dtype)
    flat.take(right, out=score, mode="clip")  # which needs no buffer, and labels are in range
    np.exp(p, out=p)
    total = p.sum(axis=-2)
    losses = np.log(total)
    losses -= score
    p *= (share / total)[..., None, :]
    flat.take(right, out=score, mode="clip")
    score -= share
    flat[right] = score
    losses *= share
    return losses.sum(axis=-1), p.swapaxes(-1, -2)


@lru_cache(maxsize=4)
def _first_class(shape: tuple[int, ...]) -> np.ndarray:
    """The index of each sample's score for class 0, if the classes are the rows, (..., N)."""
    *stack, n, k = shape
    return k * n * np.arange(math.prod(stack)).reshape(*stack, 1) + np.arange(n)


def logistic_loss(z: Array, y: Array, sample_weight: Array | None = None) -> tuple[Array, Array]:
    """Compute one exponential for the loss and its slope together."""
    share = shares_of(z, sample_weight)
    e = np.abs(z)
    np.negative(e, out=e)
    np.exp(e, out=e)
    losses = np.log1p(e)
    losses += np.maximum(z, 0)
    losses -= y * z
    dz = np.where(z < 0, e, z.dtype.type(1))
    e += 1
    dz /= e
    dz -= y
    dz *= share[..., None]
    return (share * losses.sum(axis=-1)).sum(axis=-1), dz
