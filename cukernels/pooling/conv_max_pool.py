"""A convolution and the largest response of each window, without the responses between them.

The responses of filters are the largest array of a small network, and nobody wants them but the
pooling after them. Both in one op, they go no further than the cache: what is kept for the way back
is which response of each window was the largest, in a byte.

An activation that never decreases can wait until after the maximum, ``max f(z) = f(max z)``, where
there are fewer numbers. For "relu" and "identity" this changes no bit, in the gradient either. What
is compared are the responses with their bias. A window of which one is above 0 has the same largest
ones before the rectifier and after it, so the gradient goes to the same place; if none is, the
slope is 0 and no place gets any. Other activations may round different responses to the same
number. The gradient then goes to the response that was the largest before it was rounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.activations import ACTIVATIONS
from cukernels.activations.activation import Activation
from cukernels.activations.fused import reversible_activation
from cukernels.images.conv import conv2d, conv2d_backward
from cukernels.images.conv import grid_of as grid_of_filters
from cukernels.images.windows import Grid, Padding, Pair, check_places, pair, taps
from cukernels.pooling.pooling import grid_of
from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.dtypes import INTEGER, Kind
from cukernels.runtime.op import op

MOST_TAPS = 256  # of a window, as a byte counts them


def _convolutions(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    r = rng.standard_normal
    same = {"padding": "same", "activation": "relu"}
    yield {"x": r((2, 6, 8, 3)), "w": r((4, 3, 3, 3)), "bias": r(4)} | same
    yield {"x": r((2, 7, 9, 2)), "w": r((3, 3, 2, 2)), "stride": (1, 2), "pool_size": (2, 3)}
    yield {"x": r((2, 9, 7, 2)), "w": r((4, 3, 3, 2)), "bias": r(4), "pool_size": 3, "dilation": 2}
    yield {"x": r((2, 5, 4, 6)), "w": r((8, 1, 1, 6)), "bias": r(8), "activation": "tanh"}
    yield {"x": r((3, 2, 5, 5, 2)), "w": r((3, 4, 3, 3, 2)), "bias": r((3, 4))} | same
    yield {"x": r((1, 2, 6, 6, 2)), "w": r((3, 4, 3, 3, 2)), "bias": r((3, 4)), "padding": 1}
    yield {"x": r((2, 4, 4, 2)), "w": r((3, 4, 3, 3, 2)), "activation": "leaky_relu"}
    made = {"x": np.maximum(r((2, 2, 7, 6, 4)), 0), "x_activation": "relu"}
    yield made | {"w": r((2, 3, 2, 3, 4)), "bias": r((2, 3)), "activation": "elu"}
    made |= {"x_of": np.array([1, 0, 1])}
    yield made | {"w": r((3, 4, 3, 3, 4)), "bias": r((3, 4))} | same
    yield {"x": r((1, 1, 1, 1)), "w": r((1, 1, 1, 1)), "pool_size": 1, "activation": "softplus"}
    yield {"x": r((0, 5, 5, 2)), "w": r((3, 3, 3, 2)), "bias": r(3), "activation": "logistic"}
    yield {"x": r((2, 5, 5, 2)), "w": r((0, 3, 3, 2)), "bias": r(0)}
    yield {"x": r((70, 15, 14, 4)), "w": r((3, 5, 5, 4))} | same  # several chunks, a row left over


@op(samples=_convolutions, outputs=("y", "places"), kinds={"x_of": INTEGER})
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
    """Return the largest response of filters in each window of their places, side by side.

    The same as `conv2d` through the activation, and then `max_pool2d`. Rows and columns of
    responses that fill no window are dropped.

    Parameters
    ----------
    x, w, bias, stride, padding, dilation, x_activation, x_of
        As in `conv2d`.
    pool_size : int or (int, int), default=2
        Height and width of the windows, in places of the filters; together at most 256 places.
    activation : str, default="identity"
        One of `FUSED_ACTIVATIONS` that never decreases: "identity", "logistic", "tanh", "relu",
        "leaky_relu", "elu" or "softplus".

    Returns
    -------
    y : array of shape (..., N, P, Q, K)
    places : uint8 array of shape (..., N, P, Q, K)
        The place of the largest response in its window, in row-major order; the first, if several
        are equal.

    Raises
    ------
    ValueError
        If filters do not fit the images, or windows the places; if a window has more than 256
        places; if the activation may decrease; if no gradient can go through `x_activation`; or if
        `x_of` does not fit.
    """
    function = non_decreasing(activation)
    z = conv2d(
        x, w, bias, stride=stride, padding=padding, dilation=dilation, x_activation=x_activation,
        x_of=x_of,
    )  # fmt: skip
    axes = pooled_grid(z.shape[-3:-1], pool_size)
    seen = namespace(z).stack([z[pixels] for _, _, pixels in taps(axes)])
    return function.forward(seen.max(axis=0)), seen.argmax(axis=0).astype(np.uint8)


@op(gradients=("x", "w", "bias"), kinds={"places": Kind("B", "a uint8 array")})
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
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of `conv2d_max_pool` in its images, filters and biases.

    Parameters
    ----------
    dy, y, places : arrays of shape (..., N, P, Q, K)
        Gradient in the output, and what `conv2d_max_pool` returned.
    x, w, bias, stride, padding, dilation, pool_size, activation, x_activation, x_of
        As given to `conv2d_max_pool`.
    needs : tuple of str, default=("x", "w", "bias")
        The gradients to compute.

    Returns
    -------
    dx, dw, dbias : arrays of the shapes of `x`, `w`, `bias`, or None where not needed
    """
    filters, axes = grids(x, w, bias, stride, padding, dilation, pool_size)
    check_places(dy, axes)
    slope = non_decreasing(activation).backward(dy, y)
    rows, columns = (axis.places for axis in filters)
    dz = namespace(x).zeros((*y.shape[:-3], rows, columns, y.shape[-1]), x.dtype)
    for number, (_, _, pixels) in enumerate(taps(axes)):
        dz[pixels] = slope * (places == number)
    return conv2d_backward(
        dz, x, w, bias, dz, stride=stride, padding=padding, dilation=dilation,
        x_activation=x_activation, x_of=x_of, needs=needs,
    )  # fmt: skip


