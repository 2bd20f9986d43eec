"""Locally connected layers: like a convolution, but every place has filters of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.activations.activations import fused_activation
from cukernels.activations.fused import reversible_activation
from cukernels.images.inputs import sum_users, taken, through
from cukernels.images.windows import (
    Grid,
    Padding,
    Pair,
    check_places,
    grid,
    pad,
    taps,
    unpad,
)
from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.dtypes import INTEGER
from cukernels.runtime.op import op
from cukernels.runtime.stacks import broadcast_stack, sum_to


def _local_products(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    r = rng.standard_normal
    w = r((4, 3, 5, 3, 3, 2))
    yield {"x": r((2, 4, 3, 2)), "w": w, "bias": r((4, 3, 5)), "padding": "same"}
    yield {"x": r((2, 7, 8, 2)), "w": r((4, 2, 3, 3, 2, 2)), "stride": (2, 4), "padding": (1, 0)}
    yield {"x": r((2, 9, 7, 1)), "w": r((5, 5, 3, 3, 2, 1)), "dilation": 2, "activation": "tanh"}
    yield {"x": r((3, 2, 4, 3, 2)), "w": r((3, 2, 2, 4, 3, 2, 2)), "bias": r((3, 2, 2, 4))}
    yield {"x": r((1, 2, 4, 3, 2)), "w": r((3, 2, 2, 4, 3, 2, 2)), "activation": "relu"}
    made = {"x": np.maximum(r((2, 2, 4, 3, 2)), 0), "x_activation": "relu"}
    yield made | {"w": r((2, 2, 2, 4, 3, 2, 2)), "bias": r((2, 2, 2, 4))}
    yield made | {"w": r((3, 3, 2, 2, 2, 2, 2)), "x_of": np.array([1, 0, 1])}
    yield {"x": r((1, 1, 1, 1)), "w": r((1, 1, 1, 1, 1, 1))}
    yield {"x": r((0, 4, 3, 2)), "w": w, "bias": r((4, 3, 5)), "padding": "same"}


@op(samples=_local_products, kinds={"x_of": INTEGER})
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
    """Return the responses of filters each of which belongs to one place.

    ``y[n, p, q, k] = sum_rsc x[n, p * stride + r * dilation, q * stride + s * dilation, c]
    * w[p, q, k, r, s, c] + bias[p, q, k]``, through an activation (LeCun 1989; Taigman et al.,
    CVPR 2014).

    Parameters
    ----------
    x : array of shape (..., N, H, W, C), float32 or float64
        Images; (G, N, H, W, C) with `x_of`. Leading axes are a stack of models and broadcast
        against those of `w`.
    w : array of shape (..., P, Q, K, R, S, C)
        Filters of each place.
    bias : array of shape (..., P, Q, K), default=None
        Added to the responses.
    stride, padding, dilation, activation, x_activation
        As in `conv2d`.
    x_of : integer array of shape (M,), default=None
        Which of G sets of images each of M models takes, as in `conv2d`.

    Returns
    -------
    y : array of shape (..., N, P, Q, K)

    Raises
    ------
    ValueError
        If filters do not fit the images, in size, places or channels, and as `conv2d` does.
    """
    xp = namespace(x)
    reversible_activation(x_activation)
    x = taken(x, x_of, w.shape[:-6])
    axes = grid_of(x, w, stride, padding, dilation)
    padded = pad(x, axes)
    y = 0
    for r, s, pixels in taps(axes):
        y = y + xp.einsum("...npqc,...pqkc->...npqk", padded[pixels], w[..., r, s, :])
    if bias is not None:
        y += bias[..., None, :, :, :]
    return fused_activation(activation).forward(y)


@op(gradients=("x", "w", "bias"))
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
    """Gradients of `local2d` in its images, filters and biases; arguments as in `conv2d_backward`.

    Returns
    -------
    dx, dw, dbias : arrays of the shapes of `x`, `w`, `bias`, or None where not needed
    """
    xp = namespace(x)
    reversible_activation(x_activation)
    given, x = x, taken(x, x_of, w.shape[:-6])
    axes = grid_of(x, w, stride, padding, dilation)
    check_places(dy, axes)
    dz = fused_activation(activation).backward(dy, y)
    stack = broadcast_stack((x, 4), (w, 6))
    padded = pad(x, axes)
    dx = xp.zeros(stack + padded.shape[-4:], x.dtype) if "x" in needs else None
    dw = xp.zeros(stack + w.shape[-6:], w.dtype) if "w" in needs else None
    for r, s, pixels in taps(axes):
        if dx is not None:
            dx[pixels] += xp.einsum("...npqk,...pqkc->...npqc", dz, w[..., r, s, :])
        if dw is not None:
            dw[..., r, s, :] = xp.einsum("...npqk,...npqc->...pqkc", dz, padded[pixels])
    if dx is not None:
        dx = sum_users(sum_to(unpad(dx, axes), x.shape), x_of, given.shape)
        dx = through(x_activation, dx, given)
    return (
        dx,
        None if dw is None else sum_to(dw, w.shape),
        bias_gradient(dz, bias, needs),
    )


def grid_of(x: Array, w: Array, stride: Pair, padding: Padding, dilation: Pair) -> Grid:
    """Return the grid of places at which filters lie on images.

    Raises
    ------
    ValueError
        If the filters do not fit the images, or are not as many as there are places.
    """
    if x.ndim < 4 or w.ndim < 6 or x.shape[-1] != w.shape[-1]:
        raise ValueError(
            f"images of shape {x.shape} do not fit filters of shape {w.shape}: expected "
            "(..., N, H, W, C) and (..., P, Q, K, R, S, C) with the same number of channels C"
        )
    window = (w.shape[-3], w.shape[-2])
    axes = grid(x.shape[-3:-1], window, stride=stride, padding=padding, dilation=dilation)
    places = tuple(axis.places for axis in axes)
    if places != w.shape[-6:-4]:
        raise ValueError(
            f"images of shape {x.shape} have {places} places for these filters, but there are "
            f"filters for {w.shape[-6:-4]}"
        )
    return axes


def bias_gradient(dz: Array, bias: Array | None, needs: tuple[str, ...]) -> Array | None:
    """Return the gradient in the bias, or None if there is no bias or it is not needed."""
    return sum_to(dz.sum(axis=-4), bias.shape) if bias is not None and "bias" in needs else None
