"""A chain of layers, and where the parameters of each lie in one flat vector a model.

The parameters of M models are one array of shape (M, P): weights first, then what the L2 penalty
does not concern. So an optimizer is one pass over one array, and a model is one row.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from cukernels.runtime import Array
from estimators.layers.dense import Activation, Dropout, Layer, Mode, Parameters, Shape, Weighted
from estimators.neural.initial_weights import Draw, draw_as_scikit_learn

_MOST = 2**40  # parameters
_ALIGN = 8  # parameters start at multiples of 8 elements: 16-byte loads stay aligned


class Slot(NamedTuple):
    """Where one parameter lies in the flat vector of a model."""

    layer: int
    name: str
    shape: Shape
    start: int


class Network:
    """Layers with their shapes for samples of one shape.

    Parameters
    ----------
    layers : sequence of Layer
        From the input to the scores.
    input_shape : tuple of int
        Shape of a sample, (n_features,) or (height, width, channels).

    Attributes
    ----------
    shapes : list of tuple
        Shape of a sample before each layer, and after the last.
    slots : list of Slot
        The parameters, in the order in which they lie.
    n_decayed, size : int
        Length of the part that the L2 penalty concerns, and of the whole vector.

    Raises
    ------
    ValueError
        If a layer cannot take the shape that the one before it makes, or they are far too large.
    """

    def __init__(self, layers: Sequence[Layer], input_shape: Shape) -> None:
        self.layers = list(layers)
        self.shapes = [tuple(input_shape)]
        for layer in self.layers:
            self.shapes.append(layer.output_shape(self.shapes[-1]))
        named = [
            (i, name, shape)
            for i, layer in enumerate(self.layers)
            for name, shape in layer.parameter_shapes(self.shapes[i]).items()
        ]
        self.slots: list[Slot] = []
        self.size = 0
        self._lay_out([entry for entry in named if entry[1] == "w"])
        self.n_decayed = self.size
        self._lay_out([entry for entry in named if entry[1] != "w"])
        if self.size >= _MOST:
            raise ValueError(
                f"the layers {self.layers} have {self.size} parameters for samples of shape "
                f"{self.shapes[0]}, which no memory holds"
            )
        self._first_trained = min((slot.layer for slot in self.slots), default=0)

    def _lay_out(self, entries: list[tuple[int, str, Shape]]) -> None:
        for i, name, shape in entries:
            self.slots.append(Slot(i, name, shape, self.size))
            self.size += -(-prod(shape) // _ALIGN) * _ALIGN

    @property
    def dropouts(self) -> list[int]:
        """Places of the layers that draw random numbers while training."""
        return [i for i, layer in enumerate(self.layers) if isinstance(layer, Dropout)]

    @functools.cached_property
    def operations(self) -> int:
        """Floating-point operations of the products, forward, for one sample."""
        count = 0
        for slot in self.slots:
            if slot.name == "w":  # filters of shape (K, R, S, C) are used at each place
                after = self.shapes[slot.layer + 1]
                places = prod(after[:2]) if len(slot.shape) == 4 else 1
                count += 2 * prod(slot.shape) * places
        return count

    def views(self, flat: Array) -> list[Parameters]:
        """The parameters of each layer as views of an array of shape (M, size)."""
        parameters: list[Parameters] = [{} for _ in self.layers]
        for i, name, shape, start in self.slots:
            part = flat[:, start : start + prod(shape)]
            parameters[i][name] = part.reshape(len(flat), *shape)
        return parameters

    def init(
        self, rng: np.random.RandomState, dtype: Any, draw: Draw = draw_as_scikit_learn
    ) -> np.ndarray:
        """Draw the parameters of one model, layer after layer: an array of shape (size,)."""
        flat = np.zeros((1, self.size), dtype)
        for i, (layer, slots) in enumerate(zip(self.layers, self.views(flat), strict=True)):
            shape = self.shapes[i]
            if isinstance(layer, Weighted):
                first = draw(layer, shape, self._activation_of(i), rng)
            else:
                first = layer.init(shape)
            for name, values in first.items():
                slots[name][0] = values
        return flat[0]

    def _activation_of(self, i: int) -> str:
        """The activation that a layer of weights has, or that follows before the next ones."""
        own = self.layers[i].activation  # type: ignore[attr-defined]
        if own != "identity":
            return own
        for layer in self.layers[i + 1 :]:
            if isinstance(layer, Activation):
                return layer.name
            if isinstance(layer, Weighted):
                break
        return own

    def pack(self, parameters: Sequence[Parameters], dtype: Any) -> np.ndarray:
        """Copy the parameters of one model, each without a leading axis, into a flat vector.

        Raises
        ------
        ValueError
            If they are of another shape than the layers have.
        """
        flat = np.zeros((1, self.size), dtype)
        for layer, own, slots in zip(self.layers, parameters, self.views(flat), strict=True):
            for name, slot in slots.items():
                if own[name].shape != slot.shape[1:]:
                    raise ValueError(
                        "warm_start and partial_fit go on with the layers of the last fit, but "
                        f"{layer} has {name} of shape {slot.shape[1:]} now and {own[name].shape} "
                        "there: fit anew, with warm_start=False"
                    )
                slot[0] = own[name]
        return flat[0]

    def forward(
        self, parameters: Sequence[Parameters], x: Array, mode: Mode
    ) -> tuple[Array, Callable[[Array, Sequence[Parameters]], None]]:
        """Run M models on `x` of shape (M or 1, B, ...).

        Returns
        -------
        z : array of shape (M or 1, B, ...)
            What the last layer makes.
        backward : callable
            ``backward(dz, gradients)`` fills the gradients, which have the layout of
            `parameters`.
        """
        tape = []
        for layer, p in zip(self.layers, parameters, strict=True):
            x, backward = layer.forward(p, x, mode)
            tape.append(backward)
        first = self._first_trained

        def run_backward(dz: Array, gradients: Sequence[Parameters]) -> None:
            for i in range(len(tape) - 1, first - 1, -1):
                dz = tape[i](dz, gradients[i], i > first)

        return x, run_backward
