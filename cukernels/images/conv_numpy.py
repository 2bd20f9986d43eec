"""The NumPy bodies of convolution, a chunk of images at a time."""

from __future__ import annotations

import math

import numpy as np

from cukernels.activations.activations import fused_activation, rectify
from cukernels.activations.fused import reversible_activation
from cukernels.images.conv import grid_of
from cukernels.images.conv_products import Index, Product, for_each_product, gradients, stack_of
from cukernels.images.windows import Padding, Pair, check_places, places_of
from cukernels.runtime.workers import scratch
from cukernels.runtime.workspace import empty


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    activation: str = "identity",
    x_activation: str = "identity",
    x_of: np.ndarray | None = None,
) -> np.ndarray:
    reversible_activation(x_activation)
    axes = grid_of(x, w, bias, stride, padding, dilation)
    y = empty((*stack_of(x, w, x_of), x.shape[-4], *places_of(axes), w.shape[-4]), x.dtype)
    fused_activation(activation)

    def respond(m: Index, images: slice, rows: slice, product: Product) -> None:
        """Compute the responses of a model to some images."""
        z = y[m][images, rows]
        product(z.reshape(math.prod(z.shape[:-1]), z.shape[-1]))  # a view of y
        activate(activation, z)

    for_each_product(respond, axes, x, w, bias, x_of)
    return y


def conv2d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    y: np.ndarray,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    activation: str = "identity",
    x_activation: str = "identity",
    x_of: np.ndarray | None = None,
    needs: tuple[str, ...] = ("x", "w", "bias"),
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    axes = grid_of(x, w, bias, stride, padding, dilation)
    check_places(dy, axes)

    def slope(m: Index, images: slice) -> np.ndarray:
        """The gradient before the activation."""
        return slope_of(activation, dy[m][images], y[m][images])

    return gradients(slope, axes, x, w, bias, x_activation, x_of, needs)


def activate(activation: str, z: np.ndarray) -> None:
    """Apply an activation to contiguous responses (N, P, Q, K), where they are."""
    if activation == "relu":
        lines = z.reshape(len(z), -1)
        rectify(lines, out=lines)
    elif activation != "identity":
        z[...] = fused_activation(activation).forward(z)


def slope_of(activation: str, dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The gradient before the activation, in memory that the next call reuses."""
    if activation == "identity":
        return dy
    if activation != "relu":
        return fused_activation(activation).backward(dy, y)
    above = np.greater(y, 0, out=scratch("above zero", y.shape, bool))
    return np.multiply(dy, above, out=scratch("slope", dy.shape, dy.dtype))
