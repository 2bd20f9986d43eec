"""NumPy bodies of layer normalisation, in a third of the arrays that its definition makes.

Sums over a row are of `einsum`: rows are short, and `sum` spends most of its time between them.
Neither one lets the bits of a row depend on how many rows there are.
"""

from __future__ import annotations

from math import prod

import numpy as np

from cukernels.normalization.layer_norm import spread
from cukernels.runtime.arrays import Array
from cukernels.runtime.stacks import sum_to
from cukernels.runtime.workspace import empty


def layer_norm(x: Array, gamma: Array, beta: Array, *, epsilon: float = 1e-5) -> Array:
    normal, _ = _normalised(x, epsilon)
    scale, shift = spread(gamma, x), spread(beta, x)
    shape = np.broadcast_shapes(normal.shape, scale.shape, shift.shape)
    y = normal if normal.shape == shape else empty(shape, x.dtype)
    np.multiply(normal, scale, out=y)
    y += shift
    return y


def layer_norm_backward(
    dy: Array, x: Array, gamma: Array, beta: Array, *, epsilon: float = 1e-5
) -> tuple[Array, Array, Array]:
    normal, inverse = _normalised(x, epsilon)
    batch = x.shape[gamma.ndim - 1 : -1]
    rows, of_rows = (
        a.reshape(*a.shape[: gamma.ndim - 1], prod(batch), a.shape[-1]) for a in (dy, normal)
    )
    dgamma = np.einsum("...nk,...nk->...k", rows, of_rows)
    dbeta = np.einsum("...nk->...k", rows)
    dx = np.multiply(dy, spread(gamma, x), out=empty(dy.shape, dy.dtype))
    middle, share = _mean(dx), _mean(dx, normal)
    through = normal if normal.shape == dx.shape else empty(dx.shape, dx.dtype)
    np.multiply(normal, share, out=through)
    dx -= through
    dx -= middle
    dx *= inverse
    return sum_to(dx, x.shape), sum_to(dgamma, gamma.shape), sum_to(dbeta, beta.shape)


def _normalised(x: Array, epsilon: float) -> tuple[Array, Array]:
    normal = np.subtract(x, _mean(x), out=empty(x.shape, x.dtype))
    normal -= _mean(normal)
    variance = _mean(normal, normal)
    variance += epsilon
    inverse = 1 / np.sqrt(variance)
    normal *= inverse
    return normal, inverse


def _mean(*factors: Array) -> Array:
    """The mean over each row of an array, or of the product of two."""
    names = ",".join(["...k"] * len(factors))
    total = np.einsum(f"{names}->...", *factors)
    return total[..., None] / total.dtype.type(max(factors[0].shape[-1], 1))
