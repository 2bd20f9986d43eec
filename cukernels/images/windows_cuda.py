"""What the CUDA bodies of `conv2d` and `local2d` share: the sizes, and planned kernels."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cukernels.gpu.kernel import Instance, Kernel
from cukernels.images.inputs import check_sets
from cukernels.images.windows import Grid, Padding, Pair
from cukernels.matmul.gemm_plan import (
    FMA_TILES,
    LARGEST,
    MATHS,
    REQUESTED_TILES,
    TENSOR_TILES,
    Plan,
    Target,
)
from cukernels.runtime.arrays import Array
from cukernels.runtime.stacks import broadcast_stack

Shape = tuple[int, ...]
PLACE, PIXEL = 16, 4  # bytes of a `Place` of windows.cuh, and of the index of a pixel


class Geometry(NamedTuple):
    """Sizes of a convolution, in the order in which kernels take them."""

    images: int
    height: int
    width: int
    channels: int
    filters: int
    row_places: int
    column_places: int
    row_taps: int
    column_taps: int
    row_stride: int
    column_stride: int
    rows_before: int
    columns_before: int
    row_dilation: int
    column_dilation: int

    @classmethod
    def of(cls, images: int, channels: int, filters: int, axes: Grid) -> Geometry:
        """Combine the numbers of images, channels and filters with the axes of the image.

        Raises
        ------
        ValueError
            If a number is too large for the 32 bits in which the kernels count.
        """
        rows, columns = axes
        extent = [a.before + a.size + a.after for a in axes]
        largest = max(
            images * rows.places * columns.places,
            images * rows.size * columns.size,
            extent[0] * extent[1] * max(channels, filters),
            filters * rows.taps * columns.taps * channels,
        )
        if largest >= 2**30:
            raise ValueError(
                f"{images} images of {rows.size} x {columns.size} pixels, {channels} channels and "
                f"{filters} filters of {rows.taps} x {columns.taps} taps are too many for one "
                "call: places, elements of an image and weights are counted up to 2**30"
            )
        return cls(
            images, rows.size, columns.size, channels, filters, rows.places, columns.places,
            rows.taps, columns.taps, rows.stride, columns.stride, rows.before, columns.before,
            rows.dilation, columns.dilation,
        )  # fmt: skip

    @property
    def output(self) -> Shape:
        """The shape of the output of one model."""
        return self.images, self.row_places, self.column_places, self.filters

    @property
    def places(self) -> int:
        """How many places the images have in all."""
        return self.images * self.row_places * self.column_places

    @property
    def taps(self) -> int:
        """How many elements a window has."""
        return self.row_taps * self.column_taps * self.channels

    @property
    def taps_of_pixel(self) -> int:
        """How many taps see a given pixel, at most: every `period`-th one along each axis.

        The period is that of `Phase` in windows.cuh.
        """
        rows = self.row_stride // math.gcd(self.row_stride, self.row_dilation)
        columns = self.column_stride // math.gcd(self.column_stride, self.column_dilation)
        return -(-self.row_taps // rows) * -(-self.column_taps // columns)


class Convolution(NamedTuple):
    """What follows from shapes: the stack of models, and the sizes of each one's convolution."""

    stack: Shape
    models: int
    sizes: Geometry


# From the sizes, the number of models, the dtype and the target.
Planner = Callable[[Geometry, int, str, Target], "PlannedKernel"]


def convolution_of(
    grid_of: Callable[..., Grid],
    own: int,
    x: Array,
    x_of: Array | None,
    w: Array,
    bias: Array | None,
    *windows: Pair | Padding,
) -> Convolution:
    """Return the sizes of a convolution, which are computed once for each combination of shapes.

    Parameters
    ----------
    grid_of : callable
        Returns the grid of places, given images, filters and `windows`.
    own : int
        The number of axes of one model's filters; the last four are K, R, S, C.
    x, x_of, w, bias : array
        Images, which of them each model takes or None, filters, and biases or None.
    *windows : int, tuple or str
        Stride, padding and dilation.
    """
    seen = x.shape
    if x_of is not None:
        check_sets(x, x_of, w.shape[:-own])
        seen = (*x_of.shape, *x.shape[1:])
    shapes = (seen, w.shape, None if bias is None else bias.shape)
    hashable = (tuple(value) if isinstance(value, list) else value for value in windows)
    return _convolution(grid_of, own, *shapes, *hashable)


@functools.cache
def _convolution(
    grid_of: Callable[..., Grid],
    own: int,
    x: Shape,
    w: Shape,
    bias: Shape | None,
    *windows: Pair | Padding,
) -> Convolution:
    images, filters = (
        np.broadcast_to(np.float32(0), shape) for shape in (x, w)
    )  # arrays without memory of their own, as `grid_of` only reads shapes
    axes = grid_of(images, filters, *windows)
    stack = broadcast_stack((images, 4), (filters, own))
    if bias is not None:
        added = w[-own:-3]
        lead = bias[: len(bias) - len(added)]
        if bias[len(lead) :] != added or np.broadcast_shapes(lead, stack) != stack:
            raise ValueError(
                f"a bias of shape {bias} does not fit filters of shape {w}: expected "
                f"(..., {', '.join(map(str, added))})"
            )
    return Convolution(stack, math.prod(stack), Geometry.of(x[-4], x[-1], w[-4], axes))


def check_gradient(convolution: Convolution, dy: Array, y: Array) -> None:
    """Raise ValueError unless a gradient and the output have the shape of the convolution's."""
    expected = (*convolution.stack, *convolution.sizes.output)
    if not dy.shape == y.shape == expected:
        raise ValueError(
            f"a gradient of shape {dy.shape} and an output of shape {y.shape} do not fit a "
            f"convolution that returns {expected}"
        )


def products(file: str, name: str, largest: bool = False) -> dict[tuple[str, ...], Instance]:
    """Return all instances of a kernel that uses the main loop of gemm.cuh.

    `largest` says whether its loaders leave enough registers for the tile `LARGEST`.
    """
    tensor = [
        ("float", tile.expression, math)
        for precision, math in MATHS.items()
        for tile in (TENSOR_TILES if precision == "float32" else REQUESTED_TILES[1:])
    ]
    if largest:
        tensor += [("float", LARGEST.expression, math) for math in MATHS.values()]
    plain = [(kind, t.expression, "Fma") for kind, tiles in FMA_TILES.items() for t in tiles]
    return Kernel(file, name, tensor, since=80).instances | Kernel(file, name, plain).instances


def tiles(plan: Plan, rows: int, columns: int) -> int:
    """Return how many tiles of a plan cover a matrix."""
    return -(-rows // plan.tile_m) * -(-columns // plan.tile_n)


class PlannedKernel(NamedTuple):
    """An instance of a kernel with its grid and plan, ready to be launched."""

    instance: Instance
    grid: tuple[int, int, int]
    plan: Plan

    def __call__(self, *arguments: Any) -> None:
        """Launch the kernel; the plan gives its first argument and the size of its blocks."""
        plan = self.plan
        self.instance(self.grid, plan.threads, plan.k_of_sum, *arguments, shared=plan.shared)
