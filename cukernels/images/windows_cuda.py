"""What the CUDA bodies of `conv2d` and `local2d` share: the sizes, and planned kernels."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cukernels.activations.activations import fused_activation
from cukernels.activations.fused import fused
from cukernels.gpu.kernel import Instance, Kernel, contiguous, ctype
from cukernels.gpu.stacks import models_of
from cukernels.images.inputs import check_sets, input_activation, through
from cukernels.images.windows import Grid, Padding, Pair
from cukernels.matmul.gemm_plan import (
    FMA_TILES,
    ITEMSIZES,
    LARGEST,
    MATHS,
    REQUESTED_TILES,
    TENSOR_TILES,
    Plan,
    Target,
    target_of,
)
from cukernels.matmul.sums import activation_gradient, ordered_sum, sum_models
from cukernels.runtime.arrays import Array, namespace, to_host
from cukernels.runtime.contract import check_integers
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


def images_of(x: Array, x_of: Array | None, stack: Shape) -> tuple[Array, Array | None, int, int]:
    """Return what a kernel is told of images: all, the number of each model's, how many; stride."""
    if x_of is None:
        images, x_model = models_of(x, 4, stack)
        return images, None, 0, x_model
    images, x_model = models_of(x, 4, x.shape[:1])
    return images, contiguous(x_of, np.int32), len(x), x_model


def forward(
    planner: Planner, convolution: Convolution, own: int, x: Array, w: Array, bias: Array | None,
    activation: str, x_activation: str, x_of: Array | None,
) -> Array:  # fmt: skip
    """Run a convolution; `own` axes of the filters belong to a model, and `own` - 3 of the bias."""
    stack, models, sizes = convolution
    input_activation(x_activation)
    code, parameter, after = fused(activation)
    y = namespace(x).empty((*stack, *sizes.output), x.dtype)
    if y.size:
        kernel = planner(sizes, models, ctype(x), target_of(x))
        filters, w_model = models_of(w, own, stack)
        added, bias_model = (None, 0) if bias is None else models_of(bias, own - 3, stack)
        kernel(
            *images_of(x, x_of, stack), filters, added, y, w_model, bias_model, code, parameter,
            *sizes,
        )  # fmt: skip
    return after(y) if after else y


def slope_and_sums(
    dy: Array, y: Array, activation: str, models: int, needs_sums: bool, out: Array | None = None
) -> tuple[Array, Array | None]:
    """Return the gradient before the activation, and its sums over the rows of each model.

    Arguments are those of `activation_gradient`. An activation that leaves the gradient as it is
    needs no pass over it, so there are no sums then: the launch of the filter gradient sums.
    """
    code, _, after = fused(activation)
    if code:
        return activation_gradient(dy, y, activation, models, needs_sums, out)
    return contiguous(fused_activation(activation).backward(dy, y) if after else dy), None


def bias_lanes(columns: int, dtype: str) -> tuple[int, int]:
    """Return how many vectors of columns a block sums for the biases, and how many blocks do."""
    length = 16 // ITEMSIZES[dtype]  # elements of a vector
    vectors = -(-columns // length)
    lanes = 4 if vectors <= 4 else 16
    return lanes, -(-vectors // lanes)


def gradient_of(x: Array, shape: Shape, out: Array | None) -> Array:
    """Return where to write a gradient of this shape: into `out`, or a new array like `x`."""
    return namespace(x).empty(shape, x.dtype) if out is None else out.reshape(shape)


def input_gradient(
    planner: Planner, convolution: Convolution, own: int, dz: Array, x: Array, w: Array,
    x_activation: str, x_of: Array | None,
) -> Array:  # fmt: skip
    """Compute the gradient of a convolution in its images."""
    stack, models, sizes = convolution
    dx = namespace(x).empty((models, 1, *x.shape[-4:]), x.dtype)
    # Models that share images have gradients of their own, which are then added up.
    code, parameter, _ = fused(x_activation if x_of is None else "identity")
    if dx.size:
        kernel = planner(sizes, models, ctype(x), target_of(x))
        filters, w_model = models_of(w, own, stack)
        images, x_model = models_of(x, 4, stack) if code else (None, 0)
        kernel(dz, filters, dx, w_model, images, x_model, code, parameter, *sizes)
    if x_of is None:
        return sum_models(dx, stack, x.shape, 4)
    return through(x_activation, _sum_users(dx, x_of, x.shape), x)


def _sum_users(dx: Array, x_of: Array, shape: Shape) -> Array:
    """Sum the gradients of each set of images over the models that take it, in their order.

    The host reads the numbers of the sets, which is slow. No training needs this: images that
    models share are its data.
    """
    numbers = to_host(x_of)
    check_integers("x_of", "x_of", numbers, shape[0], "sets of images")
    total = namespace(dx).zeros(shape, dx.dtype)
    for number in np.unique(numbers):
        terms = dx[np.flatnonzero(numbers == number)]
        ordered_sum(terms.reshape(1, len(terms), *shape[1:]), out=total[number : number + 1])
    return total
