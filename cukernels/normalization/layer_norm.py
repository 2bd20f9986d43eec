"""Layer normalisation: each row, which is the last axis, by its own mean and variance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.op import op
from cukernels.runtime.stacks import sum_to


def _rows(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    r = rng.standard_normal
    for stack, shape in (
        ((), (6, 4)),
        ((), (3, 5, 4, 2)),
        ((3,), (6, 7)),
        ((2,), (3, 4, 5, 17)),
        ((), (5, 33)),
        ((), (3, 1025)),  # one past what a few lanes of a GPU take
        ((), (1, 1)),  # whose deviation is 0
        ((), (0, 3)),
    ):
        size = stack + shape[-1:]
        yield {"x": 2 + 3 * r(stack + shape), "gamma": r(size), "beta": r(size)}
    units = {"gamma": r(9), "beta": r(9)}
    yield units | {"x": 300 + r((4, 9))}  # digits are lost where the mean is not taken out first
    yield units | {"x": np.full((2, 9), 0.7), "epsilon": 1e-3}
    yield {"x": r((1, 5, 3)), "gamma": r((4, 3)), "beta": r((4, 3))}  # rows that models share
    yield {"x": r((4, 5, 3)), "gamma": r((1, 3)), "beta": r((1, 3))}


@op(samples=_rows)
def layer_norm(x: Array, gamma: Array, beta: Array, *, epsilon: float = 1e-5) -> Array:
    """Normalise each row by its mean and variance (Ba, Kiros and Hinton, arXiv:1607.06450, eq. 4).

    ``gamma * (x - mean) / sqrt(variance + epsilon) + beta``, with the biased variance. A row is the
    last axis: the units of a sample, or the channels at one place of an image. No row depends on
    another one.

    Parameters
    ----------
    x : array of shape (*stack, N, ..., K), float32 or float64
        Activations; images are (*stack, N, H, W, K).
    gamma, beta : arrays of shape (*stack, K)
        Scale and shift of each unit.
    epsilon : float, default=1e-5
        Added to the variance.

    Returns
    -------
    y : array of shape (*stack, N, ..., K)
    """
    normal, _ = _normalised(x, epsilon)
    return spread(gamma, x) * normal + spread(beta, x)


@op(gradients=("x", "gamma", "beta"))
def layer_norm_backward(
    dy: Array, x: Array, gamma: Array, beta: Array, *, epsilon: float = 1e-5
) -> tuple[Array, Array, Array]:
    """Gradients of `layer_norm` in `x`, `gamma` and `beta`, through mean and variance too."""
    normal, inverse = _normalised(x, epsilon)
    slope = dy * spread(gamma, x)
    through = _mean(slope) + normal * _mean(slope * normal)
    batch = tuple(range(gamma.ndim - 1, x.ndim - 1))
    return (
        sum_to(inverse * (slope - through), x.shape),
        sum_to((dy * normal).sum(axis=batch), gamma.shape),
        sum_to(dy.sum(axis=batch), beta.shape),
    )


def spread(units: Array, x: Array) -> Array:
    """Put axes of length 1 for the batch between the stack of models and the units."""
    batch = (1,) * (x.ndim - units.ndim)
    return units.reshape(*units.shape[:-1], *batch, units.shape[-1])


def _normalised(x: Array, epsilon: float) -> tuple[Array, Array]:
    """Rows of mean 0 and variance 1, and 1 over the deviation of each.

    The second mean is what rounding has left of the first one. Without it a constant row would
    become noise, divided by a deviation of nearly 0.
    """
    centred = x - _mean(x)
    centred = centred - _mean(centred)
    inverse = 1 / namespace(x).sqrt(_mean(centred * centred) + epsilon)
    return centred * inverse, inverse


def _mean(x: Array) -> Array:
    return x.sum(axis=-1, keepdims=True) / max(x.shape[-1], 1)
