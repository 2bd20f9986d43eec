"""Stacks of models as kernels take them, and the places of their gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping

from cukernels.gpu.kernel import contiguous
from cukernels.runtime.arrays import Array, namespace

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


def stacked(x: Array, own: int) -> tuple[Array, int]:
    """Return where a stack of models begins, and how many elements lie between two of them.

    The weights of M models are views of one array of shape (M, P): each model's are contiguous,
    but the stack is not. A kernel takes the first model and the stride.

    Parameters
    ----------
    x : array of shape (*own) or (M, *own)
        One array for all models, or one each.
    own : int
        The number of axes that belong to a model.

    Returns
    -------
    first : array
        A contiguous array that begins where the stack begins.
    stride : int
        Elements from one model to the next; 0 where all share one.
    """
    if x.ndim == own or x.shape[0] == 1:
        return contiguous(x), 0
    if x.ndim != own + 1:
        raise ValueError(f"a stack has one axis before the {own} of a model, got shape {x.shape}")
    first = x[0]
    if not first.flags.c_contiguous or x.strides[0] < 0:
        x = namespace(x).ascontiguousarray(x)
        first = x[0]
    return first, x.strides[0] // x.itemsize
