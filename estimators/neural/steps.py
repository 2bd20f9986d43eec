"""The steps of an epoch.

Rows, weights, learning rates and penalties of all steps are known before the first one. They go to
the device at the start of the epoch, in a few arrays, and a step has views of them. During the
epoch nothing is sent to the device, and nothing is read from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from cukernels import shift_and_flip
from cukernels.runtime import Array, like
from estimators.neural.data import Batch, BatchLayout, Data
from estimators.neural.member import Member
from estimators.shared.rows import SparseRows


class Step(NamedTuple):
    """What the models take in one step.

    Attributes
    ----------
    batch : Batch
        Samples and targets.
    weight : array of shape (M, B), or None
        Weights of the samples.
    size : float64 array of shape (M,)
        Number of rows of each model.
    learning_rate : float64 array of shape (M,)
        Learning rate of each model.
    l2 : float64 array of shape (M,)
        Strength of the penalty: alpha over the weight of the rows, or 0 where the solver has
        another use for alpha.
    number : integer array of shape (M,)
        The number of the step, from 1, over all epochs.
    changes : integer array of shape (M, B, 4), or None
        How the images change, as `shift_and_flip` takes it.
    """

    batch: Batch
    weight: Array | None
    size: Array
    learning_rate: Array
    l2: Array
    number: Array
    changes: Array | None

    @property
    def n_rows(self) -> int:
        """The number of rows of each model, with those that fill it up."""
        return self.batch.places.shape[1]

    def take(self, models: slice, rows: slice) -> tuple[Array | SparseRows, Array, Array | None]:
        """Return samples, targets and weights of some models and rows."""
        x, y = self.batch.take(models, rows)
        if self.changes is not None:
            x = shift_and_flip(x, self.changes[models, rows])
        return x, y, None if self.weight is None else self.weight[models, rows]

    def weight_fraction(self, models: slice, rows: slice) -> np.ndarray:
        """Return what fraction of the weight of each model these rows have: (M,), on the host."""
        if self.weight is None:
            n_models, n_rows = self.batch.places[models].shape
            n_taken = len(range(n_rows)[rows])
            return np.full(n_models, n_taken / n_rows)
        weight = self.weight[models].astype(np.float64)
        mass = weight.sum(axis=1)
        return weight[:, rows].sum(axis=1) / np.where(mass == 0, 1, mass)


def epoch_steps(members: list[Member], data: Data, reference: Array) -> Iterator[Step]:
    """Shuffle the rows of each model, and yield the steps of an epoch.

    Where the last batches differ in length, the short ones are filled up with rows of weight 0.

    Parameters
    ----------
    members : list of Member
        The models. They agree in the number of batches, and in their size if there are several.
    data : Data
        What their rows point into.
    reference : array
        Gives the device, and the dtype of the weights.
    """
    numbers = np.array([m.state.step for m in members]) + 1
    rates = np.stack([m.start_epoch() for m in members], axis=1)
    lengths = np.array([len(m.rows) for m in members])
    layout = BatchLayout.of(lengths, max(m.settings.batch_size for m in members))
    sizes = np.full((layout.steps, len(members)), float(layout.size))
    sizes[-1] = lengths - layout.full * layout.size
    weights = _weights(members, layout, sizes, reference.dtype)
    mass = sizes.copy()
    for i, weight in enumerate(_weights_by_step(weights, layout)):
        if weight is not None:
            mass[i] = weight.sum(axis=1)
    l2 = [m.penalty for m in members] / np.where(mass == 0, 1, mass)

    table = like(np.stack([sizes, rates, l2], axis=1), reference)
    numbers = like(numbers + np.arange(layout.steps)[:, None], reference)
    placed = _weights_by_step(like(weights, reference), layout)
    changes = _changes(members, layout, sizes, reference)
    rows = layout.flattened([m.first_row + m.rows for m in members], np.intp)
    for i, batch in enumerate(data.batches(rows, layout)):
        own = None if changes is None else changes[i]
        yield Step(batch, placed[i], table[i, 0], table[i, 1], table[i, 2], numbers[i], own)


def _weights(
    members: list[Member], layout: BatchLayout, sizes: np.ndarray, dtype: Any
) -> np.ndarray:
    """Return the weights in the flat order of a layout, as few of them as the steps need.

    They are those of all steps where samples have weights, those of the last step where that is
    filled up, and else none.
    """
    weighted = any(m.sample_weight is not None for m in members)
    if not weighted and (sizes[-1] == layout.rest).all():
        return np.zeros(0, dtype)
    flat = layout.flattened([m.row_weights for m in members], dtype)
    return flat if weighted else flat[layout.bounds[-2] :]


def _weights_by_step(flat: Array, layout: BatchLayout) -> list[Array | None]:
    """Return the weights of each step from what `_weights` gave; None for a step without any."""
    if len(flat) == layout.bounds[-1]:
        return layout.by_step(flat)
    last = flat.reshape(layout.models, layout.rest) if len(flat) else None
    return [*[None] * layout.full, last]


def _changes(
    members: list[Member], layout: BatchLayout, sizes: np.ndarray, reference: Array
) -> list[Array] | None:
    """Draw the random changes of the images, step after step; return those of each, (M, B, 4)."""
    if all(m.augment is None for m in members):
        return None
    drawn = [
        np.zeros((len(m.rows), 4), np.int32)
        if m.augment is None
        else np.concatenate([m.augment(int(size)) for size in own])
        for m, own in zip(members, sizes.T, strict=True)
    ]
    return layout.by_step(like(layout.flattened(drawn, np.int32), reference))
