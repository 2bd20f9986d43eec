"""CUDA bodies of `local2d` and its backward: a product for each place, or for each pixel.

`local.cu` says what is multiplied with what.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from cukernels.activations.activations import fused_activation
from cukernels.activations.fused import fused
from cukernels.gpu.kernel import contiguous, ctype
from cukernels.gpu.stacks import models_of, place_for
from cukernels.images.local import grid_of
from cukernels.images.windows import Padding, Pair
from cukernels.images.windows_cuda import (
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
from cukernels.matmul.gemm_plan import Device, device_of, plan
from cukernels.matmul.sums import activation_gradient, sum_models
from cukernels.runtime.arrays import Array, namespace

LOCAL2D = products("local.cu", "local2d", largest=True)
INPUT_GRADIENT = products("local.cu", "local2d_input_gradient")
FILTER_GRADIENT = products("local.cu", "local2d_filter_gradient")


@functools.cache
def _forward(sizes: Geometry, models: int, dtype: str, device: Device) -> Launch:
    """For each place: rows are images, columns filters."""
    places = sizes.row_places * sizes.column_places
    rows, columns, depth = sizes.images, sizes.filters, sizes.taps
    p = plan(
        rows, columns, depth, models * places, dtype, device,
        largest=True, whole=True, row_bytes=PLACE,
    )  # fmt: skip
    grid = (places * tiles(p, rows, columns), 1, models)
    return Launch(LOCAL2D[dtype, p.tile, p.math], grid, p)


@functools.cache
def _input_gradient(sizes: Geometry, models: int, dtype: str, device: Device) -> Launch:
    """For each pixel: rows are images, columns channels."""
    pixels = sizes.height * sizes.width
    rows, columns, depth = sizes.images, sizes.channels, sizes.taps_of_pixel * sizes.filters
    p = plan(rows, columns, depth, models * pixels, dtype, device, whole=True, row_bytes=PLACE)
    grid = (pixels * tiles(p, rows, columns), 1, models)
    return Launch(INPUT_GRADIENT[dtype, p.tile, p.math], grid, p)


@functools.cache
def _filter_gradient(sizes: Geometry, models: int, dtype: str, device: Device) -> Launch:
    """For each place: rows are filters, columns taps; the sum goes over the images."""
    places = sizes.row_places * sizes.column_places
    rows, columns, depth = sizes.filters, sizes.taps, sizes.images
    p = plan(rows, columns, depth, models * places, dtype, device, whole=True)
    grid = (places * tiles(p, rows, columns), 1, models)
    return Launch(FILTER_GRADIENT[dtype, p.tile, p.math], grid, p)


def local2d(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    activation: str = "identity",
) -> Array:
    found = convolution_of(grid_of, 6, x, w, bias, stride, padding, dilation)
    return forward(_forward, found, 6, x, w, bias, activation)


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
    needs: tuple[str, ...] = ("x", "w", "bias"),
    out: Mapping[str, Array] | None = None,
) -> tuple[Array | None, Array | None, Array | None]:
    found = convolution_of(grid_of, 6, x, w, bias, stride, padding, dilation)
    check_gradient(found, dy, y)
    stack, models, sizes = found
    kind, device = ctype(x), device_of(x)
    needs_bias = bias is not None and "bias" in needs
    if fused(activation).after:  # a softmax: its rows are those of y
        dy, activation = fused_activation(activation).backward(dy, y), "identity"
    of_bias, of_w = place_for(out, "bias", bias, stack, 3), place_for(out, "w", w, stack, 6)
    # a bias belongs to one place, so a row is all that one image gives
    rows = (models * sizes.images, sizes.row_places * sizes.column_places * sizes.filters)
    dz, sums = activation_gradient(
        contiguous(dy).reshape(rows), contiguous(y).reshape(rows), activation, models, needs_bias,
        None if of_bias is None else of_bias.reshape(models, -1),
    )  # fmt: skip
    dx = dw = dbias = None
    if "x" in needs:
        dx = input_gradient(_input_gradient, found, 6, dz, x, w)
    if "w" in needs:
        shape = (models, 1, *w.shape[-6:])
        dw = namespace(x).empty(shape, x.dtype) if of_w is None else of_w.reshape(shape)
        if dw.size:
            launch = _filter_gradient(sizes, models, kind, device)
            images, x_model = models_of(x, 4, stack)
            launch(dz, images, dw, x_model, *sizes)
        dw = sum_models(dw, stack, w.shape, 6, of_w)
    if sums is not None and bias is not None:
        terms = sums.reshape(models, 1, *w.shape[-6:-3])
        dbias = sum_models(terms, stack, bias.shape, 3, of_bias)
    return dx, dw, dbias
