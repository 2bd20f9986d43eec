"""CUDA bodies of `local2d` and its backward: a product for each place, or for each pixel.

`local.cu` says what is multiplied with what.
"""

from __future__ import annotations

import functools

from cukernels._array import Array, namespace
from cukernels._fused import fused
from cukernels._gemm_plan import Device, device_of, plan
from cukernels._kernel import contiguous, ctype
from cukernels._op import cuda_body
from cukernels._sums import activation_gradient
from cukernels._windows import Padding, Pair
from cukernels._windows_cuda import (
    Geometry,
    Launch,
    convolution_of,
    models_of,
    products,
    sum_models,
    tiles,
)
from cukernels.activations import fused_activation
from cukernels.local import _grid, local2d, local2d_backward

LOCAL2D = products("local.cu", "local2d", largest=True)
INPUT_GRADIENT = products("local.cu", "local2d_input_gradient")
FILTER_GRADIENT = products("local.cu", "local2d_filter_gradient")


@functools.cache
def _forward(sizes: Geometry, models: int, dtype: str, device: Device) -> Launch:
    """For each place: rows are images, columns filters."""
    places = sizes.row_places * sizes.column_places
    rows, columns, depth = sizes.images, sizes.filters, sizes.taps
    p = plan(rows, columns, depth, models * places, dtype, device, largest=True, whole=True)
    grid = (places * tiles(p, rows, columns), 1, models)
    return Launch(LOCAL2D[dtype, p.tile, p.math], grid, p)


@functools.cache
def _input_gradient(sizes: Geometry, models: int, dtype: str, device: Device) -> Launch:
    """For each pixel: rows are images, columns channels."""
    pixels = sizes.height * sizes.width
    rows, columns, depth = sizes.images, sizes.channels, sizes.taps_of_pixel * sizes.filters
    p = plan(rows, columns, depth, models * pixels, dtype, device, whole=True)
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


@cuda_body(local2d)
def _local2d_cuda(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    activation: str = "identity",
) -> Array:
    stack, models, sizes = convolution_of(_grid, 6, x, w, bias, stride, padding, dilation)
    code, parameter, after = fused(activation)
    y = namespace(x).empty((*stack, *sizes.output), x.dtype)
    if y.size:
        launch = _forward(sizes, models, ctype(x), device_of(x))
        images, x_model = models_of(x, 4, stack)
        filters, w_model = models_of(w, 6, stack)
        added, bias_model = (None, 0) if bias is None else models_of(bias, 3, stack)
        launch(images, filters, added, y, x_model, w_model, bias_model, code, parameter, *sizes)
    return after(y) if after else y


@cuda_body(local2d_backward)
def _local2d_backward_cuda(
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
) -> tuple[Array | None, Array | None, Array | None]:
    stack, models, sizes = convolution_of(_grid, 6, x, w, bias, stride, padding, dilation)
    empty = namespace(x).empty
    kind, device = ctype(x), device_of(x)
    needs_bias = bias is not None and "bias" in needs
    if fused(activation).after:  # a softmax: its rows are those of y
        dy, activation = fused_activation(activation).backward(dy, y), "identity"
    # a bias belongs to one place, so a row is all that one image gives
    rows = (models * sizes.images, sizes.row_places * sizes.column_places * sizes.filters)
    dz, sums = activation_gradient(
        contiguous(dy).reshape(rows), contiguous(y).reshape(rows), activation, models, needs_bias
    )
    dx = dw = dbias = None
    if "x" in needs:
        dx = empty((models, 1, *x.shape[-4:]), x.dtype)
        if dx.size:
            launch = _input_gradient(sizes, models, kind, device)
            filters, w_model = models_of(w, 6, stack)
            launch(dz, filters, dx, w_model, *sizes)
        dx = sum_models(dx, stack, x.shape, 4)
    if "w" in needs:
        dw = empty((models, 1, *w.shape[-6:]), x.dtype)
        if dw.size:
            launch = _filter_gradient(sizes, models, kind, device)
            images, x_model = models_of(x, 4, stack)
            launch(dz, images, dw, x_model, *sizes)
        dw = sum_models(dw, stack, w.shape, 6)
    if sums is not None and bias is not None:
        dbias = sum_models(sums.reshape(models, 1, *w.shape[-6:-3]), stack, bias.shape, 3)
    return dx, dw, dbias
