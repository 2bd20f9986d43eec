"""Layers that pool images: one value for each window, or for the whole image."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from cukernels import avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward
from cukernels.images import Grid, Padding, Pair, pair
from cukernels.runtime import Array
from estimators.layers.fields import Fields, seen_through
from estimators.layers.image_windows import checked_image, windows_over
from estimators.layers.layer import (
    Backward,
    Examples,
    Graph,
    Layer,
    Mode,
    Parameters,
    Rows,
    Shape,
    check_positive,
    told_of,
)
from estimators.layers.made import Made, StepSize
from estimators.layers.window_nodes import add_taps, add_with_channels_first

# these are public in `estimators`
__all__ = ["AvgPool2D", "GlobalAvgPool2D", "MaxPool2D"]


@dataclass(frozen=True)
class Pooling(Layer):
    """One value for each window of an image; the fields are those of `MaxPool2D`."""

    pool_size: Pair = 2
    stride: Pair | None = None
    padding: Padding = 0
    rows = Rows.ALONE
    goes_through = is_recorded = True
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
        return windows_over(
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

    @property
    def n_taps(self) -> int:
        """The pixels of a window."""
        return prod(pair(self.pool_size, "pool_size"))

    @property
    def is_side_by_side(self) -> bool:
        """Whether windows cover the image without gaps or padding, and share no pixel."""
        size = pair(self.pool_size, "pool_size")
        stride = size if self.stride is None else pair(self.stride, "stride")
        is_padded = self.padding not in (0, "valid", (0, 0), [0, 0])
        return stride == size and not is_padded

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
    is_recorded = True
    kind = "pooling"

    @classmethod
    def examples(cls) -> Examples:
        return [(cls(), (4, 5, 3)), (cls(), (1, 6, 2)), (cls(), (1, 1, 1))]

    def output_shape(self, shape: Shape) -> Shape:
        return checked_image(self, shape)[2:]

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
