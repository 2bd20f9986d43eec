"""What a layer is: a description with one hook for each thing that the package asks of it.

A layer is frozen, so it can be searched over, cloned and pickled. It holds no weights: `forward` is
given those of a stack of M models, as arrays of shape (M, ...), and images or rows of shape
(M or 1, B, ...). It returns its output and a closure that runs the layer backward. What the closure
needs to remember lives in it and dies with it.

No other file asks which kind of layer it has before it. A hook without a meaningful default is
abstract: a class that lacks one cannot be instantiated, and the error names the hook.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from math import prod
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from cukernels.activations import ACTIVATIONS
from cukernels.runtime import Array
from estimators.layers.fields import Fields
from estimators.layers.made import Made, StepSize

Shape = tuple[int, ...]
Parameters = dict[str, Array]
# Is given dy, the gradients to fill, and what to go through on the way back: None if nobody wants
# the gradient in the input, else an activation of which the input is the output ("identity" where
# it is none, or where that layer does so itself). See `Layer.left_to_next`.
Backward = Callable[..., Array]
Draw = Callable[["Weighted", Shape], Parameters]  # the first weights of one model
Examples = list[tuple["Layer", Shape]]  # layers, and the shape of a sample for each
Next = Callable[[str], Any]  # the next entry of a fitted attribute, which is a list


class Mode(NamedTuple):
    """How a forward pass is meant: to train, with what is random in it, or to predict."""

    training: bool = False
    sample_weight: Array | None = None  # (M, B)
    step: Array | None = None  # (M,)


class Parameter(NamedTuple):
    """What a layer says of one parameter of a model.

    Attributes
    ----------
    shape : tuple of int
    start : float or None, default=None
        The number that all its elements begin with. None: they are drawn, as weights are.
    is_decayed : bool, default=False
        Whether the L2 penalty concerns it.
    is_learned : bool, default=True
        Whether it has a gradient. One that has none is updated by `forward` itself.
    """

    shape: Shape
    start: float | None = None
    is_decayed: bool = False
    is_learned: bool = True


class Rows(Enum):
    """What the output for a row of a batch depends on while training."""

    ALONE = "on that row"
    TOGETHER = "on all rows of the batch"
    RANDOM = "on that row, on its place in the batch, and on a random stream"


class Graph(Protocol):
    """What a layer writes itself into as operators of ONNX."""

    dtype: np.dtype

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator and return the name of its output."""

    def constant(self, value: Any) -> str:
        """Add a constant and return its name; floats take the dtype of the graph."""

    def activation(self, name: str, x: str) -> str:
        """Apply an activation of `cukernels` along the last axis."""


