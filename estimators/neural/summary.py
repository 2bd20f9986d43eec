"""The layers of a network as a table: shapes, parameters, multiplications and memory.

All of it follows from shapes, so that nothing is allocated.
"""

from __future__ import annotations

import html
import importlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from math import prod
from typing import Any

import numpy as np

from cukernels.runtime import resolve_device
from estimators.costs.memory import ANY_GPU, MemoryEstimate, amount
from estimators.layers.fields import Field
from estimators.layers.layer import Layer, Shape
from estimators.shared.device_arrays import device_for
from estimators.training.network import Network
from estimators.training.optimizers import solver_named
from estimators.training.settings import batch_size_of

_MANY = 200  # samples of a step whose number follows from how many samples there are
_HEAD = ("layer", "output", "multiplications", "activations", "parameters")
_RIGHT = "text-align: right !important"  # scikit-learn's style of its tables says left
_LEFT = "text-align: left !important"


@dataclass(frozen=True)
class LayerSummary:
    """What a layer makes of a sample. None stands for what is not known before a fit.

    Attributes
    ----------
    name : str
        The layer as a user would write it.
    kind : str
        Its family, such as "dense" or "convolution".
    output_shape : tuple of int or None
        The shape of its output for one sample.
    parameters : int
        How many parameters it has.
    multiplications : int
        Those of its products, forward, for one sample; places of padding count too. Layers without
        weights have none.
    activations : int
        The bytes of its output for one sample.
    sees : tuple of int or None, default=None
        How many rows and columns of an image a place of its output sees; None: all of it, or it
        takes no images.
    """

    name: str
    kind: str
    output_shape: tuple[int | None, ...]
    parameters: int | None
    multiplications: int | None
    activations: int | None
    sees: tuple[int, int] | None = None


@dataclass(frozen=True, repr=False)
class NetworkSummary:
    """The layers of a network with their sizes; printed it is a table, in a notebook too.

    Attributes
    ----------
    input_shape : tuple of int or None
        The shape of a sample.
    layers : list of LayerSummary
        The layers, from the input to the scores.
    memory : MemoryEstimate or None
        What a fit needs. Without `n_samples` that is parameters and a step.
    step : int
        The most samples of a step; 0 where all samples make one step.
    n_samples : int or None
        The samples of that fit.
    """

    input_shape: tuple[int | None, ...]
    layers: list[LayerSummary]
    memory: MemoryEstimate | None = None
    step: int = 0
    n_samples: int | None = None

    @property
    def parameters(self) -> int | None:
        """The parameters of all layers; None if those of one are not known."""
        return _sum([layer.parameters for layer in self.layers])

    @property
    def multiplications(self) -> int | None:
        """The multiplications of all layers for one sample."""
        return _sum([layer.multiplications for layer in self.layers])

    @property
    def activations(self) -> int | None:
        """The bytes of the outputs of all layers for one sample."""
        return _sum([layer.activations for layer in self.layers])

    def __str__(self) -> str:
        rows = list(self._rows())
        widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
        lines = [
            "  ".join(
                f"{cell:<{width}}" if i < 2 else f"{cell:>{width}}"
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        rule = "-" * len(lines[0])
        lines = [line.rstrip() for line in lines]
        # scripts read the table by its lines, so that nothing comes before it or unasked after it
        more = [] if self.n_samples is None else [self.told_memory]
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], *more])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The table for a notebook, in the notebook's own colours."""
        return f"<div>{self.html_table()}</div>"

    @property
    def told_memory(self) -> str:
        """The memory of a fit in words; empty if it is not known."""
        memory = self.memory
        if memory is None:
            return ""
        if self.n_samples is not None:
            return f"memory of a fit to {self.n_samples:,} samples: {memory!r}"
        step = f"a step of {self.step} samples {amount(memory.step)}, " if self.step else ""
        return (
            f"memory of a fit on {memory.device}: parameters {amount(memory.parameters)}, "
            f"{step}and its samples"
        )

    def html_table(self, css_class: str = "", colour: str = "inherit") -> str:
        """Return the table as HTML.

        Parameters
        ----------
        css_class : str, default=""
            A class of the table, for somebody else's style.
        colour : str, default="inherit"
            The colour of its text.
        """
        head, *rows = ([html.escape(cell) for cell in row] for row in self._rows(times="\u00d7"))
        style = f"color: {colour}; padding: 0.2em 0.7em; white-space: nowrap"

        def line(tag: str, cells: Sequence[str], more: str = "") -> str:
            sides = [_LEFT, _LEFT, *[_RIGHT] * (len(cells) - 2)]
            return "".join(
                f'<{tag} style="{style}; {more}{side}">{cell}</{tag}>'
                for cell, side in zip(cells, sides, strict=True)
            )

        of_total = "font-weight: bold; border-top: 1px solid; "
        body = [f"<tr>{line('td', row)}</tr>" for row in rows[:-1]]
        body.append(f"<tr>{line('td', rows[-1], of_total)}</tr>")
        named = f' class="{html.escape(css_class)}"' if css_class else ""
        told = html.escape(self.told_memory)
        return (
            f'<table{named} style="border-collapse: collapse">'
            f"<thead><tr>{line('th', head)}</tr></thead><tbody>{''.join(body)}</tbody></table>"
            + (f'<p style="color: {colour}; margin: 0.3em">{told}</p>' if told else "")
        )

    def _rows(self, times: str = "x") -> Iterator[tuple[str, ...]]:
        """Yield the rows of the table as text, with its head and the sums."""
        yield _HEAD
        yield ("input", _shape(self.input_shape, times), "", "", "")
        for one in self.layers:
            yield (one.name, _shape(one.output_shape, times), *_counts(one))
        yield ("total", "", *_counts(self))

    def show(self) -> None:
        """Print the table; in a notebook, show it as one."""
        ipython = sys.modules.get("IPython")
        if ipython is not None and ipython.get_ipython() is not None:
            importlib.import_module("IPython.display").display(self)
        else:
            print(self)  # noqa: T201


