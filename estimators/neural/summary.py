"""The layers of a network as a table of shapes and parameter counts."""

from __future__ import annotations

from dataclasses import MISSING, fields
from math import prod
from typing import Any

from estimators.training.network import Network


def summary_table(network: Network) -> str:
    """Return a table of the layers of a network, with output shapes and numbers of parameters.

    It is made from shapes alone, so that no parameter is allocated.
    """
    rows = [("input", _shape(network.shapes[0]), "")]
    total = 0
    for layer, before, after in zip(
        network.layers, network.shapes, network.shapes[1:], strict=False
    ):
        count = sum(prod(p.shape) for p in layer.parameters(before).values())
        total += count
        rows.append((_call(layer), _shape(after), f"{count:,}"))
    rows.append(("total", "", f"{total:,}"))
    rows.insert(0, ("layer", "output", "parameters"))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [
        f"{name:<{widths[0]}}  {shape:<{widths[1]}}  {count:>{widths[2]}}"
        for name, shape, count in rows
    ]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _call(layer: Any) -> str:
    """Return the layer as a user would write it, without the fields that have their defaults."""
    given = [(f.name, getattr(layer, f.name)) for f in fields(layer) if f.default is MISSING]
    changed = [
        (f.name, getattr(layer, f.name))
        for f in fields(layer)
        if f.default is not MISSING and getattr(layer, f.name) != f.default
    ]
    arguments = [str(value) for _, value in given] + [f"{n}={value!r}" for n, value in changed]
    return f"{type(layer).__name__}({', '.join(arguments)})"


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
