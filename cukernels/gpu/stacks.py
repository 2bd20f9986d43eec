"""Stacks of models as kernels take them: the first model, and the stride to the next one."""

from __future__ import annotations

import math
from collections.abc import Mapping

from cukernels.gpu.kernel import contiguous
from cukernels.runtime.arrays import Array, namespace

Shape = tuple[int, ...]


def models_of(x: Array, own: int, stack: Shape) -> tuple[Array, int]:
    """Return the first model of a stack, and how many elements lie between two of them.

    The weights of M models are views of one array of shape (M, P): each model's are contiguous,
    but the stack is not. So a kernel takes the first model and the stride.

    Parameters
    ----------
    x : array of shape (..., *own)
        Its leading axes broadcast to `stack`.
    own : int
        The number of axes that belong to a model.
    stack : tuple of int
        The leading axes of the result of the op.

    Returns
    -------
    first : array
        A contiguous array that begins where the first model begins. It is a copy if the models are
        not contiguous, or if they are broadcast along some of several leading axes.
    stride : int
        Elements from one model to the next; 0 if all models share one.
    """
    if x.ndim <= own + 1 and len(stack) <= 1:
        return _along_one_axis(x, own)
    shape = x.shape[x.ndim - own :]
    if math.prod(x.shape[: x.ndim - own]) != 1:
        x = namespace(x).broadcast_to(x, stack + shape)
        shape = (math.prod(stack), *shape)
    return _along_one_axis(x.reshape(shape), own)


def gradient_out(
    out: Mapping[str, Array] | None, name: str, of: Array | None, stack: Shape, own: int
) -> Array | None:
    """Return the array of `out` into which a kernel can write the gradient of an argument, or None.

    A kernel can write there if the argument is not broadcast, so that no sum over models is still
    to come, and if each model's own array is contiguous: `models_of` says how far apart they are.
    """
    target = out.get(name) if out else None
    if target is None or of is None or of.shape[: of.ndim - own] != stack:
        return None
    fits = target.shape == of.shape and target.dtype == of.dtype
    return target if fits and are_contiguous(target, own) else None


def are_contiguous(x: Array, own: int) -> bool:
    """Whether each model's array is contiguous, and all are as far from the next as the first."""
    if x.flags.c_contiguous:
        return True
    return x.ndim == own + 1 and x.size > 0 and x.strides[0] > 0 and x[0].flags.c_contiguous


def _along_one_axis(x: Array, own: int) -> tuple[Array, int]:
    """`models_of` for an array of shape (*own) or (M, *own): one for all models, or one each."""
    if x.ndim == own or x.shape[0] == 1:
        return contiguous(x), 0
    if x.ndim != own + 1:
        raise ValueError(f"a stack has one axis before the {own} of a model, got shape {x.shape}")
    first = x[0]
    if not first.flags.c_contiguous or x.strides[0] < 0:
        x = namespace(x).ascontiguousarray(x)
        first = x[0]
    return first, x.strides[0] // x.itemsize
