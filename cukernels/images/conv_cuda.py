"""CUDA bodies of `conv2d` and its backward: three matrix products, one factor of which are windows.

`conv.cu` says which matrices are multiplied; the matrix of windows is never stored. What follows
from shapes, dtype and device alone (the instance of a kernel, its grid, the splits of a long sum)
is computed once for each combination.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from cukernels.gpu.kernel import ctype
from cukernels.gpu.stacks import gradient_out, models_of
from cukernels.images.conv import grid_of
from cukernels.images.windows import Grid, Padding, Pair
from cukernels.images.windows_cuda import (
    PIXEL,
    PLACE,
    Geometry,
    PlannedKernel,
    check_gradient,
    convolution_of,
    forward,
    input_gradient,
    products,
    tiles,
)
from cukernels.matmul.gemm_plan import SHORT_LENGTH, Target, plan, target_of
from cukernels.matmul.sums import activation_gradient, column_sums, sum_models
from cukernels.runtime.arrays import Array, namespace

CONV2D = products("conv.cu", "conv2d", largest=True)
INPUT_GRADIENT = products("conv.cu", "conv2d_input_gradient")
FILTER_GRADIENT = products("conv.cu", "conv2d_filter_gradient")
FEW_SPLITS = 32  # of which `sum_models` adds up the sums, term after term


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


@functools.cache
def _filter_gradient(sizes: Geometry, models: int, dtype: str, target: Target) -> PlannedKernel:
    """The product dw: rows are filters, columns are taps; the sum over all places is split."""
    rows, columns = sizes.filters, sizes.taps
    depth = min(_places_of_split(sizes, target), sizes.places)
    splits = -(-sizes.places // depth) if depth else 1
    p = plan(rows, columns, depth, models * splits, dtype, target, whole=True)
    grid = (tiles(p, rows, columns), splits, models)
    return PlannedKernel(FILTER_GRADIENT[dtype, p.tile, p.math], grid, p)


@functools.cache
def _places_of_split(sizes: Geometry, target: Target) -> int:
    """How many places a split sums over, so that there are enough splits to fill the device.

    The splits affect the bits of the result, so they must not depend on the number of models.
    """
    blocks = -(-sizes.filters // 64) * -(-sizes.taps // 64)
    splits = max(2 * target.multiprocessors // max(blocks, 1), 1)
    return max(-(-sizes.places // splits // SHORT_LENGTH), 1) * SHORT_LENGTH


def _sum_splits(dw: Array, out: Array | None) -> Array:
    """Add up the splits of each model, (models, splits, *own), if there are many of them."""
    models, splits, *own = dw.shape
    if splits <= FEW_SPLITS:
        return dw  # `sum_models` adds them up, one after the other
    rows = dw.reshape(models * splits, -1)
    flat = None if out is None else out.reshape(models, -1)
    return column_sums(rows, models, splits, out=flat).reshape(models, 1, *own)


def conv2d(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    activation: str = "identity",
) -> Array:
    convolution = convolution_of(_grid_of, 4, x, w, bias, stride, padding, dilation)
    return forward(_forward, convolution, 4, x, w, bias, activation)


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
    needs: tuple[str, ...] = ("x", "w", "bias"),
    out: Mapping[str, Array] | None = None,
) -> tuple[Array | None, Array | None, Array | None]:
    convolution = convolution_of(_grid_of, 4, x, w, bias, stride, padding, dilation)
    check_gradient(convolution, dy, y)
    stack, models, sizes = convolution
    kind, target = ctype(x), target_of(x)
    needs_bias = bias is not None and "bias" in needs
    bias_out, w_out = gradient_out(out, "bias", bias, stack, 1), gradient_out(out, "w", w, stack, 4)
    sums_out = None if bias_out is None else bias_out.reshape(models, -1)
    dz, sums = activation_gradient(dy, y, activation, models, needs_bias, sums_out)
    dx = dw = dbias = None
    if "x" in needs:
        dx = input_gradient(_input_gradient, convolution, 4, dz, x, w)
    if "w" in needs:
        kernel = _filter_gradient(sizes, models, kind, target)
        shape = (models, kernel.grid[1], *w.shape[-4:])
        if w_out is not None and kernel.grid[1] == 1:
            dw = w_out.reshape(shape)
        else:
            dw = namespace(x).empty(shape, x.dtype)
        if dw.size:
            images, x_model = models_of(x, 4, stack)
            kernel(dz, images, dw, _places_of_split(sizes, target), x_model, *sizes)
            dw = _sum_splits(dw, w_out)
        dw = sum_models(dw, stack, w.shape, 4, w_out)
    if sums is not None and bias is not None:
        dbias = sum_models(sums[:, None], stack, bias.shape, 1, bias_out)
    return dx, dw, dbias
