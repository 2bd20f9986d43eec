"""Layers of units: dense ones, dropout, and activations of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from numbers import Real
from typing import Any

import numpy as np

from cukernels import (
    csr_matmul,
    csr_matmul_backward,
    dropout,
    dropout_backward,
    matmul,
    matmul_backward,
)
from cukernels.activations import ACTIVATIONS
from cukernels.matmul import of_gradients, of_product
from cukernels.runtime import Array
from estimators.layers.fields import Fields
from estimators.layers.layer import (
    Backward,
    Elementwise,
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
    left_to_next,
    told_of,
)
from estimators.layers.made import Made, StepSize
from estimators.layers.norm import BatchNorm
from estimators.shared.rows import SharedRows, SparseRows

__all__ = ["Activation", "Dense", "Dropout"]  # these are public in `estimators`


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
    shares_input = True
    kind = "dense"
    is_recorded = True

    def __post_init__(self) -> None:
        check_positive(self, "units")
        check_activation(self.activation)

    @classmethod
    def examples(cls) -> Examples:
        return [(cls(5), (6,)), (cls(4, "gelu"), (3, 4, 2)), (cls(3, "softmax"), (7,))]

    def output_shape(self, shape: Shape) -> Shape:
        return (self.units,)

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        w = Parameter((prod(shape), self.units), is_decayed=True)
        return {"w": w, "bias": Parameter((self.units,))}

    def sees(self, seen: Fields, shape: Shape) -> Fields | None:
        return None

    def fans(self, shape: Shape) -> tuple[int, int]:
        return prod(shape), self.units

    def product(self, p: Parameters, x: Array, activation: str) -> Array:
        if isinstance(x, SparseRows):
            return csr_matmul(*x, p["w"], p["bias"], activation=activation)
        rows, group = _flat(x)
        return matmul(rows, p["w"], p["bias"], activation=activation, **told_of("a", group))

    def product_backward(
        self, dy: Array, p: Parameters, x: Array, y: Array, activation: str, through: str | None,
        g: Parameters,
    ) -> Array | None:  # fmt: skip
        if isinstance(x, SparseRows):
            csr_matmul_backward(  # type: ignore[call-arg]
                dy, *x, p["w"], p["bias"], y, activation=activation,
                out={"b": g["w"], "bias": g["bias"]},
            )  # fmt: skip
            return None
        wanted = ("b", "bias") if through is None else ("a", "b", "bias")
        rows, group = _flat(x)
        dx, *_ = matmul_backward(  # type: ignore[call-arg]
            dy, rows, p["w"], p["bias"], y, activation=activation, needs=wanted,
            **told_of("a", group, through), out={"b": g["w"], "bias": g["bias"]},
        )  # fmt: skip
        return None if dx is None else dx.reshape(dx.shape[:2] + x.shape[2:])

    def sums_of_product(self, shape: Shape, size: StepSize) -> tuple[int, ...]:
        if size.sorted:
            return ()
        rows, inputs = size.rows, prod(shape)
        return _unless_0(of_product(rows, self.units, inputs, size.models, size.dtype, size.device))

    def sums_of_gradients(self, shape: Shape, size: StepSize) -> tuple[int, ...]:
        if size.sorted:
            return (size.sorted,)
        is_summed = self.activation != "identity" and not size.is_before  # with the slope
        parts = of_gradients(
            size.rows, prod(shape), self.units, size.models, size.dtype, size.device,
            needs_a=not size.is_first, needs_sums=not is_summed,
        )  # fmt: skip
        return _unless_0(parts)

    def write_product(self, graph: Graph, p: Parameters, x: str, shape: Shape) -> str:
        if len(shape) > 1:
            x = graph.add("Reshape", x, graph.constant(np.array([-1, prod(shape)])))
        product = graph.add("MatMul", x, graph.constant(p["w"]))
        return graph.add("Add", product, graph.constant(p["bias"]))


@dataclass(frozen=True)
class Scores(Dense):
    """The last layer: one score an output; scikit-learn draws it as the hidden layers."""

    activation: str = "identity"
    hidden_activation: str = "relu"

    def drawn_for(self) -> str:
        return self.hidden_activation


@dataclass(frozen=True)
class Dropout(Elementwise):
    """Zero a random part of the values while training (Srivastava et al., JMLR 2014).

    Parameters
    ----------
    rate : float, default=0.5
        The part to drop, in [0, 1).
    """

    rate: float = 0.5
    rows = Rows.RANDOM
    kind = "dropout"
    is_recorded = True

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ValueError(f"{self}: rate must be in [0, 1)")

    @classmethod
    def examples(cls) -> Examples:
        return [(cls(0.4), (9,)), (cls(0.2), (4, 5, 2))]

    def forward(self, p: Parameters, x: Array, mode: Mode) -> tuple[Array, Backward]:
        if not mode.training:
            return x, lambda dy, g, through: dy
        rate, seed = p["rate"], p["seed"]
        y, keep = dropout(x, rate, seed, mode.step)
        return y, lambda dy, g, through: dropout_backward(dy, rate, keep)

    def made(self, shape: Shape, size: StepSize) -> Made:
        mask = size.bytes(shape) // size.itemsize
        return Made(size.gradient(shape), holds_input=False, kept=(mask,))

    def write_onnx(self, graph: Graph, p: Parameters, x: str, shape: Shape) -> str:
        return x


@dataclass(frozen=True)
class Activation(Elementwise):
    """An activation as a layer of its own.

    Parameters
    ----------
    name : str
        Any name of `cukernels.activations.ACTIVATIONS`.
    """

    name: str
    rows = Rows.ALONE
    kind = "activation"
    is_recorded = True

    def __post_init__(self) -> None:
        check_activation(self.name)

    @classmethod
    def examples(cls) -> Examples:
        return [(cls("gelu"), (6,)), (cls("tanh"), (4, 5, 2)), (cls("softmax"), (4, 5, 3))]

    def forward(self, p: Parameters, x: Array, mode: Mode) -> tuple[Array, Backward]:
        function = ACTIVATIONS[self.name]
        y = function.forward(x)
        read = x if function.reads_input else y

        def backward(
            dy: Array, g: Parameters, through: str | None, is_before: bool = False
        ) -> Array:
            return dy if is_before else function.backward(dy, read)

        return y, backward

    def write_onnx(self, graph: Graph, p: Parameters, x: str, shape: Shape) -> str:
        return graph.activation(self.name, x)

    def made(self, shape: Shape, size: StepSize) -> Made:
        reads_input = ACTIVATIONS[self.name].reads_input
        gradient = None if size.is_before else size.bytes(shape)
        return Made(gradient, holds_input=reads_input, holds_output=not reads_input)

    @property
    def nonlinearity(self) -> str:
        return self.name

    @property
    def left_to_next(self) -> str:
        return left_to_next(self.name)


def hidden_layer(layer: Weighted, batch_norm: bool, dropout: float) -> list[Layer]:
    """A layer with what follows it: normalisation before its activation, dropout after it."""
    layers: list[Layer] = [layer]
    if batch_norm:
        linear = replace(layer, activation="identity")  # type: ignore[type-var]
        layers = [linear, BatchNorm(), Activation(layer.activation)]
    return [*layers, Dropout(dropout)] if dropout else layers


def _unless_0(n_bytes: int) -> tuple[int, ...]:
    """An array of so many bytes, or none."""
    return (n_bytes,) if n_bytes else ()


def _flat(x: Array | SharedRows) -> tuple[Array, Array | None]:
    """Return samples as rows, and the group of each model if models share them."""
    x, group = x if isinstance(x, SharedRows) else (x, None)
    return (x if x.ndim == 3 else x.reshape(*x.shape[:2], prod(x.shape[2:]))), group


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
