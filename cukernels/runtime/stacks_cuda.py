"""Stacks of models as kernels take them, and the places of their gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping

from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.kernel import stacked

Shape = tuple[int, ...]


def models_of(x: Array, own: int, stack: Shape) -> tuple[Array, int]:
    """Where the models of a stack begin and how many elements lie between two of them.

    As `stacked`, for any number of leading axes, and for some that are broadcast. The rare case
    in which some of several axes are makes a copy.
    """
    if x.ndim <= own + 1 and len(stack) <= 1:
        return stacked(x, own)
    shape = x.shape[x.ndim - own :]
    if math.prod(x.shape[: x.ndim - own]) != 1:
        x = namespace(x).broadcast_to(x, stack + shape)
        shape = (math.prod(stack), *shape)
    return stacked(x.reshape(shape), own)


def place_for(
    out: Mapping[str, Array] | None, name: str, of: Array | None, stack: Shape, own: int
) -> Array | None:
    """Return the array of `out` in which a kernel can write the gradient of an argument, or None.

    It can where every model has an argument of its own, and where the gradients lie side by side:
    those of a single model do in any case.
    """
    place = out.get(name) if out else None
    if place is None or of is None or of.shape[: of.ndim - own] != stack:
        return None
    fits = place.shape == of.shape and place.dtype == of.dtype and place.flags.c_contiguous
    return place if fits else None
