"""NumPy bodies of locally connected layers: a matrix product for each place."""

from __future__ import annotations

import numpy as np

from cukernels.activations.activations import fused_activation
from cukernels.activations.fused import reversible_activation
from cukernels.images.inputs import sum_users, taken, through
from cukernels.images.local import bias_gradient, grid_of
from cukernels.images.windows import (
    Grid,
    Padding,
    Pair,
    check_places,
    pad,
    padded_shape,
    patches,
    taps,
    unpad,
)
from cukernels.runtime.arrays import Array
from cukernels.runtime.stacks import broadcast_stack, models, sum_to
from cukernels.runtime.workspace import empty


def _by_place(images: Array, axes: Grid) -> Array:
    """A matrix for each place, whose rows are the windows of all images, (P, Q, N, R * S * C)."""
    seen = patches(pad(images, axes), axes).transpose(1, 2, 0, 3, 4, 5)
    return seen.reshape(*seen.shape[:3], int(np.prod(seen.shape[3:])))


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
    reversible_activation(x_activation)
    x = taken(x, x_of, w.shape[:-6])
    axes = grid_of(x, w, stride, padding, dilation)
    stack = broadcast_stack((x, 4), (w, 6))
    y = empty((*stack, x.shape[-4], *w.shape[-6:-3]), x.dtype)
    for m, (images, filters) in models(stack, (x, 4), (w, 6)):
        rows = _by_place(images, axes)
        matrices = filters.reshape(*filters.shape[:3], rows.shape[-1])
        y[m] = (rows @ matrices.swapaxes(-1, -2)).transpose(2, 0, 1, 3)
    if bias is not None:
        y += bias[..., None, :, :, :]
    return fused_activation(activation).forward(y)


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
) -> tuple[Array | None, Array | None, Array | None]:
    reversible_activation(x_activation)
    given, x = x, taken(x, x_of, w.shape[:-6])
    axes = grid_of(x, w, stride, padding, dilation)
    check_places(dy, axes)
    stack = broadcast_stack((x, 4), (w, 6))
    dz = fused_activation(activation).backward(dy, y)
    dx = np.zeros(stack + padded_shape(x.shape[-4:], axes), x.dtype) if "x" in needs else None
    dw = np.empty(stack + w.shape[-6:], w.dtype) if "w" in needs else None
    for m, (images, filters, slopes) in models(stack, (x, 4), (w, 6), (dz, 4)):
        slopes = slopes.transpose(1, 2, 0, 3)  # P, Q, N, K
        if dw is not None:
            rows = _by_place(images, axes)
            dw[m] = (slopes.swapaxes(-1, -2) @ rows).reshape(filters.shape)
        if dx is not None:
            for r, s, pixels in taps(axes):
                dx[m][pixels] += (slopes @ filters[..., r, s, :]).transpose(2, 0, 1, 3)
    if dx is not None:
        dx = sum_users(sum_to(unpad(dx, axes), x.shape), x_of, given.shape)
        dx = through(x_activation, dx, given)
    return (
        dx,
        None if dw is None else sum_to(dw, w.shape),
        bias_gradient(dz, bias, needs),
    )