def non_decreasing(name: str) -> Activation:
    """Return an activation that commutes with the maximum.

    Raises
    ------
    ValueError
        If it may decrease, or reads more than its output on the way back.
    """
    if not (name in ACTIVATIONS and ACTIVATIONS[name].never_decreases):
        known = [known for known, a in ACTIVATIONS.items() if a.never_decreases]
        raise ValueError(
            f"activation {name!r} cannot wait until after the maximum, for which it must never "
            f"decrease: expected one of {known}"
        )
    return reversible_activation(name)


def pooled_grid(shape: tuple[int, ...], pool_size: Pair) -> Grid:
    """Return the grid of windows that lie side by side over (rows, columns) of places.

    Raises
    ------
    ValueError
        If a window does not fit, or has too many places.
    """
    rows, columns = pair(pool_size, "pool_size")
    if rows * columns > MOST_TAPS:
        raise ValueError(
            f"pool_size {pool_size!r} makes windows of {rows * columns} places, and at most "
            f"{MOST_TAPS} are possible: pool the output of conv2d by max_pool2d instead"
        )
    return grid_of((*shape, 1), pool_size, None, 0)


def grids(
    x: Array, w: Array, bias: Array | None, stride: Pair, padding: Padding, dilation: Pair,
    pool_size: Pair,
) -> tuple[Grid, Grid]:  # fmt: skip
    """Return the grid of places at which filters lie on images, and that of windows over these."""
    filters = grid_of_filters(x, w, bias, stride, padding, dilation)
    return filters, pooled_grid(tuple(axis.places for axis in filters), pool_size)
