"""The arrays that a training step makes on a GPU, one after the other, as its memory sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from estimators.layers.layer import Rows
from estimators.layers.made import Made, StepSize

_ROUNDED = 512  # bytes that the memory of an array is a multiple of
_PLACE = 8  # bytes of a label


class Blocks:
    """What memory gives out, and how much of it that takes.

    Attributes
    ----------
    most : int
        The most bytes that arrays had at once.
    """

    def __init__(self) -> None:
        self._made: Counter[int] = Counter()
        self._free: Counter[int] = Counter()
        self._now = self.most = 0

    @property
    def total(self) -> int:
        """The bytes in all, where a block goes to arrays of its size alone; see `Arena`."""
        return sum(size * n for size, n in self._made.items())

    def make(self, n_bytes: int) -> int:
        """Give an array its block, and return the size of that."""
        size = rounded(n_bytes)
        if self._free[size]:
            self._free[size] -= 1
        else:
            self._made[size] += 1
        self._now += size
        self.most = max(self.most, self._now)
        return size

    def drop(self, blocks: Iterable[int]) -> None:
        """Take the blocks of arrays back."""
        for size in blocks:
            self._free[size] += 1
            self._now -= size


class _Pass(NamedTuple):
    """What is still there after a pass forward."""

    made: list[Made]
    held: list[int]
    scores: int


def rounded(n_bytes: int) -> int:
    """Return the bytes that an array takes."""
    return max(-(-n_bytes // _ROUNDED), 1) * _ROUNDED


def take_step(network: Any, size: StepSize, blocks: Blocks, *, changes: bool = False) -> None:
    """Make and drop the arrays of a step of training.

    Parameters
    ----------
    network : Network
        The network.
    size : StepSize
        What the step is about.
    blocks : Blocks
        Where the arrays lie.
    changes : bool, default=False
        Whether images are shifted first, which copies them.
    """
    images = [blocks.make(size.bytes(network.shapes[0]))] if changes else []
    done = _forward(network, size, blocks)
    loss = [blocks.make(size.models * size.itemsize), blocks.make(_PLACE * size.models)]
    first = blocks.make(size.bytes(network.shapes[-1]))  # the gradient, which the step holds
    blocks.drop(loss[1:])
    dy = first
    for made in reversed(done.made):
        passing = [blocks.make(n) for n in made.backward]
        if made.gradient is None:
            blocks.drop(passing)
            continue
        dx = blocks.make(made.gradient)
        blocks.drop(passing if dy is first else [*passing, dy])
        dy = dx
    blocks.drop([dy] if dy is not first else [])
    blocks.drop([*images, *done.held, done.scores, *loss[:1], first])


def score_rows(network: Any, size: StepSize, blocks: Blocks, *, x: Sequence[int]) -> None:
    """Make and drop the arrays of a prediction for some rows; `x` are the bytes of samples."""
    samples = [blocks.make(n) for n in x]
    done = _forward(network, size, blocks, training=False)
    scores = [blocks.make(size.bytes(network.shapes[-1]))]
    right = [blocks.make(size.models * size.rows)]
    blocks.drop([*samples, *done.held, done.scores, *scores, *right])


def _forward(network: Any, size: StepSize, blocks: Blocks, *, training: bool = True) -> _Pass:
    """Make the arrays of a pass forward. Outputs are dropped that no closure of a layer holds."""
    all_made: list[Made] = []
    held: list[int] = []
    x, x_is_held, first = None, True, network.first_trained
    for i, (_, layer, shape, output_shape) in enumerate(network.units):
        if not training and layer.rows is Rows.RANDOM:
            continue
        made = layer.made(shape, network.place_in_step(size, i))
        passing = [blocks.make(n) for n in made.forward]
        held += [blocks.make(n) for n in made.kept]
        y = blocks.make(size.bytes(output_shape))
        blocks.drop(passing)
        if x is not None:
            if x_is_held or made.holds_input:
                held.append(x)
            else:
                blocks.drop([x])
        x, x_is_held = y, made.holds_output
        if training and i >= first:
            all_made.append(made)
    assert x is not None
    return _Pass(all_made, held, x)
