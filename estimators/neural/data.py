"""The minibatches of an epoch.

What the steps take is known before the first one: rows, weights, rates, penalties. It goes to the
device at the start of the epoch, in a few pieces, and a step has views of them. In between nothing
is sent to the device, and nothing is read from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from cukernels.images.augment import shift_and_flip
from cukernels.runtime.arrays import Array, like, namespace
from cukernels.training.gather import gather_rows
from estimators.layers.dense import SparseRows
from estimators.neural.trainee import Trainee


class Cut(NamedTuple):
    """How the rows of an epoch are cut into steps.

    Numbers that belong to rows lie flat, step after step, and within a step model after model:
    what a step takes is then contiguous, also of a stack.

    Attributes
    ----------
    models, size : int
        Models, and rows of each in a full step.
    full, rest : int
        Number of full steps, and rows of each model in the last one.
    """

    models: int
    size: int
    full: int
    rest: int

    @classmethod
    def of(cls, lengths: np.ndarray, size: int) -> Cut:
        """For models with so many rows each; where they differ, short last steps are filled up."""
        longest = int(lengths.max())
        full = (longest - 1) // size
        return cls(len(lengths), size, full, longest - full * size)

    @property
    def steps(self) -> int:
        """How many there are."""
        return self.full + 1

    @property
    def bounds(self) -> np.ndarray:
        """Where each step begins in the flat order, and where the last one ends."""
        sizes = [0, *[self.size] * self.full, self.rest]
        return self.models * np.cumsum(sizes)

    def lay_out(self, values: list[np.ndarray], dtype: Any) -> np.ndarray:
        """Bring one value a row of each model into the flat order, with zeros to fill up."""
        own, begin = values[0].shape[1:], self.size * self.full
        flat = np.zeros((self.bounds[-1], *own), dtype)
        steps = flat[: self.models * begin].reshape(self.full, self.models, self.size, *own)
        last = flat[self.models * begin :].reshape(self.models, self.rest, *own)
        for m, x in enumerate(values):
            steps[:, m] = x[:begin].reshape(self.full, self.size, *own)
            last[m, : len(x) - begin] = x[begin:]
        return flat

    def pieces(self, flat: Array) -> list[Array]:
        """What belongs to each step, of shape (M, B, ...)."""
        own, begin = flat.shape[1:], self.models * self.size * self.full
        steps = flat[:begin].reshape(self.full, self.models, self.size, *own)
        last = flat[begin:].reshape(self.models, self.rest, *own)
        return [*(steps[i] for i in range(self.full)), last]


class Data:
    """What a stack learns from.

    Parameters
    ----------
    X : array of shape (N, ...) or CSR matrix
        Samples; an array lies where `y` does, a matrix is SciPy's.
    y : array of shape (N, ...)
        Targets.
    """

    def __init__(self, X: Any, y: Array) -> None:
        self.X, self.y = X, y
        if sp.issparse(X):
            self._values, self._columns = like(X.data, y), like(X.indices, y)

    @classmethod
    def joined(cls, parts: Sequence[Data]) -> tuple[Data, np.ndarray]:
        """Several data sets end to end, and where each begins; a single one as it is."""
        begins = np.cumsum([0, *(part.y.shape[0] for part in parts[:-1])])
        if len(parts) == 1:
            return parts[0], begins
        xp = namespace(parts[0].y)
        samples = [part.X for part in parts]
        X = sp.vstack(samples, "csr") if sp.issparse(samples[0]) else xp.concatenate(samples)
        return cls(X, xp.concatenate([part.y for part in parts])), begins

    def batches(self, rows: np.ndarray, cut: Cut) -> Iterator[Batch]:
        """Samples and targets of each step, for row numbers in the order of `cut`."""
        places = like(rows, self.y)
        labels: Sequence[Array | None]
        labels = [None] * cut.steps
        if self.y.ndim == 1:  # labels are small: those of all steps at once
            labels = cut.pieces(gather_rows(self.y, places))
        stored: Iterator[SparseRows | None] = repeat(None)
        if sp.issparse(self.X) and isinstance(self.y, np.ndarray):
            stored = (_sparse_rows(self.X[piece.ravel()]) for piece in cut.pieces(rows))
        elif sp.issparse(self.X):
            stored = self._gathered_rows(rows, cut)
        for own, y, x in zip(cut.pieces(places), labels, stored, strict=False):
            yield Batch(self, own, y, x)

    def _gathered_rows(self, rows: np.ndarray, cut: Cut) -> Iterator[SparseRows]:
        """Gather the stored values of all steps at once; a step has a part of them."""
        begin = self.X.indptr[rows].astype(np.int64)
        lengths = self.X.indptr[rows + 1] - begin
        ends = np.concatenate([[0], np.cumsum(lengths)])  # of each row, among the gathered values
        places = like(np.arange(ends[-1]) + np.repeat(begin - ends[:-1], lengths), self.y)
        values, columns = gather_rows(self._values, places), gather_rows(self._columns, places)
        bounds = cut.bounds
        steps = list(zip(bounds, bounds[1:], strict=False))
        own = [ends[a : b + 1] - ends[a] for a, b in steps]
        indptr = like(np.concatenate(own).astype(self.X.indices.dtype), self.y)
        for i, (a, b) in enumerate(steps):
            part = slice(ends[a], ends[b])
            yield SparseRows(values[part], columns[part], indptr[a + i : b + i + 1])


class Batch(NamedTuple):
    """What a stack takes in one step, gathered where and when it is needed.

    Attributes
    ----------
    data : Data
    places : integer array of shape (M, B)
        The rows of each model.
    y : array of shape (M, B), or None
        Labels, where they are at hand.
    x : SparseRows or None
        Sparse samples of all models.
    """

    data: Data
    places: Array
    y: Array | None
    x: SparseRows | None

    def part(
        self, models: slice = slice(None), rows: slice = slice(None)
    ) -> tuple[Array | SparseRows, Array]:
        """Samples and targets, (M, B, ...), of some models and rows; of sparse ones always all."""
        places = self.places[models, rows]
        x = gather_rows(self.data.X, places) if self.x is None else self.x
        return x, gather_rows(self.data.y, places) if self.y is None else self.y[models, rows]


def _sparse_rows(X: Any) -> SparseRows:
    return SparseRows(X.data, X.indices, X.indptr)


class Step(NamedTuple):
    """What the models take in one step.

    Attributes
    ----------
    batch : Batch
        Samples and targets.
    weight : array of shape (M, B), or None
    size, learning_rate, l2 : float64 arrays of shape (M,)
        Rows of each model, its rate, and the strength of the penalty: alpha over the weight of
        the rows.
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
    l2 = [t.settings.alpha for t in trainees] / np.where(mass == 0, 1, mass)

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
