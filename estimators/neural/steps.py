"""The steps of an epoch.

What the steps take is known before the first one: rows, weights, rates, penalties. It goes to the
device at the start of the epoch, in a few pieces, and a step has views of them. In between nothing
is sent to the device, and nothing is read from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from cukernels import shift_and_flip
from cukernels.runtime import Array, like
from estimators.neural.data import Batch, Cut, Data
from estimators.neural.trainee import Trainee
from estimators.shared.rows import SparseRows


class Step(NamedTuple):
    """What the models take in one step.

    Attributes
    ----------
    batch : Batch
        Samples and targets.
    weight : array of shape (M, B), or None
    size, learning_rate, l2 : float64 arrays of shape (M,)
        Rows of each model, its rate, and the strength of the penalty: alpha over the weight of
        the rows, or 0 where the solver has another use of alpha.
    number : integer array of shape (M,)
        From 1, over all epochs.
    changes : integer array of shape (M, B, 4), or None
        What becomes of the images, as `shift_and_flip` takes it.
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
        """Rows of each model."""
        return self.batch.places.shape[1]

    def part(self, models: slice, rows: slice) -> tuple[Array | SparseRows, Array, Array | None]:
        """Samples, targets and weights of some models and rows."""
        x, y = self.batch.part(models, rows)
        if self.changes is not None:
            x = shift_and_flip(x, self.changes[models, rows])
        return x, y, None if self.weight is None else self.weight[models, rows]

    def share(self, models: slice, rows: slice) -> np.ndarray:
        """The part of some rows in the weight of all, (M,); on the host."""
        if self.weight is None:
            n_models, n_rows = self.batch.places[models].shape
            own = len(range(n_rows)[rows])
            return np.full(n_models, own / n_rows)
        weight = self.weight[models].astype(np.float64)
        mass = weight.sum(axis=1)
        return weight[:, rows].sum(axis=1) / np.where(mass == 0, 1, mass)


def epoch_steps(trainees: list[Trainee], data: Data, reference: Array) -> Iterator[Step]:
    """Shuffle the rows of each model, and walk an epoch.

    Where the last batches differ in length, the short ones are filled up with rows of weight 0.

    Parameters
    ----------
    trainees : list of Trainee
        The models; they agree in the number of batches, and in their size if there are several.
    data : Data
    reference : array
        Gives the device, and the dtype of the weights.
    """
    numbers = np.array([t.progress.step for t in trainees]) + 1
    rates = np.stack([t.start_epoch() for t in trainees], axis=1)
    lengths = np.array([len(t.rows) for t in trainees])
    cut = Cut.of(lengths, max(t.settings.batch_size for t in trainees))
    sizes = np.full((cut.steps, len(trainees)), float(cut.size))
    sizes[-1] = lengths - cut.full * cut.size
    weights = _weights(trainees, cut, sizes, reference.dtype)
    mass = sizes.copy()
    for i, weight in enumerate(_pieces_from_the_end(weights, cut)):
        if weight is not None:
            mass[i] = weight.sum(axis=1)
    l2 = [t.penalty for t in trainees] / np.where(mass == 0, 1, mass)

    table = like(np.stack([sizes, rates, l2], axis=1), reference)
    numbers = like(numbers + np.arange(cut.steps)[:, None], reference)
    placed = _pieces_from_the_end(like(weights, reference), cut)
    changes = _changes(trainees, cut, sizes, reference)
    rows = cut.lay_out([t.first_row + t.rows for t in trainees], np.intp)
    batches = data.batches(rows, cut)
    for i, batch in enumerate(batches):
        own = None if changes is None else changes[i]
        yield Step(batch, placed[i], table[i, 0], table[i, 1], table[i, 2], numbers[i], own)


def _weights(trainees: list[Trainee], cut: Cut, sizes: np.ndarray, dtype: Any) -> np.ndarray:
    """The weights of rows in the order of `cut`, from the first step that needs any."""
    weighted = any(t.sample_weight is not None for t in trainees)
    if not weighted and (sizes[-1] == cut.rest).all():
        return np.zeros(0, dtype)
    flat = cut.lay_out(
        [
            np.ones(len(t.rows)) if t.sample_weight is None else t.sample_weight[t.rows]
            for t in trainees
        ],
        dtype,
    )
    return flat if weighted else flat[cut.bounds[-2] :]


def _pieces_from_the_end(flat: Array, cut: Cut) -> list[Array | None]:
    """The weights of each step; None in the steps before the first that has some."""
    if len(flat) == cut.bounds[-1]:
        return cut.pieces(flat)
    last = flat.reshape(cut.models, cut.rest) if len(flat) else None
    return [*[None] * cut.full, last]


def _changes(
    trainees: list[Trainee], cut: Cut, sizes: np.ndarray, reference: Array
) -> list[Array] | None:
    """The random changes of the images of each step, (M, B, 4), drawn step after step."""
    if all(t.augment is None for t in trainees):
        return None
    drawn = [
        np.zeros((len(t.rows), 4), np.int32)
        if t.augment is None
        else np.concatenate([t.augment(int(size)) for size in own])
        for t, own in zip(trainees, sizes.T, strict=True)
    ]
    return cut.pieces(like(cut.lay_out(drawn, np.int32), reference))
