"""Layers of images: convolution, own filters at each place, and pooling."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from cukernels import (
    avg_pool2d,
    avg_pool2d_backward,
    conv2d,
    conv2d_backward,
    local2d,
    local2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from cukernels.images import Grid, Padding, Pair, grid, pair
from cukernels.runtime import Array
from estimators.layers.dense import (
    Backward,
    Layer,
    Mode,
    Parameters,
    Shape,
    Weighted,
    check_activation,
    check_positive,
)


@dataclass(frozen=True)
class Conv2D(Weighted):
    """The same filters at every place of an image.

    Parameters
    ----------
    filters : int
        Number of filters K, the channels of the output.
    kernel_size : int or (int, int), default=3
        Height and width of the filters, in pixels.
    stride : int or (int, int), default=1
        Pixels from one place to the next.
    padding : int, (int, int), "same" or "valid", default="same"
        Rows and columns of zeros around the image; "same" keeps its size at stride 1.
    dilation : int or (int, int), default=1
        Pixels from one tap of a filter to the next.
    activation : str, default="relu"
        Any name of `cukernels.activations.ACTIVATIONS`.
    """

    filters: int
    kernel_size: Pair = 3
    stride: Pair = 1
    padding: Padding = "same"
    dilation: Pair = 1
    activation: str = "relu"

    def __post_init__(self) -> None:
        check_positive(self, "filters", "kernel_size", "stride", "dilation")
        check_activation(self.activation)

    @property
    def geometry(self) -> dict[str, Any]:
        """Keyword arguments of the op."""
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}

    def output_shape(self, shape: Shape) -> Shape:
        h, w, _ = _image(self, shape)
        axes = _fitted(self, (h, w), self.kernel_size, **self.geometry)
        return (*(axis.places for axis in axes), self.filters)

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        return {
            "w": (self.filters, *pair(self.kernel_size, "kernel_size"), shape[2]),
            "bias": (self.filters,),
        }

    def fans(self, shape: Shape) -> tuple[int, int]:
        taps = prod(pair(self.kernel_size, "kernel_size"))
        return taps * shape[2], taps * self.filters

    def product(self, p: Parameters, x: Array, activation: str) -> Array:
        return conv2d(x, p["w"], p["bias"], **self.geometry, activation=activation)

    def product_backward(
        self, dy: Array, p: Parameters, x: Array, y: Array, activation: str, needs: tuple[str, ...],
        g: Parameters,
    ) -> Array | None:  # fmt: skip
        dx, *_ = conv2d_backward(  # type: ignore[call-arg]
            dy, x, p["w"], p["bias"], y, **self.geometry, activation=activation, needs=needs, out=g
        )
        return dx


@dataclass(frozen=True)
class LocallyConnected2D(Conv2D):
    """Filters as in `Conv2D`, but each place of the image has its own."""

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        places = self.output_shape(shape)[:2]
        return {name: (*places, *s) for name, s in super().parameter_shapes(shape).items()}

    def product(self, p: Parameters, x: Array, activation: str) -> Array:
        return local2d(x, p["w"], p["bias"], **self.geometry, activation=activation)

    def product_backward(
        self, dy: Array, p: Parameters, x: Array, y: Array, activation: str, needs: tuple[str, ...],
        g: Parameters,
    ) -> Array | None:  # fmt: skip
        dx, *_ = local2d_backward(  # type: ignore[call-arg]
            dy, x, p["w"], p["bias"], y, **self.geometry, activation=activation, needs=needs, out=g
        )
        return dx


@dataclass(frozen=True)
class MaxPool2D(Layer):
    """The largest value of each window.

    Parameters
    ----------
    pool_size : int or (int, int), default=2
        Height and width of the windows, in pixels.
    stride : int, (int, int) or None, default=None
        Pixels from one window to the next; None: windows side by side.
    padding : int, (int, int), "same" or "valid", default=0
        Rows and columns around the image, which never hold the maximum.
    """

    pool_size: Pair = 2
    stride: Pair | None = None
    padding: Padding = 0

    def __post_init__(self) -> None:
        check_positive(self, "pool_size", "stride")

    @property
    def geometry(self) -> dict[str, Any]:
        """Keyword arguments of the op."""
        return {"pool_size": self.pool_size, "stride": self.stride, "padding": self.padding}

    def output_shape(self, shape: Shape) -> Shape:
        h, w, c = _image(self, shape)
        stride = self.pool_size if self.stride is None else self.stride
        axes = _fitted(
            self, (h, w), self.pool_size, stride=stride, padding=self.padding, name="pool_size"
        )
        return (*(axis.places for axis in axes), c)

    def forward(self, p: Parameters, x: Array, mode: Mode) -> tuple[Array, Backward]:
        y = max_pool2d(x, **self.geometry)
        return y, lambda dy, g, needs: max_pool2d_backward(dy, x, y, **self.geometry)


@dataclass(frozen=True)
class AvgPool2D(MaxPool2D):
    """The mean of each window; parameters as in `MaxPool2D`, padded places count as zeros."""

    def forward(self, p: Parameters, x: Array, mode: Mode) -> tuple[Array, Backward]:
        y = avg_pool2d(x, **self.geometry)
        return y, lambda dy, g, needs: avg_pool2d_backward(dy, x, **self.geometry)


def _image(layer: Layer, shape: Shape) -> Shape:
    if len(shape) != 3:
        raise ValueError(
            f"{layer} needs images of shape (height, width, channels), but the layer before it "
            f"gives {shape}. Put it before the Dense layers."
        )
    return shape


def _fitted(layer: Layer, shape: Shape, window: Pair, **geometry: Any) -> Grid:
    """Lay the windows of a layer over an image; an error names the layer."""
    try:
        return grid(shape, window, **geometry)
    except ValueError as error:
        raise ValueError(f"{layer}: {error}") from None
