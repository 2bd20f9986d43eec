"""The launches that `conv2d` and `local2d` have in common: forward, and the gradient in images."""

from __future__ import annotations

import numpy as np

from cukernels.activations.activations import fused_activation
from cukernels.activations.fused import fused, reversible_activation
from cukernels.gpu.kernel import contiguous, ctype
from cukernels.gpu.stacks import models_of
from cukernels.images.inputs import through
from cukernels.images.windows_cuda import Convolution, Planner, Shape
from cukernels.matmul.gemm_cost import ITEMSIZES
from cukernels.matmul.gemm_plan import target_of
from cukernels.matmul.sums import activation_gradient, group_sum, sum_models
from cukernels.runtime.arrays import Array, namespace


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
    reversible_activation(x_activation)
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
    code, parameter, _ = fused(x_activation if x_of is None else "identity")
    if dx.size:
        kernel = planner(sizes, models, ctype(x), target_of(x))
        filters, w_model = models_of(w, own, stack)
        images, x_model = models_of(x, 4, stack) if code else (None, 0)
        kernel(dz, filters, dx, w_model, images, x_model, code, parameter, *sizes)
    if x_of is None:
        return sum_models(dx, stack, x.shape, 4)
    # Models that share images have gradients of their own, which are added up here.
    dx = group_sum(dx.reshape(models, *x.shape[1:]), contiguous(x_of, np.int32), len(x))
    return through(x_activation, dx, x)
