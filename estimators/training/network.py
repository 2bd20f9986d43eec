"""A chain of layers, and where the parameters of each lie in the flat vector of a model.

The parameters of M models are one array of shape (M, P). Weights come first, and then what the L2
penalty does not concern. So an optimizer passes once over one array, and a model is one row of it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from cukernels.runtime import Array
from estimators.layers.all import ATTRIBUTES
from estimators.layers.layer import Layer, Mode, Parameters, Rows, Shape, Weighted
from estimators.layers.made import StepSize
from estimators.training.initial_weights import Draw, draw_as_scikit_learn

_MOST = 2**40  # parameters
_ALIGN = 8  # parameters start at multiples of 8 elements: 16-byte loads stay aligned


class Slot(NamedTuple):
    """Where one parameter lies in the flat vector of a model."""

    layer: int
    name: str
    shape: Shape
    start: int


class Unit(NamedTuple):
    """What computes: a layer, or one that does what it and the next do.

    Attributes
    ----------
    place : int
        The place of the layer, or of the first of the two.
    layer : Layer
        What computes.
    shape, output_shape : tuple of int
        Shape of a sample before and after.
    """

    place: int
    layer: Layer
    shape: Shape
    output_shape: Shape


class Network:
    """Layers with their shapes for samples of one shape.

    Parameters
    ----------
    layers : sequence of Layer
        The layers, from the input to the scores.
    input_shape : tuple of int
        Shape of a sample, (n_features,) or (height, width, channels).

    Attributes
    ----------
    shapes : list of tuple
        Shape of a sample before each layer, and after the last one.
    slots : list of Slot
        The parameters, in the order in which they lie.
    n_decayed : int
        How many elements the L2 penalty concerns; they are the first ones.
    size : int
        Length of the flat vector.
    units : list of Unit
        What computes, in order: pairs of layers are joined where that is faster.
    first_trained : int
        The first unit with parameters.

    Raises
    ------
    ValueError
        If a layer cannot take the shape that the one before it makes, or if there are far too many
        parameters.
    """

    def __init__(self, layers: Sequence[Layer], input_shape: Shape) -> None:
        self.layers = list(layers)
        self.shapes = [tuple(input_shape)]
        for layer in self.layers:
            self.shapes.append(layer.output_shape(self.shapes[-1]))
        named = [
            (i, name, parameter)
            for i, layer in enumerate(self.layers)
            for name, parameter in layer.parameters(self.shapes[i]).items()
        ]
        self.slots: list[Slot] = []
        self.size = 0
        self._lay_out([(i, name, p.shape) for i, name, p in named if p.is_decayed])
        self.n_decayed = self.size
        self._lay_out([(i, name, p.shape) for i, name, p in named if not p.is_decayed])
        if self.size >= _MOST:
            raise ValueError(
                f"the layers {self.layers} have {self.size} parameters for samples of shape "
                f"{self.shapes[0]}, which no memory holds"
            )
        self.units = list(self._joined())
        # What each unit's backward goes through for the one before it, on a GPU.
        self._through = ["identity"] + [
            before.layer.left_to_next if unit.layer.goes_through else "identity"
            for before, unit in itertools.pairwise(self.units)
        ]
        # A unit of two layers has parameters, so that places are numbers of units up to here.
        self.first_trained = min((slot.layer for slot in self.slots), default=0)

    def _lay_out(self, entries: list[tuple[int, str, Shape]]) -> None:
        for i, name, shape in entries:
            self.slots.append(Slot(i, name, shape, self.size))
            self.size += -(-prod(shape) // _ALIGN) * _ALIGN

    def _joined(self) -> Iterator[Unit]:
        """Yield the layers, and one in the place of two that can be joined."""
        is_done = False
        for i, (layer, after) in enumerate(itertools.zip_longest(self.layers, self.layers[1:])):
            if is_done:  # with the layer before
                is_done = False
                continue
            both = layer.joined(after) if after is not None else None
            is_done = both is not None
            yield Unit(i, both or layer, self.shapes[i], self.shapes[i + 1 + is_done])

    @property
    def dropouts(self) -> list[int]:
        """The places of the layers that draw random numbers while training."""
        return [i for i, layer in enumerate(self.layers) if layer.rows is Rows.RANDOM]

    @property
    def weighted(self) -> list[int]:
        """The places of the layers whose weights are entries of `coefs_`."""
        return [slot.layer for slot in self.slots if slot.name == "w"]

    @property
    def has_rows_alone(self) -> bool:
        """Whether the output for a row depends on that row alone while training."""
        return all(layer.rows is Rows.ALONE for layer in self.layers)

    @property
    def is_divided(self) -> bool:
        """Whether a layer uses threads of its own, for chunks of images."""
        return any(layer.is_divided for layer in self.layers)

    @property
    def normalises_input(self) -> bool:
        """Whether what the first weights make of samples is the same for samples of any scale."""
        until = next(iter(self.weighted[1:]), len(self.layers))
        return any(layer.normalises for layer in self.layers[:until])

    @functools.cached_property
    def operations(self) -> int:
        """The floating-point operations of all products in the forward pass of one sample."""
        pairs = zip(self.layers, self.shapes, strict=False)
        return sum(layer.operations(shape) for layer, shape in pairs)

    def views(self, flat: Array) -> list[Parameters]:
        """Return the parameters of each layer as views of an array of shape (M, size)."""
        parameters: list[Parameters] = [{} for _ in self.layers]
        for i, name, shape, start in self.slots:
            values = flat[:, start : start + prod(shape)]
            parameters[i][name] = values.reshape(len(flat), *shape)
        return parameters

    def init(
        self, rng: np.random.RandomState, dtype: Any, draw: Draw = draw_as_scikit_learn
    ) -> np.ndarray:
        """Draw the parameters of one model, layer after layer; return them as a flat vector."""
        flat = np.zeros((1, self.size), dtype)
        for i, (layer, slots) in enumerate(zip(self.layers, self.views(flat), strict=True)):

            def drawn(layer: Weighted, shape: Shape, i: int = i) -> Parameters:
                return draw(layer, shape, self._activation_of(i), rng)

            first = layer.first(self.shapes[i], drawn)
            for name, slot in slots.items():
                slot[0] = first[name]
        return flat[0]

    def _activation_of(self, i: int) -> str:
        """Return the activation of a layer, or the one that follows before the next weights."""
        until = next((k for k in self.weighted if k > i), len(self.layers))
        names = (layer.nonlinearity for layer in self.layers[i:until])
        return next((name for name in names if name != "identity"), "identity")

    def attributes_of(self, flat: np.ndarray) -> dict[str, list]:
        """Return the parameters of one model as the lists that an estimator has after a fit."""
        lists: dict[str, list] = {n: [] for n in ("coefs_", "intercepts_", *ATTRIBUTES)}
        for layer, p in zip(self.layers, self.views(flat[None]), strict=True):
            own = {name: a[0].copy() for name, a in p.items()}
            for attribute, entry in layer.kept(own).items():
                lists[attribute].append(entry)
        return lists

    def parameters_of(self, model: Any) -> list[Parameters]:
        """Return the parameters of each layer from the fitted attributes of a model.

        Raises
        ------
        ValueError
            If there are more or fewer than the layers have.
        """
        entries = {n: iter(getattr(model, n, ())) for n in ("coefs_", "intercepts_", *ATTRIBUTES)}

        def entry(attribute: str) -> Any:
            for value in entries[attribute]:
                return value
            raise ValueError(
                f"the layers have more parameters than the {len(getattr(model, attribute, ()))} "
                f"entries of {attribute} that were fitted: fit anew, with warm_start=False"
            )

        return [layer.restored(entry) for layer in self.layers]

    def pack(self, parameters: Sequence[Parameters], dtype: Any) -> np.ndarray:
        """Copy the parameters of one model into a flat vector.

        Parameters
        ----------
        parameters : sequence of dict
            The parameters of each layer, without a leading axis for models.
        dtype : dtype
            The dtype of the vector.

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
                        f"the parameters describe {layer} with {name} of shape {slot.shape[1:]}, "
                        f"but {own[name].shape} was fitted: warm_start and partial_fit go on with "
                        "the layers of the last fit; fit anew, with warm_start=False"
                    )
                slot[0] = own[name]
        return flat[0]

    def place_in_step(self, size: StepSize, i: int) -> StepSize:
        """Return what a unit is told of a step on a GPU, from what all units are told."""
        is_before = i + 1 < len(self.units) and self._through[i + 1] != "identity"
        is_first = i <= self.first_trained
        return size._replace(is_first=is_first, is_before=is_before, sorted=0 if i else size.sorted)

    def forward(
        self, parameters: Sequence[Parameters], x: Array, mode: Mode
    ) -> tuple[Array, Callable[[Array, Sequence[Parameters]], None]]:
        """Run M models on `x` of shape (M or 1, B, ...).

        Returns
        -------
        z : array of shape (M or 1, B, ...)
            What the last layer makes.
        backward : callable
            ``backward(dz, gradients)`` writes the gradients into arrays that have the layout of
            `parameters`.
        """
        tape = []
        for unit in self.units:
            x, backward = unit.layer.forward(parameters[unit.place], x, mode)
            tape.append(backward)
        first = self.first_trained

        def run_backward(dz: Array, gradients: Sequence[Parameters]) -> None:
            plain = isinstance(dz, np.ndarray)
            for i in range(len(tape) - 1, first - 1, -1):
                through = None if i == first else "identity" if plain else self._through[i]
                is_before = not plain and i + 1 < len(tape) and self._through[i + 1] != "identity"
                more = {"is_before": True} if is_before else {}
                dz = tape[i](dz, gradients[self.units[i].place], through, **more)

        return x, run_backward
