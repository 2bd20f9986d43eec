"""CUDA bodies of `conv2d` and its backward: three products, of windows that nobody writes down.

`conv.cu` says what is multiplied with what. What follows from shapes, dtype and device alone
(the instance, its grid, splits of a long sum) is found once for each.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from cukernels.gpu.kernel import ctype
from cukernels.gpu.stacks import models_of, place_for
from cukernels.images.conv import grid_of
from cukernels.images.windows import Grid, Padding, Pair
from cukernels.images.windows_cuda import (
    PIXEL,
    PLACE,
    Geometry,
    Launch,
    check_gradient,
    convolution_of,
    forward,
    input_gradient,
    products,
    tiles,
)
from cukernels.matmul.gemm_plan import SHORT_LENGTH, Device, device_of, plan
from cukernels.matmul.sums import activation_gradient, column_sums, sum_models
from cukernels.runtime.arrays import Array, namespace

CONV2D = products("conv.cu", "conv2d", largest=True)
INPUT_GRADIENT = products("conv.cu", "conv2d_input_gradient")
FILTER_GRADIENT = products("conv.cu", "conv2d_filter_gradient")
FEW_SPLITS = 32


def _grid_of(x: Array, w: Array, stride: Pair, padding: Padding, dilation: Pair) -> Grid:
    return grid_of(x, w, None, stride, padding, dilation)


@functools.cache
def _forward(sizes: Geometry, models: int, dtype: str, device: Device) -> Launch:
    """Rows are places, columns filters."""
    rows, columns, depth = sizes.places, sizes.filters, sizes.taps
    p = plan(rows, columns, depth, models, dtype, device, largest=True, whole=True, row_bytes=PLACE)
    return Launch(CONV2D[dtype, p.tile, p.math], (tiles(p, rows, columns), 1, models), p)


@functools.cache
def _input_gradient(sizes: Geometry, models: int, dtype: str, device: Device) -> Launch:
    """Rows are pixels of a phase, columns channels; the first phase has most pixels."""
    phases = sizes.row_stride * sizes.column_stride
    rows = sizes.images * -(-sizes.height // sizes.row_stride)
    rows *= -(-sizes.width // sizes.column_stride)
    columns, depth = sizes.channels, sizes.taps_of_pixel * sizes.filters
    p = plan(
        rows, columns, depth, models * phases, dtype, device, whole=True, row_bytes=PLACE + PIXEL
    )
    grid = (tiles(p, rows, columns), phases, models)
    return Launch(INPUT_GRADIENT[dtype, p.tile, p.math], grid, p)


@functools.cache
def _filter_gradient(sizes: Geometry, models: int, dtype: str, device: Device) -> Launch:
    """Rows are filters, columns taps; blocks share the long sum over the places."""
    rows, columns = sizes.filters, sizes.taps
    depth = min(_places_of_split(sizes, device), sizes.places)
    splits = -(-sizes.places // depth) if depth else 1
    p = plan(rows, columns, depth, models * splits, dtype, device, whole=True)
    grid = (tiles(p, rows, columns), splits, models)
    return Launch(FILTER_GRADIENT[dtype, p.tile, p.math], grid, p)


@functools.cache
def _places_of_split(sizes: Geometry, device: Device) -> int:
    """How many places the blocks of a split sum over: enough splits to fill the device.

    They decide about bits, so they must not depend on how many models there are.
    """
    blocks = -(-sizes.filters // 64) * -(-sizes.taps // 64)
    splits = max(2 * device.multiprocessors // max(blocks, 1), 1)
    return max(-(-sizes.places // splits // SHORT_LENGTH), 1) * SHORT_LENGTH


def _sum_splits(dw: Array, place: Array | None) -> Array:
    """Add up the splits of every model, (models, splits, *own), if there are many of them."""
    models, splits, *own = dw.shape
    if splits <= FEW_SPLITS:
        return dw  # sum_models adds them one by one
    rows = dw.reshape(models * splits, -1)
    flat = None if place is None else place.reshape(models, -1)
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
    found = convolution_of(_grid_of, 4, x, w, bias, stride, padding, dilation)
    return forward(_forward, found, 4, x, w, bias, activation)


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
    found = convolution_of(_grid_of, 4, x, w, bias, stride, padding, dilation)
    check_gradient(found, dy, y)
    stack, models, sizes = found
    kind, device = ctype(x), device_of(x)
    needs_bias = bias is not None and "bias" in needs
    of_bias, of_w = place_for(out, "bias", bias, stack, 1), place_for(out, "w", w, stack, 4)
    sums_place = None if of_bias is None else of_bias.reshape(models, -1)
    dz, sums = activation_gradient(dy, y, activation, models, needs_bias, sums_place)
    dx = dw = dbias = None
    if "x" in needs:
        dx = input_gradient(_input_gradient, found, 4, dz, x, w)
    if "w" in needs:
        launch = _filter_gradient(sizes, models, kind, device)
        shape = (models, launch.grid[1], *w.shape[-4:])
        if of_w is not None and launch.grid[1] == 1:
            dw = of_w.reshape(shape)
        else:
            dw = namespace(x).empty(shape, x.dtype)
        if dw.size:
            images, x_model = models_of(x, 4, stack)
            launch(dz, images, dw, _places_of_split(sizes, device), x_model, *sizes)
            dw = _sum_splits(dw, of_w)
        dw = sum_models(dw, stack, w.shape, 4, of_w)
    if sums is not None and bias is not None:
        dbias = sum_models(sums[:, None], stack, bias.shape, 1, of_bias)
    return dx, dw, dbias
