"""Sums in a fixed order on the GPU: over models, and over rows."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

from cukernels.activations.activations import fused_activation
from cukernels.activations.fused import fused
from cukernels.gpu.counters import counters
from cukernels.gpu.kernel import Instance, Kernel, contiguous, ctype
from cukernels.gpu.stacks import models_of
from cukernels.runtime.arrays import Array, namespace

Shape = tuple[int, ...]

_VECTOR_LENGTH = {"float": 4, "double": 2}  # elements of a vector of 16 bytes
_LINE_SUMS = 256 * 16  # bytes of shared memory in which a block sums columns
_MOST_BLOCKS = 512  # among which the rows of one model are divided

ORDERED_SUM = Kernel("sums.cu", "ordered_sum", [("float",), ("double",)])
GROUP_SUM = Kernel("sums.cu", "group_sum", [("float",), ("double",)])
COLUMN_SUMS = Kernel(
    "sums.cu", "column_sums", [(t, lanes) for t in ("float", "double") for lanes in (4, 16, 32)]
)


def ordered_sum(x: Array, out: Array | None = None) -> Array:
    """Sum over the second axis, term after term.

    Parameters
    ----------
    x : contiguous array of shape (O, T, *own)
        The terms; T may be 0.
    out : contiguous array of shape (O, *own), default=None
        Where to write.

    Returns
    -------
    array of shape (O, *own)
    """
    outer, terms, *own = x.shape
    if out is None:
        out = namespace(x).empty((outer, *own), x.dtype)
    inner = math.prod(own)
    kind = ctype(x)
    blocks = -(-inner // (256 * _VECTOR_LENGTH[kind]))
    ORDERED_SUM[kind]((blocks, min(outer, 2**15), 1), 256, x, out, outer, terms, inner)
    return out


def group_sum(x: Array, of: Array, groups: int) -> Array:
    """Sum over the models of each group, in their order.

    Parameters
    ----------
    x : contiguous array of shape (M, *own)
        The terms.
    of : contiguous array of int32 of shape (M,)
        The group of each model; a model of no group is left out.
    groups : int
        The number of groups.

    Returns
    -------
    array of shape (groups, *own)
    """
    models, *own = x.shape
    out, inner = namespace(x).empty((groups, *own), x.dtype), math.prod(own)
    kind = ctype(x)
    blocks = -(-inner // (256 * _VECTOR_LENGTH[kind]))
    GROUP_SUM[kind]((blocks, min(groups, 2**15), 1), 256, x, of, out, groups, models, inner)
    return out


def activation_gradient(
    dy: Array, y: Array, activation: str, models: int, needs_sums: bool, out: Array | None = None
) -> tuple[Array, Array | None]:
    """Propagate a gradient back through an activation, and sum it over the rows of each model.

    Parameters
    ----------
    dy, y : array of shape (..., K)
        Gradient in the output, and the output. The axes before the last one hold the rows of
        `models` models, one model after the other.
    activation : str
        One of `FUSED_ACTIVATIONS`.
    models : int
        The number of models.
    needs_sums : bool
        Whether to compute the sums.
    out : array of shape (models, K), default=None
        Where to write the sums; those of each model are contiguous.

    Returns
    -------
    dz : array of shape (..., K)
        The gradient before the activation; for the identity `dy` itself.
    sums : array of shape (models, K), or None
    """
    dy = contiguous(dy)
    code, parameter, after = fused(activation)
    if after:
        dy = contiguous(fused_activation(activation).backward(dy, y))
    rows = dy.size // (models * dy.shape[-1]) if dy.size else 0
    if code == 0:
        return dy, column_sums(dy, models, rows, out=out) if needs_sums else None
    dz = namespace(dy).empty(dy.shape, dy.dtype)
    if needs_sums and out is None:
        out = namespace(dy).empty((models, dy.shape[-1]), dy.dtype)
    sums = out if needs_sums else None
    _launch(dy, contiguous(y), dz, sums, models, rows, code, parameter)
    return dz, sums


def column_sums(x: Array, models: int, rows: int, out: Array | None = None) -> Array:
    """Sum over the rows of each model, in one launch.

    Parameters
    ----------
    x : contiguous array of shape (..., K)
        `models` times `rows` rows in all.
    out : array of shape (models, K), default=None
        Where to write; what each model has of it is contiguous.

    Returns
    -------
    array of shape (models, K)
    """
    if out is None:
        out = namespace(x).empty((models, x.shape[-1]), x.dtype)
    _launch(x, None, None, out, models, rows, 0, 0.0)
    return out


def _launch(
    dy: Array, y: Array | None, dz: Array | None, sums: Array | None, models: int,
    rows: int, code: int, parameter: float,
) -> None:  # fmt: skip
    """Launch `column_sums` of sums.cu."""
    n = dy.shape[-1]
    instance, chunks, rows_of_chunk, _, blocks = columns_of(rows, n, ctype(dy))
    parts = arrived = None
    if sums is not None and chunks > 1:
        parts = namespace(dy).empty((models, chunks, n), dy.dtype)
        arrived = counters(dy, models * blocks)
    sums, sums_model = (None, 0) if sums is None else models_of(sums, 1, (models,))
    instance(
        (models * chunks * blocks, 1, 1), 256,
        dy, y, dz, sums, parts, arrived, sums_model, rows, n, chunks, rows_of_chunk,
        code, parameter, shared=_LINE_SUMS,
    )  # fmt: skip


class ColumnPlan(NamedTuple):
    """How to sum columns; a model's bits depend on it.

    Attributes
    ----------
    instance : Instance
        The kernel.
    chunks, rows_of_chunk : int
        Into how many chunks the rows of a model are divided, and the rows of each.
    lanes, blocks : int
        Threads along a row in a block, and blocks along a row.
    """

    instance: Instance
    chunks: int
    rows_of_chunk: int
    lanes: int
    blocks: int


@functools.cache
def columns_of(rows: int, n: int, kind: str) -> ColumnPlan:
    """Return how to sum the columns of (rows, n) matrices of a dtype, "float" or "double"."""
    vectors = -(-n // _VECTOR_LENGTH[kind])
    lanes = 4 if vectors <= 4 else 16 if vectors <= 16 else 32
    blocks = -(-vectors // lanes)
    step = 256 // lanes  # rows that a block reads at a time
    chunks = max(min(-(-rows // (4 * step)), _MOST_BLOCKS // max(blocks, 1)), 1)
    rows_of_chunk = max(-(-rows // (chunks * step)), 1) * step
    chunks = max(-(-rows // rows_of_chunk), 1)
    return ColumnPlan(COLUMN_SUMS[kind, str(lanes)], chunks, rows_of_chunk, lanes, blocks)


def sum_models(
    gradients: Array, stack: Shape, shape: Shape, own: int, out: Array | None = None
) -> Array:
    """Sum gradients, in a fixed order, over the models that share an argument.

    Parameters
    ----------
    gradients : array of shape (models, terms, *own)
        The gradient of each model, as terms that are still to be added.
    stack : tuple of int
        The leading axes of the op's result, which the models fill.
    shape : tuple of int
        The shape of the argument, whose leading axes broadcast to `stack`.
    own : int
        The number of axes that belong to a model.
    out : array, default=None
        What `gradient_out` returned. If there is one term, the caller has already written it there.
    """
    if out is not None:
        models, terms, *sizes = gradients.shape
        if terms != 1:
            ordered_sum(gradients, out=out.reshape(models, *sizes))
        return out
    lead = shape[: len(shape) - own]
    lead = (1,) * (len(stack) - len(lead)) + lead
    # The axes are those of the stack and the terms, which are summed like a broadcast axis.
    sizes = (*stack, gradients.shape[1])
    summed = [have == 1 for have in (*lead, 1)]
    after = shape[len(shape) - own :]
    end = len(sizes)
    while end:  # from the last axis on, adjacent axes that are all summed or all kept go together
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
