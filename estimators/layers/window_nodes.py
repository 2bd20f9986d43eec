"""Windows over images in operators of ONNX, for the layers that look through them."""

from __future__ import annotations

from typing import Any

import numpy as np

from cukernels.images import Grid
from estimators.layers.layer import Graph


def add_windows(graph: Graph, x: str, axes: Grid) -> str:
    """The window under each place as a row, tap after tap."""
    return graph.add("Concat", *add_taps(graph, x, axes), axis=3)


def add_taps(graph: Graph, x: str, axes: Grid) -> list[str]:
    """For each tap of a window the images of what all places see there."""
    rows, columns = axes
    pads = np.array([0, rows.before, columns.before, 0, 0, rows.after, columns.after, 0])
    padded = graph.add("Pad", x, graph.constant(pads))
    seen = []
    for r in range(rows.taps):
        for s in range(columns.taps):
            taps = rows.tap(r), columns.tap(s)
            seen.append(
                graph.add(
                    "Slice", padded,
                    graph.constant(np.array([tap.start for tap in taps])),
                    graph.constant(np.array([tap.stop for tap in taps])),
                    graph.constant(np.array([1, 2])),
                    graph.constant(np.array([tap.step for tap in taps])),
                )
            )  # fmt: skip
    return seen


def add_with_channels_first(
    graph: Graph, operator: str, x: str, *inputs: str, axes: Grid, **attributes: Any
) -> str:
    """Add an operator that slides windows over images whose channels are the first axis."""
    images = graph.add("Transpose", x, perm=[0, 3, 1, 2])
    pads = [axis.before for axis in axes] + [axis.after for axis in axes]
    strides = [axis.stride for axis in axes]
    maps = graph.add(operator, images, *inputs, strides=strides, pads=pads, **attributes)
    return graph.add("Transpose", maps, perm=[0, 2, 3, 1])
