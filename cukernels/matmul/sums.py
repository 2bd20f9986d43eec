"""Sums in a fixed order on the GPU: of parts of products, over models, over rows."""

from __future__ import annotations

import functools
import math

from cukernels.activations.activations import fused_activation
from cukernels.activations.fused import fused
from cukernels.gpu.kernel import Instance, Kernel, contiguous, ctype
from cukernels.runtime.arrays import Array, namespace

Shape = tuple[int, ...]

_PIECES = {"float": 4, "double": 2}  # elements of 16 bytes
_MOST_BLOCKS = 512  # that share the rows of one model

ORDERED_SUM = Kernel("sums.cu", "ordered_sum", [("float",), ("double",)])
COLUMN_SUMS = Kernel(
    "sums.cu", "column_sums", [(t, lanes) for t in ("float", "double") for lanes in (4, 16, 32)]
)


def ordered_sum(
    x: Array,
    bias: Array | None = None,
    bias_stride: int = 0,
    activation: str = "identity",
    out: Array | None = None,
) -> Array:
    """Sum over the second axis, term after term, and end a product.

    Parameters
    ----------
    x : contiguous array of shape (O, T, *own)
        What to sum; T may be 0.
    bias : array, default=None
        Added to the last axis of the sum.
    bias_stride : int, default=0
        Elements of `bias` from one of the O to the next.
    activation : str, default="identity"
        One of `FUSED`.
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
    code, parameter, _ = fused(activation)
    kind = ctype(x)
    blocks = -(-inner // (256 * _PIECES[kind]))
    ORDERED_SUM[kind](
        (blocks, min(outer, 2**15), 1), 256,
        x, bias, out, outer, terms, inner, own[-1] if own else 1, bias_stride, code, parameter,
    )  # fmt: skip
    return out


def activation_gradient(
    dy: Array, y: Array, activation: str, models: int, needs_sums: bool, out: Array | None = None
) -> tuple[Array, Array | None]:
    """Take a gradient back through an activation, and sum it over the rows of each model.

    Parameters
    ----------
    dy, y : array of shape (..., K)
        Gradient in the output, and the output. The axes before the last are `models` models, and
        the rows of each.
    activation : str
        One of `FUSED_ACTIVATIONS`.
    models : int
        The number of models.
    needs_sums : bool
        Whether to sum.
    out : contiguous array of shape (models, K), default=None
        Where to write the sums.

    Returns
    -------
    dz : array of shape (..., K)
        `dy` itself for the identity.
    sums : array of shape (models, K), or None
    """
    dy = contiguous(dy)
    code, parameter, after = fused(activation)
    if after:
        dy = contiguous(fused_activation(activation).backward(dy, y))
    n = dy.shape[-1]
    rows = dy.size // (models * n) if dy.size else 0
    if code == 0:
        return dy, column_sums(dy, models, rows, out=out) if needs_sums else None
    xp, kind = namespace(dy), ctype(dy)
    instance, parts, rows_of_part, blocks = _launch(rows, n, kind)
    dz = xp.empty(dy.shape, dy.dtype)
    sums = _parts(dy, models, parts, n, out) if needs_sums else None
    instance(
        (models * parts * blocks, 1, 1), 256,
        dy, contiguous(y), dz, sums, rows, n, parts, rows_of_part, code, parameter,
    )  # fmt: skip
    return dz, None if sums is None else _joined(sums, out)


def column_sums(
    x: Array, models: int, rows: int, at_once: bool = False, out: Array | None = None
) -> Array:
    """Sum over the rows of each model.

    Parameters
    ----------
    x : contiguous array of shape (..., K)
        `models` times `rows` rows.
    at_once : bool, default=False
        Whether the rows are so few that one block can sum them.
    out : contiguous array of shape (models, K), default=None
        Where to write.

    Returns
    -------
    array of shape (models, K)
    """
    n, kind = x.shape[-1], ctype(x)
    instance, parts, rows_of_part, blocks = _launch(rows, n, kind, at_once)
    sums = _parts(x, models, parts, n, out)
    instance(
        (models * parts * blocks, 1, 1), 256,
        x, None, None, sums, rows, n, parts, rows_of_part, 0, 0.0,
    )  # fmt: skip
    return _joined(sums, out)


def _parts(x: Array, models: int, parts: int, n: int, out: Array | None) -> Array:
    """Where the sums of parts of the rows go: if there is but one part, where all are to go."""
    if parts == 1 and out is not None:
        return out.reshape(models, 1, n)
    return namespace(x).empty((models, parts, n), x.dtype)


def _joined(sums: Array, out: Array | None) -> Array:
    """Sum over the parts of the rows, which are rows themselves."""
    models, parts, n = sums.shape
    if parts == 1:
        return sums[:, 0]
    return column_sums(sums, models, parts, at_once=True, out=out)


@functools.cache
def _launch(rows: int, n: int, kind: str, at_once: bool = False) -> tuple[Instance, int, int, int]:
    """The instance, parts of the rows, rows of a part, and blocks along a row."""
    pieces = -(-n // _PIECES[kind])
    lanes = 4 if pieces <= 4 else 16 if pieces <= 16 else 32
    blocks = -(-pieces // lanes)
    step = 256 // lanes  # rows that a block has in hand
    parts = 1 if at_once else max(min(-(-rows // (4 * step)), _MOST_BLOCKS // max(blocks, 1)), 1)
    rows_of_part = max(-(-rows // (parts * step)), 1) * step
    parts = max(-(-rows // rows_of_part), 1)
    return COLUMN_SUMS[kind, str(lanes)], parts, rows_of_part, blocks


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
