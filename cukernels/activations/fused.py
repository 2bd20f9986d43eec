"""Activations as kernels know them: a number that an epilogue switches on, and a parameter."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

from cukernels.activations.activations import ACTIVATIONS, fused_activation
from cukernels.gpu.source import source
from cukernels.runtime.arrays import Array

FUSED = tuple(name for name, a in ACTIVATIONS.items() if a.ends_a_kernel)
_LIST = re.compile(r"^using Fused = Functors<([^>]*)>;", re.MULTILINE)


class Fused(NamedTuple):
    """What ends a product.

    Attributes
    ----------
    code : int
        Place in the list `Fused` of `activations.cuh`; 0 is the identity.
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
    LookupError
        If `activations.cuh` does not list its functor.
    """
    entry = fused_activation(activation)
    if not entry.ends_a_kernel:
        return Fused(0, 0.0, entry.forward)
    functors = fused_functors()
    if entry.functor not in functors:
        raise LookupError(f"activations.cuh does not list {entry.functor} in Fused, but {functors}")
    return Fused(functors.index(entry.functor), entry.parameter, None)


@functools.cache
def fused_functors() -> list[str]:
    """Return the list `Fused` of `activations.cuh`, which numbers the functors."""
    (listed,) = _LIST.findall(source("activations.cuh"))
    return [name.strip() for name in listed.split(",")]
