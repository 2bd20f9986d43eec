"""CUDA bodies of pooling, which launch the kernels of `pooling.cu`."""

from __future__ import annotations

import functools
import math
from itertools import product
from typing import Any, NamedTuple

from cukernels.activations.fused import fused, reversible_activation
from cukernels.gpu.division import divisor
from cukernels.gpu.kernel import Instance, Kernel, contiguous, ctype
from cukernels.images.windows import Padding, Pair
from cukernels.pooling.pooling import are_apart, grid_of
from cukernels.runtime.arrays import Array, namespace

VECTORS = [("float", 4), ("float", 1), ("double", 2), ("double", 1)]  # and channels of a thread
_POOL = Kernel(
    "pooling.cu",
    "pool",
    [(*vector, n, op) for vector, n, op in product(VECTORS, (0, 2, 3), ("Largest", "Mean"))],
)
_APART = Kernel(
    "pooling.cu", "max_pool_apart", [(*vector, n) for vector in VECTORS for n in (0, 2)]
)
_OVERLAPPING = Kernel(
    "pooling.cu", "max_pool_overlapping", [(*vector, n) for vector in VECTORS for n in (0, 3)]
)
_MEAN_GRADIENT = Kernel("pooling.cu", "mean_pool_gradient", VECTORS)

MOST_THREADS = 2**31 - 256  # of a launch, as kernels number their threads by an int


class Pooling(NamedTuple):
    """What the kernels have to know of windows over images of one shape.

    Attributes
    ----------
    images, channels_a_thread : int
        The number of images, and how many channels a thread takes.
    taps : int
        The side of the windows if they are squares of 2 or 3 pixels, else 0.
    strides_too : bool
        Whether the stride equals the size of the windows.
    apart : bool
        Whether no two windows share a pixel.
    y_shape : tuple of int
        Shape of the output.
    windows, cells, pixels : tuple of (int, tuple)
        How many threads an image needs, and the numbers that the kernel is given, if there is a
        thread for each window, for each cell (of one stride by one stride), or for each pixel.
    """

    images: int
    channels_a_thread: int
    taps: int
    strides_too: bool
    apart: bool
    y_shape: tuple[int, ...]
    windows: tuple[int, tuple[int, ...]]
    cells: tuple[int, tuple[int, ...]]
    pixels: tuple[int, tuple[int, ...]]


