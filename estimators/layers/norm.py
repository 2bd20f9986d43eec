"""Layers that normalise what goes through them, over the batch or within a row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cukernels import (
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    batch_norm_inference_backward,
    layer_norm,
    layer_norm_backward,
    running_mean,
)
from cukernels.runtime import Array
from estimators.layers.fields import Fields
from estimators.layers.layer import (
    Backward,
    Elementwise,
    Examples,
    Graph,
    Mode,
    Parameter,
    Parameters,
    Rows,
    Shape,
)
from estimators.layers.made import Made, StepSize

__all__ = ["BatchNorm", "LayerNorm"]  # these are public in `estimators`


@dataclass(frozen=True)
class BatchNorm(Elementwise):
    """Normalise each channel over the batch (Ioffe and Szegedy, arXiv:1502.03167).

    Prediction uses running means of the statistics of the training batches.

    Parameters
    ----------
    momentum : float, default=0.1
        Weight of a new batch in the running means.
    epsilon : float, default=1e-5
        Added to the variance.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5
    rows = Rows.TOGETHER
    normalises = True
    kind = "normalization"
    is_recorded = True
    attribute = "batch_norms_"

    @classmethod
    def examples(cls) -> Examples:
        return [(cls(), (6,)), (cls(momentum=0.3, epsilon=1e-3), (4, 5, 2))]

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        channels = shape[-1:]
        return {
            "gamma": Parameter(channels, 1.0),
            "beta": Parameter(channels, 0.0),
            "mean": Parameter(channels, 0.0, is_learned=False),
            "variance": Parameter(channels, 1.0, is_learned=False),
        }

    def forward(self, p: Parameters, x: Array, mode: Mode) -> tuple[Array, Backward]:
        gamma, epsilon = p["gamma"], self.epsilon
        if mode.training:
            y, mean, variance = batch_norm(x, gamma, p["beta"], mode.sample_weight, epsilon=epsilon)
            for name, new in (("mean", mean), ("variance", variance)):
                running_mean(p[name], new, share=self.momentum)
        else:
            y = batch_norm_inference(x, gamma, p["beta"], p["mean"], p["variance"], epsilon=epsilon)

        def backward(dy: Array, g: Parameters, through: str | None) -> Array:
            if mode.training:
                dx, *_ = batch_norm_backward(  # type: ignore[call-arg]
                    dy, x, gamma, mode.sample_weight, mean, variance, epsilon=epsilon, out=g
                )
            else:
                dx, *_ = batch_norm_inference_backward(  # type: ignore[call-arg]
                    dy, x, gamma, p["mean"], p["variance"], epsilon=epsilon, out=g
                )
            return dx

        return y, backward

    def made(self, shape: Shape, size: StepSize) -> Made:
        statistics = size.models * shape[-1] * size.itemsize
        return Made(size.bytes(shape), kept=(statistics, statistics))

    def write_onnx(self, graph: Graph, p: Parameters, x: str, shape: Shape) -> str:
        scale = p["gamma"] / np.sqrt(p["variance"] + self.epsilon)
        shift = p["beta"] - p["mean"] * scale
        return graph.add("Add", graph.add("Mul", x, graph.constant(scale)), graph.constant(shift))


@dataclass(frozen=True)
class LayerNorm(Elementwise):
    """Normalise each sample over its units (Ba, Kiros and Hinton, arXiv:1607.06450).

    Of an image each place is normalised over its channels, as in ConvNeXt (Liu et al.,
    arXiv:2201.03545): the layer does not depend on the size of images, and a place sees what it saw
    before. It does the same in training and in prediction, and to a row whatever its batch is.

    Parameters
    ----------
    epsilon : float, default=1e-5
        Added to the variance.
    """

    epsilon: float = 1e-5
    rows = Rows.ALONE
    normalises = True
    kind = "normalization"
    is_recorded = True
    attribute = "layer_norms_"

    @classmethod
    def examples(cls) -> Examples:
        return [(cls(), (6,)), (cls(epsilon=1e-3), (4, 5, 3))]

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        return {"gamma": Parameter(shape[-1:], 1.0), "beta": Parameter(shape[-1:], 0.0)}

    def sees(self, seen: Fields, shape: Shape) -> Fields | None:
        return seen if len(shape) > 1 else None

    def forward(self, p: Parameters, x: Array, mode: Mode) -> tuple[Array, Backward]:
        gamma, beta, epsilon = p["gamma"], p["beta"], self.epsilon

        def backward(dy: Array, g: Parameters, through: str | None) -> Array:
            dx, *_ = layer_norm_backward(  # type: ignore[call-arg]
                dy, x, gamma, beta, epsilon=epsilon, out=g
            )
            return dx

        return layer_norm(x, gamma, beta, epsilon=epsilon), backward

    def made(self, shape: Shape, size: StepSize) -> Made:
        return Made(size.bytes(shape), backward=(size.bytes(shape),))

    def write_onnx(self, graph: Graph, p: Parameters, x: str, shape: Shape) -> str:
        scale, shift = graph.constant(p["gamma"]), graph.constant(p["beta"])
        if graph.dtype == np.float32:
            return graph.add("LayerNormalization", x, scale, shift, axis=-1, epsilon=self.epsilon)

        last = graph.constant(np.array([-1]))  # that operator keeps its epsilon in float32
        centred = graph.add("Sub", x, graph.add("ReduceMean", x, last))
        variance = graph.add("ReduceMean", graph.add("Mul", centred, centred), last)
        raised = graph.add("Add", variance, graph.constant(self.epsilon))
        normal = graph.add("Div", centred, graph.add("Sqrt", raised))
        return graph.add("Add", graph.add("Mul", normal, scale), shift)
