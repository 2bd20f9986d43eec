"""What an op may be told of its images: what made them, and which of them each model takes."""

from __future__ import annotations

import numpy as np

from cukernels.activations.fused import reversible_activation
from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.contract import check_integers


def through(x_activation: str, dx: Array, x: Array) -> Array:
    """Return the gradient before the activation that `x` is the output of."""
    return dx if x_activation == "identity" else reversible_activation(x_activation).backward(dx, x)


def taken(x: Array, x_of: Array | None, models: tuple[int, ...]) -> Array:
    """Return the images that each model takes, ``x[x_of]``, or `x` if there is no `x_of`."""
    if x_of is None:
        return x
    check_sets(x, x_of, models)
    return x[x_of]


def check_sets(x: Array, x_of: Array, models: tuple[int, ...]) -> None:
    """Raise ValueError unless `x_of` says for each of the models which images it takes.

    `models` are the leading axes of the filters. On a GPU the numbers themselves are not read, as
    the host would have to wait for them.
    """
    if x.ndim != 5 or x_of.ndim != 1 or models != x_of.shape:
        raise ValueError(
            f"x_of of shape {x_of.shape} does not fit images of shape {x.shape} and filters of "
            f"models {models}: expected (M,), (G, N, H, W, C) and (M,)"
        )
    if x_of.size and not len(x):
        raise ValueError("x_of chooses among no sets of images, as x is empty")
    if namespace(x) is np:
        check_integers("x_of", "x_of", x_of, len(x), "sets of images")


def sum_users(dx: Array, x_of: Array | None, shape: tuple[int, ...]) -> Array:
    """Sum the gradients of the images that models took over those that share them, in order."""
    if x_of is None:
        return dx
    total = namespace(dx).zeros(shape, dx.dtype)
    namespace(dx).add.at(total, x_of, dx)
    return total
