"""Activations as kernels know them: a number that an epilogue switches on, and a parameter."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import NamedTuple

from cukernels.activations.activations import fused_activation
from cukernels.runtime.arrays import Array

FUSED = ("identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "softplus")  # in fused.cuh


class Fused(NamedTuple):
    """What ends a product.

    Attributes
    ----------
    code : int
        Place in `FUSED`.
    parameter : float
        The slope or the alpha of those that have one.
    after : callable or None
        What is still to be done with the result: the softmaxes need whole rows.
    """

    code: int
    parameter: float
    after: Callable[[Array], Array] | None


@functools.cache
def fused(activation: str) -> Fused:
    """Return what a kernel needs to know of an activation.

    Raises
    ------
    ValueError
        If it cannot end a product.
    """
    forward = fused_activation(activation).forward
    if activation not in FUSED:
        return Fused(0, 0.0, forward)
    _, *options = inspect.signature(forward).parameters.values()
    return Fused(FUSED.index(activation), options[0].default if options else 0.0, None)
