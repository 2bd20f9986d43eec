"""Two-dimensional convolution of NHWC images with KRSC filters.

As usual in deep learning, the filters are not flipped. The letters of shapes: N images of height H
and width W with C channels; K filters of R x S taps; and P x Q places, at which a window lies.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.activations.activations import fused_activation
from cukernels.activations.fused import reversible_activation
from cukernels.images.inputs import sum_users, taken, through
from cukernels.images.windows import Grid, Padding, Pair, check_places, grid, pad, taps, unpad
from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.dtypes import INTEGER
from cukernels.runtime.op import op
from cukernels.runtime.stacks import broadcast_stack, sum_to


def _convolutions(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    r = rng.standard_normal
    yield {"x": r((2, 6, 5, 3)), "w": r((4, 3, 3, 3)), "bias": r(4), "padding": "same"}
    yield {"x": r((2, 7, 8, 2)), "w": r((3, 3, 2, 2)), "stride": (2, 3), "padding": (1, 0)}
    yield {"x": r((2, 9, 9, 2)), "w": r((3, 3, 3, 2)), "bias": r(3), "dilation": 2}
    yield {"x": r((2, 7, 6, 1)), "w": r((5, 2, 2, 1)), "padding": "same", "stride": 2}
    yield {"x": r((3, 5, 4, 6)), "w": r((2, 1, 1, 6)), "bias": r(2), "activation": "tanh"}
    yield {"x": r((3, 2, 5, 5, 2)), "w": r((3, 4, 3, 3, 2)), "bias": r((3, 4)), "padding": 1}
    yield {"x": r((1, 2, 5, 5, 2)), "w": r((3, 4, 3, 3, 2)), "bias": r((3, 4)), "padding": 1}
    yield {"x": r((2, 5, 5, 2)), "w": r((3, 4, 3, 3, 2)), "activation": "relu"}
    made = {"x": np.tanh(r((2, 5, 4, 2))), "x_activation": "tanh"}
    yield made | {"w": r((3, 3, 3, 2)), "bias": r(3), "padding": "same", "activation": "relu"}
    made = {"x": np.maximum(r((2, 2, 7, 6, 4)), 0), "x_activation": "relu"}
    yield made | {"w": r((2, 3, 2, 3, 4)), "stride": 2}
    yield made | {"w": r((3, 4, 3, 3, 4)), "bias": r((3, 4)), "x_of": np.array([1, 0, 1])}
    yield {"x": r((3, 1, 4, 4, 1)), "w": r((2, 2, 3, 3, 1)), "x_of": np.array([2, 0])}
    yield {"x": r((1, 1, 1, 1)), "w": r((1, 1, 1, 1))}
    yield {"x": r((0, 5, 5, 2)), "w": r((3, 3, 3, 2)), "bias": r(3)}
    yield {"x": r((2, 5, 5, 2)), "w": r((0, 3, 3, 2)), "bias": r(0), "stride": 2}
    yield {"x": r((2, 5, 5, 0)), "w": r((3, 3, 3, 0)), "bias": r(3), "activation": "relu"}
    yield {"x": r((70, 14, 14, 4)), "w": r((3, 5, 5, 4)), "padding": "same"}  # several chunks


@op(samples=_convolutions, kinds={"x_of": INTEGER})
def conv2d(
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
    """Return the responses of filters at every place of the images.

    ``y[n, p, q, k] = sum_rsc x[n, p * stride + r * dilation, q * stride + s * dilation, c]
    * w[k, r, s, c] + bias[k]``, with `x` padded by zeros, through an activation.

    Parameters
    ----------
    x : array of shape (..., N, H, W, C), float32 or float64
        Images; (G, N, H, W, C) with `x_of`. Leading axes are a stack of models and broadcast
        against those of `w`.
    w : array of shape (..., K, R, S, C)
        Filters.
    bias : array of shape (..., K), default=None
        Added to the responses of each filter.
    stride, dilation : int or (int, int), default=1
        Pixels from one place to the next, and from one tap to the next.
    padding : int, (int, int), "same" or "valid", default=0
        Pixels of zeros on both sides. "same" makes ``ceil(H / stride)`` places; if that takes an
        odd number of pixels, the odd one comes after the image. "valid" is 0.
    activation : str, default="identity"
        One of `FUSED_ACTIVATIONS`.
    x_activation : str, default="identity"
        The activation that `x` is the output of. The result does not depend on it, but the gradient
        in `x` that the backward returns is then that before it. Its derivative has to be
        elementwise and to need only the output, so it can be one of `FUSED_ACTIVATIONS` but the
        softmaxes.
    x_of : integer array of shape (M,), default=None
        Which of G sets of images each of M models takes, if several models share them. On a GPU it
        is not checked beforehand: a model that takes a set which is not there returns NaN.

    Returns
    -------
    y : array of shape (..., N, P, Q, K)

    Raises
    ------
    ValueError
        If filters do not fit the images, in size or in channels; if no gradient can go through
        `x_activation`; or if `x_of` does not fit the stack or, on the CPU, the images.
    """
    xp = namespace(x)
    reversible_activation(x_activation)
    x = taken(x, x_of, w.shape[:-4])
    axes = grid_of(x, w, bias, stride, padding, dilation)
    padded = pad(x, axes)
    y = 0
    for r, s, pixels in taps(axes):
        y = y + xp.einsum("...npqc,...kc->...npqk", padded[pixels], w[..., r, s, :])
    if bias is not None:
        y += bias[..., None, None, None, :]
    return fused_activation(activation).forward(y)


@op(gradients=("x", "w", "bias"))
def conv2d_backward(
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
    """Gradients of `conv2d` in its images, filters and biases.

    Parameters
    ----------
    dy, y : array of shape (..., N, P, Q, K)
        Gradient in the output, and the output.
    x, w, bias, stride, padding, dilation, activation, x_activation, x_of
        As given to `conv2d`.
    needs : tuple of str, default=("x", "w", "bias")
        The gradients to compute.

    Returns
    -------
    dx, dw, dbias : arrays of the shapes of `x`, `w`, `bias`, or None where not needed
    """
    xp = namespace(x)
    reversible_activation(x_activation)
    given, x = x, taken(x, x_of, w.shape[:-4])
    axes = grid_of(x, w, bias, stride, padding, dilation)
    check_places(dy, axes)
    dz = fused_activation(activation).backward(dy, y)
    stack = broadcast_stack((x, 4), (w, 4))
    padded = pad(x, axes)
    dx = xp.zeros(stack + padded.shape[-4:], x.dtype) if "x" in needs else None
    dw = xp.zeros(stack + w.shape[-4:], w.dtype) if "w" in needs else None
    for r, s, pixels in taps(axes):
        if dx is not None:
            dx[pixels] += xp.einsum("...npqk,...kc->...npqc", dz, w[..., r, s, :])
        if dw is not None:
            dw[..., r, s, :] = xp.einsum("...npqk,...npqc->...kc", dz, padded[pixels])
    if dx is not None:
        dx = sum_users(sum_to(unpad(dx, axes), x.shape), x_of, given.shape)
        dx = through(x_activation, dx, given)
    return (
        dx,
        None if dw is None else sum_to(dw, w.shape),
        sum_to(dz.sum(axis=(-4, -3, -2)), bias.shape)
        if bias is not None and "bias" in needs
        else None,
    )


def grid_of(
    x: Array, w: Array, bias: Array | None, stride: Pair, padding: Padding, dilation: Pair
) -> Grid:
    """Return the grid of places at which filters lie on images.

    Raises
    ------
    ValueError
        If the filters do not fit the images.
    """
    if x.ndim < 4 or w.ndim < 4 or x.shape[-1] != w.shape[-1]:
        raise ValueError(
            f"images of shape {x.shape} do not fit filters of shape {w.shape}: expected "
            "(..., N, H, W, C) and (..., K, R, S, C) with the same number of channels C"
        )
    if bias is not None and bias.shape[-1:] != w.shape[-4:-3]:
        raise ValueError(
            f"a bias of shape {bias.shape} does not fit filters of shape {w.shape}: expected "
            f"(..., {w.shape[-4]}), one number a filter"
        )
    window = (w.shape[-3], w.shape[-2])
    return grid(x.shape[-3:-1], window, stride=stride, padding=padding, dilation=dilation)