class Layer(ABC):
    """A layer of a network.

    Attributes
    ----------
    rows : Rows
        What the output for a row depends on while training. A `RANDOM` layer has a field `rate`,
        which may differ between the models of a stack: while training, `forward` finds the rates of
        the models in ``p["rate"]`` and the seeds of their streams in ``p["seed"]``. At prediction
        it changes nothing.
    attribute : str
        The fitted attribute that holds the parameters of all layers of the kind, a list with a
        dict for each. A layer with parameters has one.
    is_divided : bool
        Whether its op shares out its work among the cores by itself. It is a hint for speed.
    is_recorded : bool
        Whether tests hold its ops to what `cukernels.runtime.Recording` makes of them.
    shares_input : bool
        Whether models of a stack may have one input together, of shape (1, B, ...), or some of them
        as `SharedRows`, which only the first layer of a network is given, in training.
    goes_through : bool
        Whether its backward can go on through the activation that made its input.
    normalises : bool
        Whether its output is the same for inputs of any scale.
    kind : str
        The family of layers that it belongs to, by which a picture of a network draws it.
    """

    attribute: ClassVar[str] = ""
    kind: ClassVar[str] = "other"
    is_divided: ClassVar[bool] = False
    is_recorded: ClassVar[bool] = False
    shares_input: ClassVar[bool] = False
    goes_through: ClassVar[bool] = False
    normalises: ClassVar[bool] = False
    rate: float

    @property
    @abstractmethod
    def rows(self) -> Rows:
        """See above; a subclass sets it in its body."""

    @classmethod
    @abstractmethod
    def examples(cls) -> Examples:
        """Layers of this kind with shapes of samples, which the tests hold to all that is below."""

    @abstractmethod
    def output_shape(self, shape: Shape) -> Shape:
        """Shape of one sample after the layer; ValueError where the layer cannot take `shape`."""

    @abstractmethod
    def forward(self, p: Parameters, x: Array, mode: Mode) -> tuple[Array, Backward]:
        """Return the output and the closure that runs the layer backward."""

    @abstractmethod
    def sees(self, seen: Fields, shape: Shape) -> Fields | None:
        """What a place of the output sees of the input of the network, at prediction.

        `seen` is what a place sees of it that the layer is given, and `shape` is the shape of such
        a sample. None: all of it, or there are no places.
        """

    @abstractmethod
    def write_onnx(self, graph: Graph, p: Parameters, x: str, shape: Shape) -> str:
        """Add to a graph what the layer does at prediction, and return the name of its output.

        `p` are the parameters of one model. Images stay (rows, columns, channels) from layer to
        layer, and `shape` is the shape of a sample before this one.
        """

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        """The parameters of one model, by name, for samples of a shape."""
        return {}

    def first(self, shape: Shape, draw: Draw) -> Parameters:
        """The first parameters of one model; `draw` draws those of weights."""
        return {name: np.full(q.shape, q.start) for name, q in self.parameters(shape).items()}

    @property
    def nonlinearity(self) -> str:
        """The activation that it applies. The weights of a layer before it are drawn for that."""
        return "identity"

    @property
    def left_to_next(self) -> str:
        """The activation whose gradient the layer after it can compute, or "identity".

        That layer reads the output anyway, so this saves a pass over it on a GPU. The backward is
        then given the gradient before the activation, and ``is_before=True``.
        """
        return "identity"

    def joined(self, after: Layer) -> Layer | None:
        """A layer that does what this one and the next do, with the parameters of this one.

        A network computes with it in their place. None: they stay two.
        """
        return None

    def operations(self, shape: Shape) -> int:
        """Floating-point operations of its products, forward, for one sample."""
        return 0

    def made(self, shape: Shape, size: StepSize) -> Made:
        """The arrays that it makes in a step on a GPU, where samples before it have this shape."""
        return Made(size.gradient(shape))

    def kept(self, p: Parameters) -> dict[str, Any]:
        """What it appends to each fitted attribute, for the parameters of one model."""
        if p and not self.attribute:
            raise NotImplementedError(
                f"{type(self).__name__} has parameters and no `attribute` that holds them"
            )
        return {self.attribute: p} if p else {}

    def restored(self, entry: Next) -> Parameters:
        """The parameters of one model from the entries of the fitted attributes."""
        return entry(self.attribute) if self.attribute else {}


class Elementwise(Layer):
    """A layer that keeps the shape, and whose places each see one place."""

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def sees(self, seen: Fields, shape: Shape) -> Fields | None:
        return seen


