"""Activations as epilogues know them: a code, which the kernel switches on, and a parameter."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

from cukernels.activations.activation import Activation
from cukernels.activations.activations import ACTIVATIONS, fused_activation
from cukernels.gpu.source import source
from cukernels.runtime.arrays import Array

FUSED = tuple(name for name, a in ACTIVATIONS.items() if a.fits_an_epilogue)
_LIST = re.compile(r"^using Fused = Functors<([^>]*)>;", re.MULTILINE)


class Fused(NamedTuple):
    """How a product applies an activation.

    Attributes
    ----------
    code : int
        Index in the list `Fused` of `activations.cuh`; 0 is the identity.
    parameter : float
        The activation's option, such as a slope; 0 if it has none.
    after : callable or None
        The forward to call after the kernel. The softmaxes need whole rows, which no block has; for
        them the kernel applies the identity.
    """

    code: int
    parameter: float
    after: Callable[[Array], Array] | None


@functools.cache
def fused(activation: str) -> Fused:
    """Return how a product applies an activation.

    Raises
    ------
    ValueError
        If it cannot be fused into a product.
    LookupError
        If `activations.cuh` does not list its functor.
    """
    entry = fused_activation(activation)
    if not entry.fits_an_epilogue:
        return Fused(0, 0.0, entry.forward)
    functors = fused_functors()
    if entry.functor not in functors:
        raise LookupError(f"activations.cuh does not list {entry.functor} in Fused, but {functors}")
    return Fused(functors.index(entry.functor), entry.parameter, None)


@functools.cache
def reversible_activation(name: str) -> Activation:
    """Return an activation that the gradient of a product can go back through in its epilogue.

    Its derivative is element by element, and reads the output.

    Raises
    ------
    ValueError
        If there is no such activation of that name.
    """
    if name not in FUSED:
        raise ValueError(
            f"activation {name!r} cannot be fused into the gradient of a product, for which its "
            f"derivative has to be elementwise and to read only the output: expected one of "
            f"{list(FUSED)}"
        )
    return ACTIVATIONS[name]


@functools.cache
def fused_functors() -> list[str]:
    """Return the functors in the list `Fused` of `activations.cuh`, in order."""
    (listed,) = _LIST.findall(source("activations.cuh"))
    return [name.strip() for name in listed.split(",")]