@functools.cache
def _pooling(
    shape: tuple[int, ...], itemsize: int, pool_size: Any, stride: Any, padding: Any
) -> Pooling:
    axes = grid_of(shape, pool_size, stride, padding)
    height, width, channels = shape[-3:]
    if height * width * channels >= 2**31:
        raise ValueError(f"an image of shape {shape[-3:]} has 2**31 values or more")
    places = [axis.places for axis in axes]
    cells = [-(-(axis.size + axis.before) // axis.stride) for axis in axes]
    taps = [axis.taps for axis in axes]
    strides = [axis.stride for axis in axes]
    before = [axis.before for axis in axes]
    length = 16 // itemsize  # elements of a vector of 16 bytes
    channels_a_thread = length if channels % length == 0 else 1
    vectors = channels // channels_a_thread

    def threads(rows: int, columns: int, *sizes: int) -> tuple[int, tuple[int, ...]]:
        by = map(divisor, (rows, columns, max(vectors, 1)))
        return rows * columns * vectors, (*sizes, *taps, *strides, *before, *by)

    count, numbers = threads(height, width, height, width, channels, *places)
    return Pooling(
        images=math.prod(shape[:-3]),
        channels_a_thread=channels_a_thread,
        taps=taps[0] if taps in ([2, 2], [3, 3]) else 0,
        strides_too=strides == taps,
        apart=are_apart(axes),
        y_shape=(*shape[:-3], *places, channels),
        windows=threads(*places, height, width, channels, *places),
        cells=threads(*cells, height, width, channels, *places, *cells),
        pixels=(count, (*numbers, *map(divisor, strides))),
    )


def pooling_of(shape: tuple[int, ...], itemsize: int, *windows: Any) -> Pooling:
    """Return the sizes of a pooling, which are computed once for each combination."""
    hashable = (tuple(w) if isinstance(w, list) else w for w in windows)
    return _pooling(shape, itemsize, *hashable)


def launch(
    kernel: Instance, images: int, threads: tuple[int, tuple[int, ...]], *arrays: Array | None,
    more: tuple[Any, ...] = (),
) -> None:  # fmt: skip
    """Launch a kernel over all images, chunk by chunk if they are too many for one launch.

    `more` are its arguments after the numbers that describe windows.
    """
    of_image, numbers = threads
    step = max(MOST_THREADS // max(of_image, 1), 1)
    for first in range(0, images, step):
        count = min(step, images - first)
        chunk = arrays
        if count < images:
            chunk = tuple(
                None if a is None else a.reshape(images, -1)[first : first + count] for a in arrays
            )
        total = count * of_image
        kernel((-(-total // 256), 1, 1), 256, *chunk, total, *numbers, *more)


def check_gradient(dy: Array, pooling: Pooling) -> None:
    if dy.shape != pooling.y_shape:
        raise ValueError(
            f"a gradient of shape {dy.shape} does not fit a pooling that returns {pooling.y_shape}"
        )


def _activation(name: str) -> tuple[int, float]:
    """The code and the parameter by which a kernel knows the activation of its images."""
    reversible_activation(name)
    code, parameter, _ = fused(name)
    return code, parameter


def _pool(
    operation: str, x: Array, pool_size: Pair, stride: Pair | None, padding: Padding
) -> Array:
    pooling = pooling_of(x.shape, x.itemsize, pool_size, stride, padding)
    y = namespace(x).empty(pooling.y_shape, x.dtype)
    kernel = _POOL[ctype(x), str(pooling.channels_a_thread), str(pooling.taps), operation]
    launch(kernel, pooling.images, pooling.windows, contiguous(x), y)
    return y


def max_pool2d(
    x: Array,
    *,
    pool_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
    x_activation: str = "identity",
) -> Array:
    reversible_activation(x_activation)
    return _pool("Largest", x, pool_size, stride, padding)


def avg_pool2d(
    x: Array,
    *,
    pool_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
    x_activation: str = "identity",
) -> Array:
    reversible_activation(x_activation)
    return _pool("Mean", x, pool_size, stride, padding)


def max_pool2d_backward(
    dy: Array,
    x: Array,
    y: Array,
    *,
    pool_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
    x_activation: str = "identity",
) -> Array:
    pooling = pooling_of(x.shape, x.itemsize, pool_size, stride, padding)
    check_gradient(dy, pooling)
    into = _activation(x_activation)
    dx = namespace(x).empty(x.shape, x.dtype)
    dy, x = contiguous(dy), contiguous(x)
    if pooling.apart:
        taps = 2 if pooling.taps == 2 and pooling.strides_too else 0
        kernel = _APART[ctype(x), str(pooling.channels_a_thread), str(taps)]
        launch(kernel, pooling.images, pooling.cells, dy, x, dx, more=into)
    else:
        kernel = _OVERLAPPING[
            ctype(x), str(pooling.channels_a_thread), "3" if pooling.taps == 3 else "0"
        ]
        launch(kernel, pooling.images, pooling.pixels, dy, x, contiguous(y), dx, more=into)
    return dx


def avg_pool2d_backward(
    dy: Array,
    x: Array,
    *,
    pool_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
    x_activation: str = "identity",
) -> Array:
    pooling = pooling_of(x.shape, x.itemsize, pool_size, stride, padding)
    check_gradient(dy, pooling)
    into = _activation(x_activation)
    dx = namespace(x).empty(x.shape, x.dtype)
    read = contiguous(x) if into[0] else None
    kernel = _MEAN_GRADIENT[ctype(x), str(pooling.channels_a_thread)]
    launch(kernel, pooling.images, pooling.pixels, contiguous(dy), read, dx, more=into)
    return dx