class Weighted(Layer):
    """A layer of weights and biases with an activation, fused where its derivative allows."""

    activation: str
    rows = Rows.ALONE
    goes_through = True

    def drawn_for(self) -> str:
        """The activation that decides in scikit-learn how wide the weights are drawn."""
        return self.activation

    @abstractmethod
    def fans(self, shape: Shape) -> tuple[int, int]:
        """How many inputs each output sees, and how many outputs each input reaches."""

    @abstractmethod
    def product(self, p: Parameters, x: Array, activation: str) -> Array:
        """Inputs times weights plus bias, through an activation that can be fused."""

    @abstractmethod
    def product_backward(
        self, dy: Array, p: Parameters, x: Array, y: Array, activation: str, through: str | None,
        g: Parameters,
    ) -> Array | None:  # fmt: skip
        """Return the gradient of `product` in x, if wanted; those in w and bias go to `g`."""

    @abstractmethod
    def write_product(self, graph: Graph, p: Parameters, x: str, shape: Shape) -> str:
        """Add `product` without its activation to a graph, as `write_onnx` does."""

    def forward(self, p: Parameters, x: Array, mode: Mode) -> tuple[Array, Backward]:
        function = ACTIVATIONS[self.activation]
        fused = "identity" if function.reads_input else self.activation
        y = self.product(p, x, fused)

        def backward(
            dy: Array, g: Parameters, through: str | None, is_before: bool = False
        ) -> Array | None:
            if function.reads_input:
                dy = function.backward(dy, y)
            activation = "identity" if is_before else fused
            return self.product_backward(dy, p, x, y, activation, through, g)

        return (function.forward(y) if function.reads_input else y), backward

    def write_onnx(self, graph: Graph, p: Parameters, x: str, shape: Shape) -> str:
        return graph.activation(self.activation, self.write_product(graph, p, x, shape))

    def first(self, shape: Shape, draw: Draw) -> Parameters:
        return draw(self, shape)

    @property
    def nonlinearity(self) -> str:
        return self.activation

    @property
    def left_to_next(self) -> str:
        return left_to_next(self.activation)

    def made(self, shape: Shape, size: StepSize) -> Made:
        reads_input = ACTIVATIONS[self.activation].reads_input
        output, backward = size.bytes(self.output_shape(shape)), self.sums_of_gradients(shape, size)
        has_slope = self.activation != "identity" and not size.is_before
        slope = (output,) if reads_input or has_slope else ()
        return Made(
            size.gradient(shape),
            holds_output=not reads_input,
            kept=(output,) if reads_input else (),
            forward=self.sums_of_product(shape, size),
            backward=(*slope, *backward),
        )

    def sums_of_product(self, shape: Shape, size: StepSize) -> tuple[int, ...]:
        """The bytes of what blocks of a GPU add up for `product`."""
        return ()

    def sums_of_gradients(self, shape: Shape, size: StepSize) -> tuple[int, ...]:
        """The bytes of what blocks of a GPU add up for `product_backward`."""
        return ()

    def operations(self, shape: Shape) -> int:
        n_inputs, _ = self.fans(shape)
        return 2 * n_inputs * prod(self.output_shape(shape))

    def kept(self, p: Parameters) -> dict[str, Any]:
        return {"coefs_": p["w"], "intercepts_": p["bias"]}

    def restored(self, entry: Next) -> Parameters:
        return {"w": entry("coefs_"), "bias": entry("intercepts_")}


def told_of(name: str, group: Array | None, through: str | None = None) -> dict[str, Any]:
    """Return what an op is told of its input beside the usual, as keyword arguments.

    An op looks at each argument in every call, so those that say nothing are left out.

    Parameters
    ----------
    name : str
        What the op calls its input.
    group : array or None
        The group of each model, of `SharedRows`.
    through : str or None
        What the gradient goes on through, of `Backward`.
    """
    told: dict[str, Any] = {} if group is None else {f"{name}_of": group}
    if through not in (None, "identity"):
        told[f"{name}_activation"] = through
    return told


def left_to_next(activation: str) -> str:
    """Return the activation if a kernel can apply its derivative to what it computes itself."""
    return activation if ACTIVATIONS[activation].fits_an_epilogue else "identity"


def check_positive(layer: Layer, *names: str) -> None:
    """Raise ValueError, which names the layer, unless fields are None or positive integers."""
    for name in names:
        value = getattr(layer, name)
        if value is None:
            continue
        numbers = value if isinstance(value, tuple | list) else (value,)
        if not all(isinstance(n, int | np.integer) and n > 0 for n in numbers):
            raise ValueError(f"{layer}: {name} must be made of positive integers, got {value!r}")


def check_activation(name: str) -> None:
    """Raise ValueError, which lists the known names, unless this is one."""
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ValueError(f"Unknown activation {name!r}: expected one of {sorted(ACTIVATIONS)}.")
