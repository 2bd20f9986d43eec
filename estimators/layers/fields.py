"""What one place of a layer sees of the images that a network is given: its receptive field."""

from __future__ import annotations

from typing import NamedTuple

from cukernels.images import Grid


class Field(NamedTuple):
    """The pixels of an input that one place of a layer sees, along rows or along columns.

    Attributes
    ----------
    size : int
        How many.
    step : int
        Pixels from the field of a place to that of the next.
    first : int
        The first pixel of the field of place 0; below 0 in the padding.
    """

    size: int
    step: int
    first: int


Fields = tuple[Field, Field]  # along the rows and along the columns


def seen_through(windows: Grid, seen: Fields) -> Fields:
    """What a place sees that looks through a window at places which see `seen` each."""
    rows, columns = (
        Field(
            field.size + (axis.taps - 1) * axis.dilation * field.step,
            field.step * axis.stride,
            field.first - axis.before * field.step,
        )
        for field, axis in zip(seen, windows, strict=True)
    )
    return rows, columns
