"""CUDA bodies of a convolution with pooling: the responses are gone after the way forward."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cukernels.activations.fused import fused
from cukernels.gpu.kernel import Kernel, contiguous, ctype
from cukernels.gpu.stacks import gradient_out
from cukernels.images.conv_cuda import conv2d, convolution_backward, convolution_of_images
from cukernels.images.passes_cuda import slope_and_sums
from cukernels.images.windows import Padding, Pair
from cukernels.pooling.conv_max_pool import non_decreasing, pooled_grid
from cukernels.pooling.pooling_cuda import VECTORS, Pooling, check_gradient, launch, pooling_of
from cukernels.runtime.arrays import Array, namespace

_SIDES = (0, 2, 3)  # of windows that are known at compile time; 0: any other
_LARGEST = Kernel(
    "conv_max_pool.cu", "largest_places", [(*vector, n) for vector in VECTORS for n in _SIDES]
)
_GIVE_BACK = Kernel(
    "conv_max_pool.cu", "give_back", [(*vector, n) for vector in VECTORS for n in _SIDES]
)


def conv2d_max_pool(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    pool_size: Pair = 2,
    activation: str = "identity",
    x_activation: str = "identity",
    x_of: Array | None = None,
) -> tuple[Array, Array]:
    non_decreasing(activation)
    code, parameter, _ = fused(activation)
    z = conv2d(
        x, w, bias, stride=stride, padding=padding, dilation=dilation, x_activation=x_activation,
        x_of=x_of,
    )  # fmt: skip
    pooling = _pooling(z.shape, z.itemsize, pool_size)
    xp = namespace(x)
    y, places = xp.empty(pooling.y_shape, x.dtype), xp.empty(pooling.y_shape, np.uint8)
    kernel = _LARGEST[ctype(z), str(pooling.channels_a_thread), str(pooling.taps)]
    launch(kernel, pooling.images, pooling.windows, z, y, places, more=(code, parameter))
    return y, places


def conv2d_max_pool_backward(
    dy: Array,
    x: Array,
    w: Array,
    bias: Array | None,
    y: Array,
    places: Array,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    pool_size: Pair = 2,
    activation: str = "identity",
    x_activation: str = "identity",
    x_of: Array | None = None,
    needs: tuple[str, ...] = ("x", "w", "bias"),
    out: Mapping[str, Array] | None = None,
) -> tuple[Array | None, Array | None, Array | None]:
    non_decreasing(activation)
    convolution = convolution_of_images(x, x_of, w, bias, stride, padding, dilation)
    stack, models, sizes = convolution
    shape = (*stack, *sizes.output)
    pooling = _pooling(shape, x.itemsize, pool_size)
    check_gradient(dy, pooling)
    needs_bias = bias is not None and "bias" in needs
    bias_out = gradient_out(out, "bias", bias, stack, 1)
    slope, sums = slope_and_sums(dy, y, activation, models, needs_bias, bias_out)
    dz = namespace(x).empty(shape, x.dtype)
    kernel = _GIVE_BACK[ctype(x), str(pooling.channels_a_thread), str(pooling.taps)]
    launch(kernel, pooling.images, pooling.cells, slope, contiguous(places), dz)
    return convolution_backward(
        convolution, dz, x, w, bias, x_activation, x_of, needs, out, sums=sums, summed=slope
    )


def _pooling(shape: tuple[int, ...], itemsize: int, pool_size: Pair) -> Pooling:
    """Return what kernels have to know of windows side by side over responses of a shape."""
    pooled_grid(shape[-3:-1], pool_size)
    return pooling_of(shape, itemsize, pool_size, None, 0)
