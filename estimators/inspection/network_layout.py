"""Where the layers of a network stand in its picture, in inches.

A layer that makes something of another shape, or has weights, stands for itself: an image is a
stack of sheets, units are a column. What only passes over its output (activations, normalisation,
dropout) makes strips beside it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, log2, sqrt

from estimators.neural.summary import LayerSummary, NetworkSummary

FEW = 12  # units that are drawn one by one
STRIPS = ("activation", "dropout", "normalization")
SMALL = 7.0  # points of what stands below a layer; what stands above has one more

_UNIT, _COLUMN, _DOUBLING = 0.15, 0.17, 0.1  # heights of a unit and of twice as many; a bar's width
_LEAST_SIDE, _MORE_SIDE, _SHEET, _SHEETS = 0.35, 0.95, 0.05, 8
_STRIP, _STRIP_GAP, _GAP, _MARGIN = 0.07, 0.03, 0.4, 0.35
_LETTER, _LINE = 0.62 / 72, 1.35 / 72  # inches of a letter and of a line, for each point
_WIDEST_ROW, _WRAP, _MOST_ROWS = 11.0, 17, 30


@dataclass
class Place:
    """A layer with its strips, and where it stands.

    Attributes
    ----------
    kind : str
        Its family; "input" is what the network is given.
    shape : tuple of int
        The shape of its output.
    indices : list of int
        The layers that it stands for; empty for the input.
    above, below : list of str
        Lines of text.
    strips : list of str
        The kinds of the layers beside it.
    sees : tuple of int or None
        Rows and columns of the image before it that one of its places sees.
    x, y : float
        The left and the middle; y increases upwards.
    width, height : float
        Of the front sheet, or of the column.
    sheets : int
        How many there are; 0 for units.
    row : int
        Which row it stands in.
    """

    kind: str
    shape: tuple[int, ...]
    indices: list[int] = field(default_factory=list)
    above: list[str] = field(default_factory=list)
    below: list[str] = field(default_factory=list)
    strips: list[str] = field(default_factory=list)
    sees: tuple[int, int] | None = None
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0
    sheets: int = 0
    row: int = 0

    @property
    def depth(self) -> float:
        """How far the last sheet stands behind the front one."""
        return max(self.sheets - 1, 0) * _SHEET

    @property
    def own_width(self) -> float:
        """The width without strips."""
        return self.width + self.depth

    @property
    def all_width(self) -> float:
        """The width with the strips."""
        return self.own_width + len(self.strips) * (_STRIP + _STRIP_GAP)

    @property
    def right(self) -> float:
        """The right edge, with the strips."""
        return self.x + self.all_width

    @property
    def bottom(self) -> float:
        """The lower edge of the front sheet."""
        return self.y - (self.height + self.depth) / 2

    @property
    def top(self) -> float:
        """The upper edge of the last sheet."""
        return self.y + (self.height + self.depth) / 2

    def sheet(self, k: int) -> tuple[float, float]:
        """Return the left and the bottom of a sheet; 0 is the front one."""
        return self.x + k * _SHEET, self.bottom + k * _SHEET

    def strip(self, k: int) -> tuple[float, float, float, float]:
        """Return left, bottom, width and height of a strip."""
        left = self.x + self.own_width + _STRIP_GAP + k * (_STRIP + _STRIP_GAP)
        return left, self.bottom + self.depth, _STRIP, self.height

    def units(self) -> list[tuple[float, float]]:
        """Return the middles of the units, from the top, if they are few."""
        if self.sheets or self.shape[0] > FEW:
            return []
        first = self.y + (self.shape[0] - 1) * _UNIT / 2
        return [(self.x + self.width / 2, first - k * _UNIT) for k in range(self.shape[0])]


@dataclass
class Layout:
    """The places of a picture, and its size in inches; its lower left corner is (0, 0)."""

    places: list[Place]
    width: float
    height: float


def layout_of(summary: NetworkSummary, size: tuple[float, float] | None = None) -> Layout:
    """Lay out the layers of a network, in as many rows as it takes.

    Parameters
    ----------
    summary : NetworkSummary
        The layers. All shapes have to be known.
    size : (float, float) or None, default=None
        Width and height of the axes that it is drawn into, as large as can be. None: the axes take
        the size of the layout, and rows have about 11 inches.
    """
    places = _places(summary)
    _size(places)
    if size is None:
        return _in_rows(places, ceil(sum(map(_room, places)) / _WIDEST_ROW - 0.15))
    numbers = range(1, min(len(places), _MOST_ROWS) + 1)

    def enlarged(n: int) -> float:
        layout = _in_rows(places, n)
        # one row, if it is nearly as large as in a figure of its own
        return min(size[0] / layout.width, size[1] / layout.height, 0.75)

    return _in_rows(places, max(numbers, key=enlarged))


def _in_rows(places: list[Place], n: int) -> Layout:
    """Set where the places stand in at most `n` rows of about equal widths."""
    rooms = [_room(place) for place in places]
    n, total = max(n, 1), sum(rooms)
    rows: list[list[Place]] = [[] for _ in range(n)]
    begun, width, widest = 0.0, 0.0, 0.0
    for place, room in zip(places, rooms, strict=True):
        place.row = min(int((begun + room / 2) / total * n), n - 1)
        begun += room
        if not rows[place.row]:
            width = _MARGIN if place.row else 0.0  # for an arrow
        place.x = width + (room - place.all_width) / 2  # in the middle of its room
        width += room
        widest = max(widest, width + _MARGIN * (n > 1))
        rows[place.row].append(place)
    rows = [row for row in rows if row]
    heights = [_heights(row) for row in rows]
    y = height = sum(map(sum, heights))
    for row, (above, body, below) in zip(rows, heights, strict=True):
        for place in row:
            place.y = y - above - body / 2
        y -= above + body + below
    return Layout(places, widest, height)


def _places(summary: NetworkSummary) -> list[Place]:
    """Return the input and the layers, with the strips beside them."""
    shape = _known(summary.input_shape)
    places = [Place("input", shape, above=["input"], below=[_shape(shape)])]
    counts = [0]
    for i, layer in enumerate(summary.layers):
        shape, count = _known(layer.output_shape), layer.parameters or 0
        if layer.kind in STRIPS and shape == places[-1].shape:
            places[-1].strips.append(layer.kind)
        else:
            places.append(Place(layer.kind, shape, below=[_shape(shape)], sees=layer.sees))
            counts.append(0)
        places[-1].indices.append(i)
        places[-1].above += _lines(layer)
        counts[-1] += count
    for place, count in zip(places, counts, strict=True):
        if count:
            place.below.append(f"{count:,} parameter{'s' * (count > 1)}")
    return places


def _known(shape: Sequence[int | None]) -> tuple[int, ...]:
    if any(n is None for n in shape):
        raise ValueError(f"a picture needs known shapes, got {tuple(shape)}")
    return tuple(n for n in shape if n is not None)


def _shape(shape: tuple[int, ...]) -> str:
    return " \u00d7 ".join(map(str, shape))


def _lines(layer: LayerSummary) -> list[str]:
    # a pair such as (3, 5) stays together
    name = re.sub(r"\((\d+), (\d+)\)", "(\\1,\u00a0\\2)", layer.name)
    return textwrap.wrap(name, _WRAP, break_long_words=False, break_on_hyphens=False)


def _size(places: list[Place]) -> None:
    """Set the sizes: sides of images by their square root, columns by their logarithm."""
    largest = max((max(p.shape[:2]) for p in places if len(p.shape) == 3), default=1)
    for place in places:
        if len(place.shape) == 3:
            rows, columns, channels = place.shape
            side = _LEAST_SIDE + _MORE_SIDE * sqrt(max(rows, columns) / largest)
            place.height = max(side * rows / max(rows, columns), _COLUMN / 2)
            place.width = max(side * columns / max(rows, columns), _COLUMN / 2)
            place.sheets = min(1 + ceil(log2(channels)), channels, _SHEETS)
        else:
            units = place.shape[0]
            place.width, place.height = _COLUMN, _UNIT * min(units, FEW)
            if units > FEW:
                place.height += _DOUBLING * log2(units / FEW)


def _room(place: Place) -> float:
    """Return the width that a place takes in its row, with its texts and what is between."""
    texts = [
        len(line) * _LETTER * (SMALL + 1 if line in place.above else SMALL)
        for line in (*place.above, *place.below)
    ]
    return max(place.all_width + _GAP, max(texts) + 0.15)


def _heights(row: list[Place]) -> tuple[float, float, float]:
    """Return the heights of a row: above its layers, of the layers, and below them.

    All layers have their middle at the same height. So a small one has room for more text.
    """
    body = max(place.height + place.depth for place in row)
    above = below = 0.0
    for place in row:
        spare = (body - place.height - place.depth) / 2
        above = max(above, (len(place.above) * (SMALL + 1)) * _LINE + 0.15 - spare)
        below = max(below, len(place.below) * SMALL * _LINE + 0.2 - spare)
    return above, body, below
