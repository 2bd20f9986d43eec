"""The steps of an epoch.

Rows, weights, learning rates and penalties of all steps are known before the first one. They go to
the device at the start of the epoch, in a few arrays, and a step has views of them. During the
epoch nothing is sent to the device, and nothing is read from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import scipy.sparse as sp

from cukernels import shift_and_flip
from cukernels.runtime import Array, like
from estimators.shared.rows import SharedRows, SparseRows
from estimators.training.data import BatchLayout, Data
from estimators.training.member import Member

Samples = Array | SparseRows | SharedRows


class Taken(Protocol):
    """Where a step has its samples and targets from; `data.Batch` is one."""

    @property
    def shape(self) -> tuple[int, int]:
        """Models, and rows of each."""

    def take(self, models: slice, rows: slice) -> tuple[Samples, Array]:
        """Return samples and targets, (M or 1, B, ...) and (M, B, ...)."""


class Step(NamedTuple):
    """What the models take in one step.

    Attributes
    ----------
    batch : Taken
        Samples and targets.
    weight : array of shape (M, B), or None
        Weights of the samples.
    settings, number : arrays of shapes (4, M) and (M,)
        What `told_apart` returns for the step: its numbers, and the one that is an integer.
    changes : integer array of shape (M, B, 4), or None
        How the images change, as `shift_and_flip` takes it.
    is_uneven : bool
        Whether models have different numbers of rows, and none of them takes more than its own.
    """

    batch: Taken
    weight: Array | None
    settings: Array
    number: Array
    changes: Array | None
    is_uneven: bool = False

    @property
    def size(self) -> Array:
        """Number of rows of each model, (M,)."""
        return self.settings[0]

    @property
    def learning_rate(self) -> Array:
        """Learning rate of each model, (M,)."""
        return self.settings[1]

    @property
    def l2(self) -> Array:
        """Strength of the penalty of each model, (M,).

        It is alpha over the weight of the rows, or 0 where the solver has another use for alpha.
        """
        return self.settings[2]

    @property
    def n_rows(self) -> int:
        """The number of rows of each model, with those that fill it up."""
        return self.batch.shape[1]

    def take(self, models: slice, rows: slice) -> tuple[Samples, Array, Array | None]:
        """Return samples, targets and weights of some models and rows."""
        x, y = self.batch.take(models, rows)
        if self.changes is not None:
            x = shift_and_flip(x, self.changes[models, rows])
        return x, y, None if self.weight is None else self.weight[models, rows]

    def weight_fraction(self, models: slice, rows: slice, n_rows: int) -> np.ndarray:
        """Return what fraction of the weight of `n_rows` these have: (M,), on the host."""
        if self.weight is None:
            n_taken = len(range(n_rows)[rows])
            return np.full(len(range(self.batch.shape[0])[models]), n_taken / n_rows)
        weight = self.weight[models, :n_rows].astype(np.float64)
        mass = weight.sum(axis=1)
        return weight[:, rows].sum(axis=1) / np.where(mass == 0, 1, mass)


class Epoch(NamedTuple):
    """What is drawn for an epoch, on the host.

    Attributes
    ----------
    layout : BatchLayout
        How rows lie in the arrays.
    rows : list of integer ndarray
        The rows of each model; models with the same order have the same array.
    weights : ndarray
        Weights in the flat order of the layout, as few of them as the steps need: those of all
        steps where samples have weights, those of the last step where that is filled up with rows
        that are computed, or none.
    changes : int32 ndarray of shape (n_rows, 4), or None
        How the images change, in the flat order.
    sizes, mass : float64 ndarray of shape (S, M)
        Number of rows, and their weight, of each step and model.
    """

    layout: BatchLayout
    rows: list[np.ndarray]
    weights: np.ndarray
    changes: np.ndarray | None
    sizes: np.ndarray
    mass: np.ndarray


def layout_of(members: Sequence[Member]) -> BatchLayout:
    """Return the layout of the epochs of a stack.

    Where the last batches differ in length, the short ones are filled up: on a GPU with rows of
    weight 0, elsewhere with rows that nobody computes.
    """
    lengths = np.array([len(m.rows) for m in members])
    return BatchLayout.of(lengths, max(m.settings.batch_size for m in members))


Changes = list[np.ndarray | None]  # of the images of each model, step after step


def draw(members: Sequence[Member]) -> Changes:
    """Shuffle the rows of each model, and draw how its images change in the next epoch."""
    for m in members:
        m.note_draw()
    for order in {id(m.order): m.order for m in members}.values():
        order.next()
    if all(m.augment is None for m in members):
        return [None] * len(members)
    layout = layout_of(members)
    return [m.augment and _drawn_changes(m, layout) for m in members]


def _drawn_changes(member: Member, layout: BatchLayout) -> np.ndarray:
    """Draw how the images of a model change, step by step."""
    rest = len(member.rows) - layout.full * layout.size
    sizes = [*[layout.size] * layout.full, rest]
    return np.concatenate([member.augment(size) for size in sizes])


def epoch_of(
    members: Sequence[Member], drawn: Changes, dtype: Any, *, fills_up: bool = True
) -> Epoch:
    """Return an epoch, for the rows of models in their present order.

    Parameters
    ----------
    members : sequence of Member
        The models. They agree in the number of batches, and in their size if there are several.
    drawn : list
        What `draw` returned for them.
    dtype : dtype
        The dtype of the weights.
    fills_up : bool, default=True
        Whether what fills up the last step is computed, and needs a weight of 0.
    """
    layout = layout_of(members)
    lengths = np.array([len(m.rows) for m in members])
    sizes = np.full((layout.steps, len(members)), float(layout.size))
    sizes[-1] = lengths - layout.full * layout.size
    weights = _weights(members, layout, sizes, dtype, fills_up=fills_up)
    mass = sizes.copy()
    for i, weight in enumerate(weights_by_step(weights, layout)):
        if weight is not None:
            n_rows = sizes[i].astype(int)
            mass[i] = weight.sum(axis=1)
            for m in np.flatnonzero(n_rows < weight.shape[1]):
                mass[i, m] = weight[m, : n_rows[m]].sum()  # zeros may change the last bit of a sum
    changes = None
    if any(own is not None for own in drawn):
        unchanged = (np.zeros((n, 4), np.int32) for n in lengths)
        flat = [u if own is None else own for u, own in zip(unchanged, drawn, strict=True)]
        changes = layout.flattened(flat, np.int32)
    orders = {id(m.order): m for m in members}
    placed = {key: m.first_row + m.rows for key, m in orders.items()}
    rows = [placed[id(m.order)] for m in members]
    return Epoch(layout, rows, weights, changes, sizes, mass)


def step_settings(members: Sequence[Member], epoch: Epoch) -> np.ndarray:
    """Return what the steps of an epoch are told of each model: (S, 4, M), float64.

    The entries of a step are the number of rows, the learning rate, the strength of the penalty,
    and the number of the step, from 1 over all epochs, an int64 in the place of a float64.
    """
    settings = np.empty((epoch.layout.steps, 4, len(members)))
    settings[:, 0] = epoch.sizes
    for place, member in enumerate(members):
        settings[:, 1, place] = member.start_epoch()
    settings[:, 2] = [m.penalty for m in members] / np.where(epoch.mass == 0, 1, epoch.mass)
    first = np.array([m.state.step for m in members]) + 1
    settings[:, 3].view(np.int64)[...] = first + np.arange(epoch.layout.steps)[:, None]
    return settings


def told_apart(settings: Array) -> tuple[Array, Array]:
    """Return settings of steps, (..., 4, M), and the numbers among them as integers, (..., M)."""
    return settings, settings[..., 3, :].view(np.int64)


def epoch_steps(members: list[Member], data: Data, reference: Array) -> Iterator[Step]:
    """Draw an epoch, and yield its steps.

    Parameters
    ----------
    members : list of Member
        The models. They agree in the number of batches, and in their size if there are several.
    data : Data
        What their rows point into.
    reference : array
        Gives the device, and the dtype of the weights.
    """
    # Rows of sparse samples are of all models at once.
    fills_up = not isinstance(reference, np.ndarray) or sp.issparse(data.X)
    epoch = epoch_of(members, draw(members), reference.dtype, fills_up=fills_up)
    layout, last = epoch.layout, epoch.sizes[-1]
    is_uneven = not fills_up and bool((last != last[0]).any())
    settings, numbers = told_apart(like(step_settings(members, epoch), reference))
    weights = weights_by_step(like(epoch.weights, reference), layout)
    changes: Sequence[Array | None] = [None] * layout.steps
    if epoch.changes is not None:
        changes = layout.by_step(like(epoch.changes, reference))
    rows = layout.flattened(epoch.rows, np.intp)
    for i, batch in enumerate(data.batches(rows, layout)):
        is_last = i == layout.full
        yield Step(batch, weights[i], settings[i], numbers[i], changes[i], is_uneven and is_last)


def _weights(
    members: Sequence[Member], layout: BatchLayout, sizes: np.ndarray, dtype: Any, *, fills_up: bool
) -> np.ndarray:
    """Return the weights of an epoch, as `Epoch` has them."""
    if any(m.sample_weight is not None for m in members):
        return layout.flattened([m.row_weights for m in members], dtype)
    if not fills_up or (sizes[-1] == layout.rest).all():
        return np.zeros(0, dtype)
    return (np.arange(layout.rest) < sizes[-1][:, None]).astype(dtype).ravel()


def weights_by_step(flat: Array, layout: BatchLayout) -> list[Array | None]:
    """Return the weights of each step from those of an `Epoch`; None for a step without any."""
    if len(flat) == layout.bounds[-1]:
        return layout.by_step(flat)
    last = flat.reshape(layout.models, layout.rest) if len(flat) else None
    return [*[None] * layout.full, last]
