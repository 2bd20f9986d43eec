"""CUDA bodies of pooling, which launch the kernels of `pooling.cu`."""

from __future__ import annotations

import functools
import math
from itertools import product
from typing import Any, NamedTuple

from cukernels.gpu.division import divisor
from cukernels.gpu.kernel import Instance, Kernel, contiguous, ctype
from cukernels.images.pooling import are_apart, grid_of
from cukernels.images.windows import Padding, Pair
from cukernels.runtime.arrays import Array, namespace

_RUNS = [("float", 4), ("float", 1), ("double", 2), ("double", 1)]  # channels that a thread takes
_POOL = Kernel(
    "pooling.cu",
    "pool",
    [(*run, taps, op) for run, taps, op in product(_RUNS, (0, 2, 3), ("Largest", "Mean"))],
)
_APART = Kernel("pooling.cu", "max_pool_apart", [(*run, n) for run in _RUNS for n in (0, 2)])
_OVERLAPPING = Kernel(
    "pooling.cu", "max_pool_overlapping", [(*run, n) for run in _RUNS for n in (0, 3)]
)
_MEAN_GRADIENT = Kernel("pooling.cu", "mean_pool_gradient", _RUNS)

MOST_THREADS = 2**31 - 256  # of a launch: a thread's number is an int


class Plan(NamedTuple):
    """What the kernels are to know of windows over images of one shape.

    Attributes
    ----------
    images, run : int
        Images, and channels that a thread takes.
    taps : int
        Height and width of square windows of 2 or 3 pixels, else 0.
    strides_too : bool
        Whether that is the stride as well.
    apart : bool
        Whether windows share no pixel.
    y_shape : tuple of int
    windows, cells, pixels : tuple of (int, tuple)
        Threads of one image and the numbers of a launch, with a thread for each window, each cell
        of one stride, or each pixel.
    """

    images: int
    run: int
    taps: int
    strides_too: bool
    apart: bool
    y_shape: tuple[int, ...]
    windows: tuple[int, tuple[int, ...]]
    cells: tuple[int, tuple[int, ...]]
    pixels: tuple[int, tuple[int, ...]]


@functools.cache
def _plan(shape: tuple[int, ...], itemsize: int, pool_size: Any, stride: Any, padding: Any) -> Plan:
    axes = grid_of(shape, pool_size, stride, padding)
    height, width, channels = shape[-3:]
    if height * width * channels >= 2**31:
        raise ValueError(f"an image of shape {shape[-3:]} has 2**31 values or more")
    places = [axis.places for axis in axes]
    cells = [-(-(axis.size + axis.before) // axis.stride) for axis in axes]
    taps = [axis.taps for axis in axes]
    strides = [axis.stride for axis in axes]
    before = [axis.before for axis in axes]
    run = 16 // itemsize if channels % (16 // itemsize) == 0 else 1
    runs = channels // run

    def threads(rows: int, columns: int, *sizes: int) -> tuple[int, tuple[int, ...]]:
        by = map(divisor, (rows, columns, max(runs, 1)))
        return rows * columns * runs, (*sizes, *taps, *strides, *before, *by)

    count, numbers = threads(height, width, height, width, channels, *places)
    return Plan(
        images=math.prod(shape[:-3]),
        run=run,
        taps=taps[0] if taps in ([2, 2], [3, 3]) else 0,
        strides_too=strides == taps,
        apart=are_apart(axes),
        y_shape=(*shape[:-3], *places, channels),
        windows=threads(*places, height, width, channels, *places),
        cells=threads(*cells, height, width, channels, *places, *cells),
        pixels=(count, (*numbers, *map(divisor, strides))),
    )


def _plan_of(x: Array, *geometry: Any) -> Plan:
    hashable = (tuple(g) if isinstance(g, list) else g for g in geometry)
    return _plan(x.shape, x.itemsize, *hashable)


def _launch(
    kernel: Instance, images: int, threads: tuple[int, tuple[int, ...]], *arrays: Array
) -> None:
    """Launch a kernel over all images, in parts where there are too many for one launch."""
    of_image, numbers = threads
    step = max(MOST_THREADS // max(of_image, 1), 1)
    for first in range(0, images, step):
        count = min(step, images - first)
        parts = arrays
        if count < images:
            parts = tuple(a.reshape(images, -1)[first : first + count] for a in arrays)
        total = count * of_image
        kernel((-(-total // 256), 1, 1), 256, *parts, total, *numbers)


def _check_gradient(dy: Array, plan: Plan) -> None:
    if dy.shape != plan.y_shape:
        raise ValueError(
            f"a gradient of shape {dy.shape} does not fit a pooling that returns {plan.y_shape}"
        )


def _pool(
    operation: str, x: Array, pool_size: Pair, stride: Pair | None, padding: Padding
) -> Array:
    plan = _plan_of(x, pool_size, stride, padding)
    y = namespace(x).empty(plan.y_shape, x.dtype)
    kernel = _POOL[ctype(x), str(plan.run), str(plan.taps), operation]
    _launch(kernel, plan.images, plan.windows, contiguous(x), y)
    return y


def max_pool2d(
    x: Array, *, pool_size: Pair = 2, stride: Pair | None = None, padding: Padding = 0
) -> Array:
    return _pool("Largest", x, pool_size, stride, padding)


def avg_pool2d(
    x: Array, *, pool_size: Pair = 2, stride: Pair | None = None, padding: Padding = 0
) -> Array:
    return _pool("Mean", x, pool_size, stride, padding)


def max_pool2d_backward(
    dy: Array,
    x: Array,
    y: Array,
    *,
    pool_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
) -> Array:
    plan = _plan_of(x, pool_size, stride, padding)
    _check_gradient(dy, plan)
    dx = namespace(x).empty(x.shape, x.dtype)
    dy, x = contiguous(dy), contiguous(x)
    if plan.apart:
        taps = 2 if plan.taps == 2 and plan.strides_too else 0
        kernel = _APART[ctype(x), str(plan.run), str(taps)]
        _launch(kernel, plan.images, plan.cells, dy, x, dx)
    else:
        kernel = _OVERLAPPING[ctype(x), str(plan.run), "3" if plan.taps == 3 else "0"]
        _launch(kernel, plan.images, plan.pixels, dy, x, contiguous(y), dx)
    return dx


def avg_pool2d_backward(
    dy: Array,
    x: Array,
    *,
    pool_size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
) -> Array:
    plan = _plan_of(x, pool_size, stride, padding)
    _check_gradient(dy, plan)
    dx = namespace(x).empty(x.shape, x.dtype)
    kernel = _MEAN_GRADIENT[ctype(x), str(plan.run)]
    _launch(kernel, plan.images, plan.pixels, contiguous(dy), dx)
    return dx
