"""Layers that normalise what goes through them, over the batch or within a row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cukernels import (
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    batch_norm_inference_backward,
    running_mean,
)
from cukernels.runtime import Array
from estimators.layers.layer import (
    Backward,
    Elementwise,
    Graph,
    Mode,
    Parameter,
    Parameters,
    Rows,
    Shape,
)

__all__ = ["BatchNorm"]  # these are public in `estimators`


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
    attribute = "batch_norms_"

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

        def backward(dy: Array, g: Parameters, needs_input: bool) -> Array:
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

    def write_onnx(self, graph: Graph, p: Parameters, x: str, shape: Shape) -> str:
        scale = p["gamma"] / np.sqrt(p["variance"] + self.epsilon)
        shift = p["beta"] - p["mean"] * scale
        return graph.add("Add", graph.add("Mul", x, graph.constant(scale)), graph.constant(shift))
