"""Layers of filters: convolution, and own filters at each place of an image."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from cukernels import (
    conv2d,
    conv2d_backward,
    conv2d_max_pool,
    conv2d_max_pool_backward,
    local2d,
    local2d_backward,
)
from cukernels.activations import ACTIVATIONS
from cukernels.images import Grid, Padding, Pair, of_filter_gradients, pair
from cukernels.pooling import MOST_TAPS
from cukernels.runtime import Array
from estimators.layers.fields import Fields, seen_through
from estimators.layers.image_windows import windows_over
from estimators.layers.layer import (
    Backward,
    Examples,
    Graph,
    Layer,
    Mode,
    Parameter,
    Parameters,
    Shape,
    Weighted,
    check_activation,
    check_positive,
    told_of,
)
from estimators.layers.made import Made, StepSize
from estimators.layers.pooling import MaxPool2D
from estimators.layers.window_nodes import add_windows, add_with_channels_first
from estimators.shared.rows import SharedRows

# these are public in `estimators`
__all__ = ["Conv2D", "LocallyConnected2D"]


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
        return windows_over(self, shape, self.kernel_size, **self.geometry)

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

    is_divided = shares_input = is_recorded = True

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

    def joined(self, after: Layer) -> Layer | None:
        if type(self) is not Conv2D or type(after) is not MaxPool2D:  # others may compute otherwise
            return None
        commute = ACTIVATIONS[self.activation].never_decreases and after.is_side_by_side
        if not commute or after.n_taps > MOST_TAPS:
            return None
        return PooledConv2D(**vars(self), pool_size=after.pool_size)

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
class PooledConv2D(Conv2D):
    """A convolution and the maximum pooling after it, whose windows lie side by side.

    A network makes it of the two, and computes with it in their place; see `conv2d_max_pool`. The
    activation never decreases.
    """

    pool_size: Pair = 2

    @property
    def pooling(self) -> MaxPool2D:
        """The second of the two."""
        return MaxPool2D(self.pool_size)

    def output_shape(self, shape: Shape) -> Shape:
        return self.pooling.output_shape(super().output_shape(shape))

    def forward(self, p: Parameters, x: Array, mode: Mode) -> tuple[Array, Backward]:
        x, group = x if isinstance(x, SharedRows) else (x, None)
        more = self.geometry | {"pool_size": self.pool_size}
        y, places = conv2d_max_pool(
            x, p["w"], p["bias"], **more, activation=self.activation, **told_of("x", group)
        )

        def backward(
            dy: Array, g: Parameters, through: str | None, is_before: bool = False
        ) -> Array | None:
            dx, *_ = conv2d_max_pool_backward(  # type: ignore[call-arg]
                dy, x, p["w"], p["bias"], y, places, **more,
                activation="identity" if is_before else self.activation,
                needs=_needs(through), **told_of("x", group, through), out=g,
            )  # fmt: skip
            return dx

        return y, backward

    def made(self, shape: Shape, size: StepSize) -> Made:
        responses = size.bytes(super().output_shape(shape))
        places = size.bytes(self.output_shape(shape)) // size.itemsize
        alone = super().made(shape, size)  # what belongs to the output is smaller by the pooling
        return alone._replace(
            kept=(places,), forward=(responses,), backward=(*alone.backward, responses)
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


def _needs(through: str | None) -> tuple[str, ...]:
    """The gradients that a backward computes, for what it goes through."""
    return ("w", "bias") if through is None else ("x", "w", "bias")
