"""The layers of a network: each says what it makes of a shape, and runs forward and backward.

A layer is a description (frozen, so it can be searched over, cloned and pickled). It holds no
weights: `forward` is given those of a stack of M models, as arrays of shape (M, ...), and images or
rows of shape (M or 1, B, ...). It returns its output and a closure that runs the layer backward;
what that needs to remember lives in the closure and dies with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from cukernels import (
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    batch_norm_inference_backward,
    csr_matmul,
    csr_matmul_backward,
    dropout,
    dropout_backward,
    matmul,
    matmul_backward,
    running_mean,
)
from cukernels.activations import ACTIVATIONS
from cukernels.runtime import Array

Shape = tuple[int, ...]
Parameters = dict[str, Array]
Backward = Callable[[Array, Parameters, bool], Array]  # dy, gradients to fill, want dx


class Mode(NamedTuple):
    """How a forward pass is meant: to train, with what is random in it, or to predict."""

    training: bool = False
    sample_weight: Array | None = None  # (M, B)
    step: Array | None = None  # (M,)


class SparseRows(NamedTuple):
    """Rows of a CSR matrix, those of each model of the stack after those of the one before."""

    data: Array
    indices: Array
    indptr: Array


class Layer:
    """A layer without weights and without a change of shape, until a subclass says otherwise."""

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of one sample after the layer; ValueError where the layer cannot take `shape`."""
        return shape

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Names and shapes of the parameters of one model; the L2 penalty concerns "w"."""
        return {}

    def init(self, shape: Shape) -> dict[str, np.ndarray]:
        """The first parameters of one model; those that are drawn are in `_initial_weights`."""
        return {}

    def forward(self, p: Parameters, x: Array, mode: Mode) -> tuple[Array, Backward]:
        """Return the output and the closure that runs the layer backward."""
        raise NotImplementedError


class Weighted(Layer):
    """A layer of weights and biases with an activation, fused where its derivative allows."""

    activation: str

    def drawn_for(self) -> str:
        """The activation that decides in scikit-learn how wide the weights are drawn."""
        return self.activation

    def fans(self, shape: Shape) -> tuple[int, int]:
        """How many inputs each output sees, and how many outputs each input reaches."""
        raise NotImplementedError

    def product(self, p: Parameters, x: Array, activation: str) -> Array:
        """Inputs times weights plus bias, through an activation that can be fused."""
        raise NotImplementedError

    def product_backward(
        self, dy: Array, p: Parameters, x: Array, y: Array, activation: str, needs: tuple[str, ...],
        g: Parameters,
    ) -> Array | None:  # fmt: skip
        """Return the gradient of `product` in x, if needed; those in w and bias go to `g`."""
        raise NotImplementedError

    def forward(self, p: Parameters, x: Array, mode: Mode) -> tuple[Array, Backward]:
        """Return the output and the closure that runs the layer backward."""
        function = ACTIVATIONS[self.activation]
        fused = "identity" if function.reads_input else self.activation
        y = self.product(p, x, fused)

        def backward(dy: Array, g: Parameters, needs_input: bool) -> Array:
            if function.reads_input:
                dy = function.backward(dy, y)
            needs = ("x", "w", "bias") if needs_input else ("w", "bias")
            return self.product_backward(dy, p, x, y, fused, needs, g)

        return (function.forward(y) if function.reads_input else y), backward


@dataclass(frozen=True)
class Dense(Weighted):
    """Every output sees every input; images are flattened.

    Parameters
    ----------
    units : int
        Number of outputs.
    activation : str, default="relu"
        Any name of `cukernels.activations.ACTIVATIONS`.
    """

    units: int
    activation: str = "relu"

    def __post_init__(self) -> None:
        check_positive(self, "units")
        check_activation(self.activation)

    def output_shape(self, shape: Shape) -> Shape:
        return (self.units,)

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        return {"w": (prod(shape), self.units), "bias": (self.units,)}

    def fans(self, shape: Shape) -> tuple[int, int]:
        return prod(shape), self.units

    def product(self, p: Parameters, x: Array, activation: str) -> Array:
        if isinstance(x, SparseRows):
            z = csr_matmul(*x, p["w"])
            z += p["bias"][:, None]
            return ACTIVATIONS[activation].forward(z)
        return matmul(_flat(x), p["w"], p["bias"], activation=activation)

    def product_backward(
        self, dy: Array, p: Parameters, x: Array, y: Array, activation: str, needs: tuple[str, ...],
        g: Parameters,
    ) -> Array | None:  # fmt: skip
        if isinstance(x, SparseRows):
            dz = ACTIVATIONS[activation].backward(dy, y)
            csr_matmul_backward(dz, *x, p["w"], out={"b": g["w"]})  # type: ignore[call-arg]
            g["bias"][...] = dz.sum(axis=-2)
            return None
        wanted = ("a", "b", "bias") if "x" in needs else ("b", "bias")
        dx, *_ = matmul_backward(  # type: ignore[call-arg]
            dy, _flat(x), p["w"], p["bias"], y, activation=activation, needs=wanted,
            out={"b": g["w"], "bias": g["bias"]},
        )  # fmt: skip
        return None if dx is None else dx.reshape(dx.shape[:2] + x.shape[2:])


@dataclass(frozen=True)
class Scores(Dense):
    """The last layer: one score an output; scikit-learn draws it as the hidden layers."""

    activation: str = "identity"
    hidden_activation: str = "relu"

    def drawn_for(self) -> str:
        return self.hidden_activation


@dataclass(frozen=True)
class Dropout(Layer):
    """Zero a random part of the values while training (Srivastava et al., JMLR 2014).

    Parameters
    ----------
    rate : float, default=0.5
        The part to drop, in [0, 1).
    """

    rate: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ValueError(f"{self}: rate must be in [0, 1)")

    def forward(self, p: Parameters, x: Array, mode: Mode) -> tuple[Array, Backward]:
        if not mode.training:
            return x, lambda dy, g, needs: dy
        rate, seed = p["rate"], p["seed"]
        y, keep = dropout(x, rate, seed, mode.step)
        return y, lambda dy, g, needs: dropout_backward(dy, rate, keep)


@dataclass(frozen=True)
class BatchNorm(Layer):
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

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        return dict.fromkeys(("gamma", "beta", "mean", "variance"), shape[-1:])

    def init(self, shape: Shape) -> dict[str, np.ndarray]:
        ones, zeros = np.ones(shape[-1:]), np.zeros(shape[-1:])
        return {"gamma": ones, "beta": zeros, "mean": zeros, "variance": ones}

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


@dataclass(frozen=True)
class Activation(Layer):
    """An activation as a layer of its own.

    Parameters
    ----------
    name : str
        Any name of `cukernels.activations.ACTIVATIONS`.
    """

    name: str

    def __post_init__(self) -> None:
        check_activation(self.name)

    def forward(self, p: Parameters, x: Array, mode: Mode) -> tuple[Array, Backward]:
        function = ACTIVATIONS[self.name]
        y = function.forward(x)
        read = x if function.reads_input else y
        return y, lambda dy, g, needs: function.backward(dy, read)


def hidden_layer(layer: Weighted, batch_norm: bool, dropout: float) -> list[Layer]:
    """A layer with what follows it: normalisation before its activation, dropout after it."""
    layers: list[Layer] = [layer]
    if batch_norm:
        linear = replace(layer, activation="identity")  # type: ignore[type-var]
        layers = [linear, BatchNorm(), Activation(layer.activation)]
    return [*layers, Dropout(dropout)] if dropout else layers


def _flat(x: Array) -> Array:
    return x if x.ndim == 3 else x.reshape(*x.shape[:2], -1)


def check_positive(layer: Layer, *names: str) -> None:
    """Raise ValueError, which names the layer, unless fields are None or positive integers."""
    for name in names:
        value = getattr(layer, name)
        if value is None:
            continue
        numbers = value if isinstance(value, tuple | list) else (value,)
        if not all(isinstance(n, int | np.integer) and n > 0 for n in numbers):
            raise ValueError(f"{layer}: {name} must be made of positive integers, got {value!r}")


def layer_sizes(sizes: Any, name: str) -> list[int]:
    """Return the sizes of layers, given as a number or a sequence of numbers, as a list.

    Raises
    ------
    ValueError
        If they are anything else; `name` is what the message calls them.
    """
    several = isinstance(sizes, Sequence) and not isinstance(sizes, str | bytes)
    if isinstance(sizes, np.ndarray) or hasattr(sizes, "__array__"):
        sizes = np.atleast_1d(np.asarray(sizes)).tolist()
        several = True
    numbers = list(sizes) if several else [sizes]
    if not all(isinstance(n, Real) and not isinstance(n, bool | np.bool_) for n in numbers):
        raise ValueError(f"{name} must be an integer or a sequence of integers, got {sizes!r}.")
    if not all(n > 0 and n % 1 == 0 for n in numbers):
        raise ValueError(f"{name} must be > 0, got {numbers}.")
    return [int(n) for n in numbers]


def layer_activations(activation: Any, n_layers: int, layers: str) -> list[str]:
    """Return the activation of each layer: one for all, or one each.

    Raises
    ------
    ValueError
        If there are more or fewer; `layers` is what the message calls the layers.
    """
    if isinstance(activation, str):
        return [activation] * n_layers
    names = np.atleast_1d(np.asarray(activation, dtype=object)).tolist()
    if len(names) != n_layers:
        raise ValueError(
            f"activation names {len(names)} functions for {n_layers} {layers}: give one for all, "
            "or one each"
        )
    return names


def check_activation(name: str) -> None:
    """Raise ValueError, which lists the known names, unless this is one."""
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ValueError(f"Unknown activation {name!r}: expected one of {sorted(ACTIVATIONS)}.")
