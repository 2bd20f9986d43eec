"""What a stack of networks learns from, and how its rows are cut into minibatches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from cukernels import gather_rows
from cukernels.runtime import Array, like, namespace
from estimators.shared.rows import SparseRows


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
