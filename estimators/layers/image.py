"""Layers of images: convolution, own filters at each place, and pooling."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

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
from cukernels.images import Grid, Padding, Pair, grid, of_filter_gradients, pair
from cukernels.runtime import Array
from estimators.layers.fields import Fields, seen_through
from estimators.layers.layer import (
    Backward,
    Examples,
    Graph,
    Layer,
    Mode,
    Parameter,
    Parameters,
    Rows,
    Shape,
    Weighted,
    check_activation,
    check_positive,
    told_of,
)
from estimators.layers.made import Made, StepSize
from estimators.layers.window_nodes import add_taps, add_windows, add_with_channels_first
from estimators.shared.rows import SharedRows

# these are public in `estimators`
__all__ = ["AvgPool2D", "Conv2D", "GlobalAvgPool2D", "LocallyConnected2D", "MaxPool2D"]


@dataclass(frozen=True)
class Filters(Weighted):
    """Filters that look through windows at an image; the fields are those of `Conv2D`."""

    filters: int
    kernel_size: Pair = 3
    stride: Pair = 1
    padding: Padding = "same"
    dilation: Pair = 1
    activation: str = "relu"
    kind = "convolution"

    def __post_init__(self) -> None:
        check_positive(self, "filters", "kernel_size", "stride", "dilation")
        check_activation(self.activation)

    @classmethod
    def examples(cls) -> Examples:
        return [
            (cls(3), (5, 4, 2)),
            (cls(2, (3, 2), stride=(2, 1), padding="same", activation="silu"), (6, 5, 2)),
            (cls(3, 2, dilation=2, padding=(1, 0), activation="tanh"), (6, 5, 1)),
            (cls(2, 3, padding="valid", activation="identity"), (5, 7, 3)),
        ]

    @property
    def geometry(self) -> dict[str, Any]:
        """Keyword arguments of the op."""
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}

    def windows(self, shape: Shape) -> Grid:
        """The windows that the filters lay over an image."""
        return _windows(self, shape, self.kernel_size, **self.geometry)

    def output_shape(self, shape: Shape) -> Shape:
        return (*(axis.places for axis in self.windows(shape)), self.filters)

    def sees(self, seen: Fields, shape: Shape) -> Fields | None:
        return seen_through(self.windows(shape), seen)

    def fans(self, shape: Shape) -> tuple[int, int]:
        taps = prod(pair(self.kernel_size, "kernel_size"))
        return taps * shape[2], taps * self.filters


@dataclass(frozen=True)
class Conv2D(Filters):
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

    is_divided = shares_input = True

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        taps = pair(self.kernel_size, "kernel_size")
        w = Parameter((self.filters, *taps, shape[2]), is_decayed=True)
        return {"w": w, "bias": Parameter((self.filters,))}

    def product(self, p: Parameters, x: Array, activation: str) -> Array:
        x, group = x if isinstance(x, SharedRows) else (x, None)
        more = self.geometry | told_of("x", group)
        return conv2d(x, p["w"], p["bias"], **more, activation=activation)

    def product_backward(
        self, dy: Array, p: Parameters, x: Array, y: Array, activation: str, through: str | None,
        g: Parameters,
    ) -> Array | None:  # fmt: skip
        x, group = x if isinstance(x, SharedRows) else (x, None)
        dx, *_ = conv2d_backward(  # type: ignore[call-arg]
            dy, x, p["w"], p["bias"], y, **self.geometry, activation=activation,
            needs=_needs(through), **told_of("x", group, through), out=g,
        )  # fmt: skip
        return dx

    def sums_of_gradients(self, shape: Shape, size: StepSize) -> tuple[int, ...]:
        is_summed = self.activation != "identity" and not size.is_before  # with the slope
        parts = of_filter_gradients(
            size.rows, shape[2], self.filters, self.windows(shape), size.models, size.dtype,
            size.device, needs_bias=not is_summed,
        )  # fmt: skip
        return (parts,) if parts else ()

    def write_product(self, graph: Graph, p: Parameters, x: str, shape: Shape) -> str:
        axes, bias = self.windows(shape), graph.constant(p["bias"])
        if graph.dtype != np.float32:  # onnxruntime has no other convolutions
            filters = graph.constant(p["w"].reshape(len(p["w"]), -1).T)
            return graph.add("Add", graph.add("MatMul", add_windows(graph, x, axes), filters), bias)
        filters = graph.constant(p["w"].transpose(0, 3, 1, 2))  # KRSC to KCRS
        dilations = [axis.dilation for axis in axes]
        return add_with_channels_first(
            graph, "Conv", x, filters, bias, axes=axes, dilations=dilations
        )


@dataclass(frozen=True)
class LocallyConnected2D(Filters):
    """Filters as in `Conv2D`, but each place of the image has its own."""

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        (*places, k), taps = self.output_shape(shape), pair(self.kernel_size, "kernel_size")
        w = Parameter((*places, k, *taps, shape[2]), is_decayed=True)
        return {"w": w, "bias": Parameter((*places, k))}

    def product(self, p: Parameters, x: Array, activation: str) -> Array:
        return local2d(x, p["w"], p["bias"], **self.geometry, activation=activation)

    def product_backward(
        self, dy: Array, p: Parameters, x: Array, y: Array, activation: str, through: str | None,
        g: Parameters,
    ) -> Array | None:  # fmt: skip
        dx, *_ = local2d_backward(  # type: ignore[call-arg]
            dy, x, p["w"], p["bias"], y, **self.geometry, activation=activation,
            needs=_needs(through), **told_of("x", None, through), out=g,
        )  # fmt: skip
        return dx

    def write_product(self, graph: Graph, p: Parameters, x: str, shape: Shape) -> str:
        weights = graph.constant(p["w"].reshape(*p["w"].shape[:3], -1))
        seen = add_windows(graph, x, self.windows(shape))
        product = graph.add("Einsum", seen, weights, equation="npqd,pqkd->npqk")
        return graph.add("Add", product, graph.constant(p["bias"]))


@dataclass(frozen=True)
class Pooling(Layer):
    """One value for each window of an image; the fields are those of `MaxPool2D`."""

    pool_size: Pair = 2
    stride: Pair | None = None
    padding: Padding = 0
    rows = Rows.ALONE
    goes_through = True
    kind = "pooling"

    def __post_init__(self) -> None:
        check_positive(self, "pool_size", "stride")

    @classmethod
    def examples(cls) -> Examples:
        return [
            (cls(), (5, 6, 2)),
            (cls(3, stride=2, padding=1), (6, 7, 1)),
            (cls((2, 3), stride=1, padding="same"), (5, 4, 2)),
        ]

    @property
    def geometry(self) -> dict[str, Any]:
        """Keyword arguments of the op."""
        return {"pool_size": self.pool_size, "stride": self.stride, "padding": self.padding}

    def windows(self, shape: Shape) -> Grid:
        """The windows that are pooled."""
        stride = self.pool_size if self.stride is None else self.stride
        return _windows(
            self, shape, self.pool_size, stride=stride, padding=self.padding, name="pool_size"
        )

    def output_shape(self, shape: Shape) -> Shape:
        return (*(axis.places for axis in self.windows(shape)), shape[2])

    def sees(self, seen: Fields, shape: Shape) -> Fields | None:
        return seen_through(self.windows(shape), seen)


@dataclass(frozen=True)
class MaxPool2D(Pooling):
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

    def forward(self, p: Parameters, x: Array, mode: Mode) -> tuple[Array, Backward]:
        y = max_pool2d(x, **self.geometry)

        def backward(dy: Array, g: Parameters, through: str | None) -> Array:
            return max_pool2d_backward(dy, x, y, **self.geometry | told_of("x", None, through))

        return y, backward

    def made(self, shape: Shape, size: StepSize) -> Made:
        return Made(size.gradient(shape), holds_output=True)

    def write_onnx(self, graph: Graph, p: Parameters, x: str, shape: Shape) -> str:
        axes = self.windows(shape)
        sizes = [axis.taps for axis in axes]
        return add_with_channels_first(graph, "MaxPool", x, axes=axes, kernel_shape=sizes)


@dataclass(frozen=True)
class AvgPool2D(Pooling):
    """The mean of each window; parameters as in `MaxPool2D`, padded places count as zeros."""

    def forward(self, p: Parameters, x: Array, mode: Mode) -> tuple[Array, Backward]:
        y = avg_pool2d(x, **self.geometry)

        def backward(dy: Array, g: Parameters, through: str | None) -> Array:
            return avg_pool2d_backward(dy, x, **self.geometry | told_of("x", None, through))

        return y, backward

    def write_onnx(self, graph: Graph, p: Parameters, x: str, shape: Shape) -> str:
        axes = self.windows(shape)
        if graph.dtype != np.float32:  # onnxruntime has no other averages
            taps = add_taps(graph, x, axes)
            return graph.add("Mul", graph.add("Sum", *taps), graph.constant(1 / len(taps)))
        sizes = [axis.taps for axis in axes]
        return add_with_channels_first(
            graph, "AveragePool", x, axes=axes, kernel_shape=sizes, count_include_pad=1
        )


@dataclass(frozen=True)
class GlobalAvgPool2D(Layer):
    """The mean of each channel over the whole image (Lin, Chen and Yan, arXiv:1312.4400).

    Images of shape (H, W, C) become rows of C values, whatever H and W are.
    """

    rows = Rows.ALONE
    kind = "pooling"

    @classmethod
    def examples(cls) -> Examples:
        return [(cls(), (4, 5, 3)), (cls(), (1, 6, 2)), (cls(), (1, 1, 1))]

    def output_shape(self, shape: Shape) -> Shape:
        return _image(self, shape)[2:]

    def sees(self, seen: Fields, shape: Shape) -> Fields | None:
        return None

    def forward(self, p: Parameters, x: Array, mode: Mode) -> tuple[Array, Backward]:
        # The means of columns, and then of these: a window as large as the image has so many taps
        # that a CPU, which adds them one by one, takes 15 times as long.
        *stack, h, w, c = x.shape
        middle = avg_pool2d(x, pool_size=(h, 1))
        y = avg_pool2d(middle, pool_size=(1, w)).reshape(*stack, c)

        def backward(dy: Array, g: Parameters, through: str | None) -> Array:
            dy = dy.reshape(*dy.shape[:2], 1, 1, c)
            d_middle = avg_pool2d_backward(dy, middle, pool_size=(1, w))
            return avg_pool2d_backward(d_middle, x, pool_size=(h, 1))

        return y, backward

    def made(self, shape: Shape, size: StepSize) -> Made:
        middle = size.bytes(shape[1:])
        return Made(size.gradient(shape), kept=(middle,), backward=(middle,))

    def write_onnx(self, graph: Graph, p: Parameters, x: str, shape: Shape) -> str:
        return graph.add("ReduceMean", x, graph.constant(np.array([1, 2])), keepdims=0)


def _needs(through: str | None) -> tuple[str, ...]:
    """The gradients that a backward computes, for what it goes through."""
    return ("w", "bias") if through is None else ("x", "w", "bias")


def _image(layer: Layer, shape: Shape) -> Shape:
    if len(shape) != 3:
        raise ValueError(
            f"{layer} needs images of shape (height, width, channels), but the layer before it "
            f"gives {shape}. Put it before the Dense layers."
        )
    return shape


def _windows(layer: Layer, shape: Shape, window: Pair, **geometry: Any) -> Grid:
    """Lay the windows of a layer over an image; an error names the layer."""
    h, w, _ = _image(layer, shape)
    try:
        return grid((h, w), window, **geometry)
    except ValueError as error:
        raise ValueError(f"{layer}: {error}") from None
