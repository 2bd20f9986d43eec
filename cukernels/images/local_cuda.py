"""CUDA bodies of `local2d` and its backward: a matrix product for each place, or for each pixel.

`local.cu` says which matrices are multiplied.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

from cukernels.activations.activations import fused_activation
from cukernels.activations.fused import fused, reversible_activation
from cukernels.gpu.kernel import contiguous, ctype
from cukernels.gpu.stacks import gradient_out
from cukernels.images.local import grid_of
from cukernels.images.passes_cuda import (
    bias_lanes,
    forward,
    gradient_of,
    images_of,
    input_gradient,
    places_of,
    slope_and_sums,
)
from cukernels.images.windows import Padding, Pair
from cukernels.images.windows_cuda import (
    PLACE,
    Convolution,
    Geometry,
    PlannedKernel,
    check_gradient,
    convolution_of,
    products,
    tiles,
)
from cukernels.matmul.gemm_plan import Target, plan, target_of
from cukernels.matmul.sums import sum_models
from cukernels.runtime.arrays import Array

LOCAL2D = products("local.cu", "local2d", largest=True)
INPUT_GRADIENT = products("local.cu", "local2d_input_gradient")
FILTER_GRADIENT = products("local.cu", "local2d_filter_gradient")


@functools.cache
def _forward(sizes: Geometry, models: int, dtype: str, target: Target) -> PlannedKernel:
    """The products y, one for each place: rows are images, columns are filters."""
    places = sizes.row_places * sizes.column_places
    rows, columns, depth = sizes.images, sizes.filters, sizes.taps
    p = plan(
        rows, columns, depth, models * places, dtype, target,
        largest=True, whole=True, row_bytes=PLACE,
    )  # fmt: skip
    grid = (places * tiles(p, rows, columns), 1, models)
    return PlannedKernel(LOCAL2D[dtype, p.tile, p.math], grid, p)


@functools.cache
def _input_gradient(sizes: Geometry, models: int, dtype: str, target: Target) -> PlannedKernel:
    """The products dx, one for each pixel: rows are images, columns are channels."""
    pixels = sizes.height * sizes.width
    rows, columns, depth = sizes.images, sizes.channels, sizes.taps_of_pixel * sizes.filters
    p = plan(rows, columns, depth, models * pixels, dtype, target, whole=True, row_bytes=PLACE)
    grid = (pixels * tiles(p, rows, columns), 1, models)
    return PlannedKernel(INPUT_GRADIENT[dtype, p.tile, p.math], grid, p)


class FilterGradient(NamedTuple):
    """The kernel of the gradients of filters and biases, and how its blocks sum for the biases."""

    kernel: PlannedKernel
    bias_blocks: int
    lanes: int


@functools.cache
def _filter_gradient(
    sizes: Geometry, models: int, dtype: str, target: Target, needs_w: bool, needs_bias: bool
) -> FilterGradient:
    """The products dw, one for each place: rows are filters, columns are taps."""
    places = sizes.row_places * sizes.column_places
    rows, columns, depth = sizes.filters, sizes.taps, sizes.images
    p = plan(rows, columns, depth, models * places, dtype, target, whole=True)
    lanes, bias_blocks = bias_lanes(places * rows, dtype)
    bias_blocks = bias_blocks if needs_bias else 0
    blocks = bias_blocks + (places * tiles(p, rows, columns) if needs_w else 0)
    instance = FILTER_GRADIENT[dtype, p.tile, p.math]
    return FilterGradient(PlannedKernel(instance, (blocks, 1, models), p), bias_blocks, lanes)


def _filter_gradients(
    convolution: Convolution, dz: Array, x: Array, x_of: Array | None, w: Array,
    needs_w: bool, needs_bias: bool, w_out: Array | None, bias_out: Array | None,
) -> tuple[Array | None, Array | None]:  # fmt: skip
    """Compute the gradients of filters and biases, (models, 1, *own), or those that are needed."""
    stack, models, sizes = convolution
    launch = _filter_gradient(sizes, models, ctype(x), target_of(x), needs_w, needs_bias)
    own = w.shape[-6:]
    dw = gradient_of(x, (models, 1, *own), w_out) if needs_w else None
    dbias = gradient_of(x, (models, 1, *own[:3]), bias_out) if needs_bias else None
    if models:
        launch.kernel(
            dz,
            *images_of(x, x_of, stack),
            *places_of(dw, 7, dbias, 4),
            launch.bias_blocks,
            launch.lanes,
            *sizes,
        )
    return dw, dbias


def local2d(
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
    convolution = convolution_of(grid_of, 6, x, x_of, w, bias, stride, padding, dilation)
    return forward(_forward, convolution, 6, x, w, bias, activation, x_activation, x_of)


def local2d_backward(
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
    convolution = convolution_of(grid_of, 6, x, x_of, w, bias, stride, padding, dilation)
    check_gradient(convolution, dy, y)
    reversible_activation(x_activation)
    stack, models, sizes = convolution
    if fused(activation).after:  # a softmax needs the rows of y, and the reshape below joins them
        dy, activation = fused_activation(activation).backward(dy, y), "identity"
    bias_out, w_out = gradient_out(out, "bias", bias, stack, 3), gradient_out(out, "w", w, stack, 6)
    needs_bias = bias is not None and "bias" in needs
    # A bias belongs to one place, so the rows to sum over are images, with all their places.
    rows = (models * sizes.images, sizes.row_places * sizes.column_places * sizes.filters)
    dz, sums = slope_and_sums(
        contiguous(dy).reshape(rows), contiguous(y).reshape(rows), activation, models, needs_bias,
        None if bias_out is None else bias_out.reshape(models, -1),
    )  # fmt: skip
    dx = dw = None
    dbias = None if sums is None else sums.reshape(models, 1, *w.shape[-6:-3])
    if "x" in needs:
        dx = input_gradient(_input_gradient, convolution, 6, dz, x, w, x_activation, x_of)
    if "w" in needs or (needs_bias and dbias is None):
        dw, summed = _filter_gradients(
            convolution, dz, x, x_of, w, "w" in needs, needs_bias and dbias is None, w_out, bias_out
        )
        dbias = summed if dbias is None else dbias
    if dw is not None:
        dw = sum_models(dw, stack, w.shape, 6, w_out)
    if dbias is not None and bias is not None:
        dbias = sum_models(dbias, stack, bias.shape, 3, bias_out)
    return dx, dw, dbias
