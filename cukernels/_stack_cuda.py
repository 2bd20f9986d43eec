"""Stacks of models as kernels take them, and gradients summed over what was broadcast."""

from __future__ import annotations

import math
from collections.abc import Mapping

from cukernels._array import Array, namespace
from cukernels._kernel import stacked
from cukernels._sums import ordered_sum

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


def sum_models(
    gradients: Array, stack: Shape, shape: Shape, own: int, place: Array | None = None
) -> Array:
    """Sum gradients over what an argument of some shape was broadcast over, in a fixed order.

    `gradients` are of shape (models, terms, *own): those of the models, each in terms that are
    still to be added. They go to `place`, if `place_for` has found one; a single term is there.
    """
    if place is not None:
        models, terms, *sizes = gradients.shape
        if terms != 1:
            ordered_sum(gradients, out=place.reshape(models, *sizes))
        return place
    lead = shape[: len(shape) - own]
    lead = (1,) * (len(stack) - len(lead)) + lead
    sizes = (*stack, gradients.shape[1])
    summed = [have == 1 for have in (*lead, 1)]
    after = shape[len(shape) - own :]
    end = len(sizes)
    while end:  # runs of axes that are summed or not, from the last one
        begin = end - 1
        while begin and summed[begin - 1] == summed[end - 1]:
            begin -= 1
        if not summed[begin]:
            after = sizes[begin:end] + after
        elif math.prod(sizes[begin:end]) != 1:
            before, terms = math.prod(sizes[:begin]), math.prod(sizes[begin:end])
            gradients = ordered_sum(gradients.reshape(before, terms, *after))
        end = begin
    return gradients.reshape(shape)


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
