"""How wide the first weights of a layer are drawn.

Glorot and Bengio (AISTATS 2010) drew the weights of a layer as wide as its numbers of inputs and
outputs allow, for activations that are bounded and have slope 1 at 0, like tanh. He et al. (ICCV
2015) saw that rectifiers halve what goes through them, layer after layer, unless the variance of
the weights of `n` inputs is 2 / n. The same argument serves every activation `f` that is not
bounded. Values of mean square 1 go in. Weights of variance ``v / n`` make normal values of variance
`v` of them. The right `v` is the one for which `f` of these has mean square 1 again. It is
2 / (1 + slope**2) for the leaky rectifier (He et al., equation 15), and 1 without an activation
(LeCun et al., Efficient BackProp, 1998).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from cukernels.activations import ACTIVATIONS
from estimators.layers.layer import Shape, Weighted

# Called with the layer, the shape of its samples, the activation of its outputs, and the generator.
Draw = Callable[[Weighted, Shape, str, np.random.RandomState], dict[str, np.ndarray]]

_LARGEST = 16.0  # the largest variance that is tried; that of a rectifier is 2


def draw_as_scikit_learn(
    layer: Weighted, shape: Shape, activation: str, rng: np.random.RandomState
) -> dict[str, np.ndarray]:
    """Draw weights and biases as scikit-learn does, by equation 16 of Glorot and Bengio."""
    factor = 2.0 if layer.drawn_for() == "logistic" else 6.0
    bound = np.sqrt(factor / sum(layer.fans(shape)))
    parameters = layer.parameters(shape)
    return {name: rng.uniform(-bound, bound, p.shape) for name, p in parameters.items()}


def draw_for_activation(
    layer: Weighted, shape: Shape, activation: str, rng: np.random.RandomState
) -> dict[str, np.ndarray]:
    """Draw uniform weights, as wide as the activation needs them, and biases of 0."""
    fans, variance = layer.fans(shape), variance_for(activation)
    if variance is None:
        bound = np.sqrt(6 / sum(fans)) / slope_at_0(activation)
    else:
        bound = np.sqrt(3 * variance / fans[0])
    w, bias = (layer.parameters(shape)[name] for name in ("w", "bias"))
    return {"w": rng.uniform(-bound, bound, w.shape), "bias": np.zeros(bias.shape)}


@cache
def variance_for(activation: str) -> float | None:
    """Return the variance of normal values for which an activation has the mean square 1.

    It is None for activations that never reach it (tanh, logistic) and for those of all units at
    once (softmax). They get the weights of Glorot and Bengio.
    """
    if ACTIVATIONS[activation].of_rows:
        return None
    f, z = ACTIVATIONS[activation].forward, np.linspace(-12, 12, 12001)
    density = np.exp(-z * z / 2) / np.exp(-z * z / 2).sum()

    def mean_square(variance: float) -> float:
        return float((density * f(np.sqrt(variance) * z) ** 2).sum())

    if mean_square(_LARGEST) < 1:
        return None
    low, high = 0.0, _LARGEST
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if mean_square(middle) < 1 else (low, middle)
    return round(high, 4)  # so that it is the same on every processor


@cache
def slope_at_0(activation: str) -> float:
    """Return the slope of an activation at 0, or 1 if the activation is of all units at once."""
    if ACTIVATIONS[activation].of_rows:
        return 1.0
    below, above = ACTIVATIONS[activation].forward(np.array([-1e-3, 1e-3]))
    return round(float(above - below) / 2e-3, 4)
