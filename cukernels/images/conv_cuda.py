"""CUDA bodies of `conv2d` and its backward: three matrix products, one factor of which are windows.

`conv.cu` says which matrices are multiplied; the matrix of windows is never stored. What follows
from shapes, dtype and device alone (the instance of a kernel, its grid, the splits of a long sum)
is computed once for each combination.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import NamedTuple

from cukernels.activations.fused import reversible_activation
from cukernels.gpu.counters import counters
from cukernels.gpu.kernel import ctype
from cukernels.gpu.stacks import gradient_out
from cukernels.images.conv import grid_of
from cukernels.images.passes_cuda import (
    bias_lanes,
    forward,
    gradient_of,
    images_of,
    input_gradient,
    places_of,
    slope_and_sums,
)
from cukernels.images.windows import Grid, Padding, Pair
from cukernels.images.windows_cuda import (
    PIXEL,
    PLACE,
    Convolution,
    Geometry,
    PlannedKernel,
    check_gradient,
    convolution_of,
    products,
    tiles,
)
from cukernels.matmul.gemm_cost import ITEMSIZES
from cukernels.matmul.gemm_plan import SHORT_LENGTH, Target, plan, target_of
from cukernels.matmul.sums import sum_models
from cukernels.runtime.arrays import Array, namespace

CONV2D = products("conv.cu", "conv2d", largest=True)
INPUT_GRADIENT = products("conv.cu", "conv2d_input_gradient")
FILTER_GRADIENT = products("conv.cu", "conv2d_filter_gradient")


def _grid_of(x: Array, w: Array, stride: Pair, padding: Padding, dilation: Pair) -> Grid:
    """`grid_of` without a bias, whose shape `convolution_of` checks."""
    return grid_of(x, w, None, stride, padding, dilation)


@functools.cache
def _forward(sizes: Geometry, models: int, dtype: str, target: Target) -> PlannedKernel:
    """The product y: rows are places, columns are filters."""
    rows, columns, depth = sizes.places, sizes.filters, sizes.taps
    p = plan(rows, columns, depth, models, dtype, target, largest=True, whole=True, row_bytes=PLACE)
    return PlannedKernel(CONV2D[dtype, p.tile, p.math], (tiles(p, rows, columns), 1, models), p)


@functools.cache
def _input_gradient(sizes: Geometry, models: int, dtype: str, target: Target) -> PlannedKernel:
    """The product dx: rows are the pixels of a phase, columns are channels.

    The phases of conv.cu differ in size by a row and a column; the plan is for the first, which is
    the largest.
    """
    phases = sizes.row_stride * sizes.column_stride
    rows = sizes.images * -(-sizes.height // sizes.row_stride)
    rows *= -(-sizes.width // sizes.column_stride)
    columns, depth = sizes.channels, sizes.taps_of_pixel * sizes.filters
    p = plan(
        rows, columns, depth, models * phases, dtype, target, whole=True, row_bytes=PLACE + PIXEL
    )
    grid = (tiles(p, rows, columns), phases, models)
    return PlannedKernel(INPUT_GRADIENT[dtype, p.tile, p.math], grid, p)


class FilterGradient(NamedTuple):
    """How to launch the kernel that computes the gradients of filters and biases.

    Attributes
    ----------
    kernel : PlannedKernel
        The kernel, with a grid for what is needed.
    bias_blocks, lanes : int
        How many blocks of a split sum dz for the biases, and how many vectors of its rows each of
        them takes.
    places_of_split, splits_of_group : int
        How many places a split sums over, and how many splits are added up at once.
    parts, counters : int
        Elements of the sums of all splits, and counters of the blocks that add them up; 0 if there
        is one split.
    """

    kernel: PlannedKernel
    bias_blocks: int
    lanes: int
    places_of_split: int
    splits_of_group: int
    parts: int
    counters: int


@functools.cache
def _filter_gradient(
    sizes: Geometry, models: int, dtype: str, target: Target, needs_w: bool, needs_bias: bool
) -> FilterGradient:
    """The product dw: rows are filters, columns are taps; the sum over all places is split."""
    rows, columns = sizes.filters, sizes.taps
    places_of_split = _places_of_split(sizes, target)
    depth = min(places_of_split, sizes.places)
    splits = -(-sizes.places // depth) if depth else 1
    p = plan(rows, columns, depth, models * splits, dtype, target, whole=True)
    length = 16 // ITEMSIZES[dtype]  # elements of a vector
    lanes, bias_blocks = bias_lanes(rows, dtype)
    bias_blocks = bias_blocks if needs_bias else 0
    blocks = bias_blocks + (tiles(p, rows, columns) if needs_w else 0)
    kernel = PlannedKernel(FILTER_GRADIENT[dtype, p.tile, p.math], (blocks, splits, models), p)
    of_group = _splits_of_group(splits)
    parts = models * splits * rows * (-(-columns // length) * length + needs_bias)
    arrived = models * ((blocks - bias_blocks) * (-(-splits // of_group) + 1) + bias_blocks)
    if splits == 1:
        parts = arrived = 0
    return FilterGradient(kernel, bias_blocks, lanes, places_of_split, of_group, parts, arrived)


def elements_of_parts(
    sizes: Geometry, models: int, dtype: str, target: Target, needs_bias: bool
) -> int:
    """Return the elements of the sums of all splits for the gradients of filters (and biases)."""
    return _filter_gradient(sizes, models, dtype, target, True, needs_bias).parts


def _splits_of_group(splits: int) -> int:
    """How many splits are added up at once: about as many as there are groups of them."""
    return math.isqrt(max(splits - 1, 0)) + 1


@functools.cache
def _places_of_split(sizes: Geometry, target: Target) -> int:
    """How many places a split sums over, so that there are enough splits to fill the device.

    The splits affect the bits of the result, so they must not depend on the number of models.
    """
    blocks = -(-sizes.filters // 64) * -(-sizes.taps // 64)
    splits = max(2 * target.multiprocessors // max(blocks, 1), 1)
    return max(-(-sizes.places // splits // SHORT_LENGTH), 1) * SHORT_LENGTH


def _filter_gradients(
    convolution: Convolution, dz: Array, summed: Array, x: Array, x_of: Array | None, w: Array,
    needs_w: bool, needs_bias: bool, w_out: Array | None, bias_out: Array | None,
) -> tuple[Array | None, Array | None]:  # fmt: skip
    """Compute the gradients of filters and biases, (models, 1, *own), or those that are needed."""
    stack, models, sizes = convolution
    launch = _filter_gradient(sizes, models, ctype(x), target_of(x), needs_w, needs_bias)
    dw = gradient_of(x, (models, 1, *w.shape[-4:]), w_out) if needs_w else None
    dbias = gradient_of(x, (models, 1, sizes.filters), bias_out) if needs_bias else None
    rows = summed.size // max(models * sizes.filters, 1)
    if models:
        parts = namespace(x).empty(launch.parts, x.dtype) if launch.parts else None
        arrived = counters(x, launch.counters) if launch.counters else None
        launch.kernel(
            dz, summed, *images_of(x, x_of, stack), *places_of(dw, 5, dbias, 2), parts, arrived,
            rows, -(-rows * launch.places_of_split // max(sizes.places, 1)),
            launch.bias_blocks, launch.lanes, launch.places_of_split, launch.splits_of_group,
            *sizes,
        )  # fmt: skip
    return dw, dbias


def conv2d(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    activation: str = "identity",
    x_activation: str = "identity",
    x_of: Array | None = None,
) -> Array:
    convolution = convolution_of(_grid_of, 4, x, x_of, w, bias, stride, padding, dilation)
    return forward(_forward, convolution, 4, x, w, bias, activation, x_activation, x_of)


def conv2d_backward(
    dy: Array,
    x: Array,
    w: Array,
    bias: Array | None,
    y: Array,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    activation: str = "identity",
    x_activation: str = "identity",
    x_of: Array | None = None,
    needs: tuple[str, ...] = ("x", "w", "bias"),
    out: Mapping[str, Array] | None = None,
) -> tuple[Array | None, Array | None, Array | None]:
    convolution = convolution_of_images(x, x_of, w, bias, stride, padding, dilation)
    check_gradient(convolution, dy, y)
    needs_bias = bias is not None and "bias" in needs
    bias_out = gradient_out(out, "bias", bias, convolution.stack, 1)
    dz, sums = slope_and_sums(dy, y, activation, convolution.models, needs_bias, bias_out)
    return convolution_backward(convolution, dz, x, w, bias, x_activation, x_of, needs, out, sums)


def convolution_of_images(
    x: Array, x_of: Array | None, w: Array, bias: Array | None, stride: Pair, padding: Padding,
    dilation: Pair,
) -> Convolution:  # fmt: skip
    """Return the sizes of a convolution, from the arguments of `conv2d`."""
    return convolution_of(_grid_of, 4, x, x_of, w, bias, stride, padding, dilation)


def convolution_backward(
    convolution: Convolution, dz: Array, x: Array, w: Array, bias: Array | None,
    x_activation: str, x_of: Array | None, needs: tuple[str, ...],
    out: Mapping[str, Array] | None, sums: Array | None, summed: Array | None = None,
) -> tuple[Array | None, Array | None, Array | None]:  # fmt: skip
    """Compute the gradients of a convolution.

    Parameters
    ----------
    convolution : Convolution
        Its sizes.
    dz : contiguous array of shape (*stack, N, P, Q, K)
        The gradient before the activation.
    x, w, bias, x_activation, x_of, needs, out
        As given to `conv2d_backward`.
    sums : array of shape (models, K), or None
        The sums for the biases, where they are known.
    summed : contiguous array of shape (*stack, ..., K), default=None
        What has the same sums as `dz`, in fewer rows. None: `dz` itself.
    """
    reversible_activation(x_activation)
    stack = convolution.stack
    bias_out, w_out = gradient_out(out, "bias", bias, stack, 1), gradient_out(out, "w", w, stack, 4)
    needs_bias = bias is not None and "bias" in needs
    dbias = None if sums is None else sums[:, None]
    dx = dw = None
    if "x" in needs:
        dx = input_gradient(_input_gradient, convolution, 4, dz, x, w, x_activation, x_of)
    if "w" in needs or (needs_bias and dbias is None):
        dw, of_rows = _filter_gradients(
            convolution, dz, dz if summed is None else summed, x, x_of, w,
            "w" in needs, needs_bias and dbias is None, w_out, bias_out,
        )  # fmt: skip
        dbias = of_rows if dbias is None else dbias
    if dw is not None:
        dw = sum_models(dw, stack, w.shape, 4, w_out)
    if dbias is not None and bias is not None:
        dbias = sum_models(dbias, stack, bias.shape, 1, bias_out)
    return dx, dw, dbias