def summary_of(
    network: Network, itemsize: int, memory: MemoryEstimate | None = None, **more: Any
) -> NetworkSummary:
    """Return the summary of a network whose values have so many bytes."""
    layers = [
        LayerSummary(
            name=name_of(layer),
            kind=layer.kind,
            output_shape=after,
            parameters=sum(prod(p.shape) for p in layer.parameters(before).values()),
            multiplications=layer.operations(before) // 2,
            activations=itemsize * prod(after),
            sees=_seen(layer, before),
        )
        for layer, before, after in zip(
            network.layers, network.shapes, network.shapes[1:], strict=False
        )
    ]
    return NetworkSummary(network.shapes[0], layers, memory, **more)


def summary_of_fit(model: Any, network: Network, n_samples: int | None = None) -> NetworkSummary:
    """Return the summary of a network of a classifier, with the memory of its fit.

    Parameters
    ----------
    model : NeuralClassifier
        The classifier, fitted or not.
    network : Network
        Its layers.
    n_samples : int or None, default=None
        The samples of the fit. None: the memory of parameters, and of a step.
    """
    dtype = model.coefs_[0].dtype if hasattr(model, "coefs_") else model._own_dtype
    by_steps, rows = solver_named(model.solver).goes_by_steps, n_samples
    if rows is None:
        rows = _MANY if model.batch_size == "auto" else int(model.batch_size)
    # samples that take no memory, of which only the shape and the type are looked at
    X = np.broadcast_to(np.zeros((), dtype), (rows, prod(network.shapes[0])))
    n_learned, more = (rows, {}) if n_samples is None else model._rows_learned(rows)
    memory = model._fit_memory(network, X, n_learned, _device(model, network, X, n_samples), **more)
    step = batch_size_of(model, n_learned) if by_steps else 0
    return summary_of(network, dtype.itemsize, memory, step=step, n_samples=n_samples)


def _device(model: Any, network: Network, X: Any, n_samples: int | None) -> str:
    """Return where a fit would run. A GPU that is named need not be there."""
    if model.device == "auto":
        if n_samples is None:  # "auto" decides by how much there is to do
            return "cpu"
        return device_for(X, "auto", lambda: model._fit_work(network, X, incremental=False))
    try:
        return resolve_device(model.device)
    except (ImportError, RuntimeError):
        return ANY_GPU


def common(one: NetworkSummary, other: NetworkSummary) -> NetworkSummary:
    """Return what two summaries of the same layers for different samples agree in."""
    layers = []
    for a, b in zip(one.layers, other.layers, strict=True):
        layers.append(
            LayerSummary(
                name=a.name if a.name == b.name else f"{a.name.partition('(')[0]}(?)",
                kind=a.kind,
                output_shape=_same_axes(a.output_shape, b.output_shape),
                parameters=_same(a.parameters, b.parameters),
                multiplications=_same(a.multiplications, b.multiplications),
                activations=_same(a.activations, b.activations),
            )
        )
    return NetworkSummary(_same_axes(one.input_shape, other.input_shape), layers)


def _seen(layer: Layer, shape: Shape) -> tuple[int, int] | None:
    """Return the rows and columns of an image that a place of a layer sees."""
    fields = layer.sees((Field(1, 1, 0),) * 2, shape) if len(shape) == 3 else None
    return None if fields is None else (fields[0].size, fields[1].size)


def _same(a: int | None, b: int | None) -> int | None:
    return a if a == b else None


def _same_axes(a: tuple[int | None, ...], b: tuple[int | None, ...]) -> tuple[int | None, ...]:
    return tuple(_same(i, j) for i, j in zip(a, b, strict=True))


def _sum(numbers: list[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def _counts(of: LayerSummary | NetworkSummary) -> tuple[str, str, str]:
    """Return the cells of multiplications, activations and parameters."""
    activations = "?" if of.activations is None else amount(of.activations)
    return _count(of.multiplications), activations, _count(of.parameters)


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def name_of(layer: Layer) -> str:
    """Return the layer as a user would write it, without the fields that have their defaults."""
    own = fields(layer)  # type: ignore[arg-type]
    given = [(f.name, getattr(layer, f.name)) for f in own if f.default is MISSING]
    changed = [
        (f.name, getattr(layer, f.name))
        for f in own
        if f.default is not MISSING and getattr(layer, f.name) != f.default
    ]
    arguments = [str(value) for _, value in given] + [f"{n}={value!r}" for n, value in changed]
    return f"{type(layer).__name__}({', '.join(arguments)})"


def _shape(shape: tuple[int | None, ...] | Shape, times: str) -> str:
    return f" {times} ".join("?" if n is None else str(n) for n in shape)
