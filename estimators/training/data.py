"""What a stack of networks learns from, and how its rows are laid out in minibatches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from cukernels import gather_rows
from cukernels.runtime import Array, like, namespace, to_device, to_host
from estimators.shared.rows import SparseRows


class BatchLayout(NamedTuple):
    """The order in which an array holds the values of all rows of an epoch.

    The values lie step after step, and within a step model after model. So what a step takes is
    contiguous, also for a stack of models.

    Attributes
    ----------
    models : int
        Number of models.
    size : int
        Rows of each model in a full step.
    full : int
        Number of full steps.
    rest : int
        Rows of each model in the last step.
    """

    models: int
    size: int
    full: int
    rest: int

    @classmethod
    def of(cls, lengths: np.ndarray, size: int) -> BatchLayout:
        """Return the layout for models with so many rows each, in batches of a size.

        Where the lengths differ, the last steps of the shorter models are filled up.
        """
        longest = int(lengths.max())
        full = (longest - 1) // size
        return cls(len(lengths), size, full, longest - full * size)

    @property
    def steps(self) -> int:
        """The number of steps."""
        return self.full + 1

    @property
    def bounds(self) -> np.ndarray:
        """Where each step begins in the flat order, and where the last one ends."""
        sizes = [0, *[self.size] * self.full, self.rest]
        return self.models * np.cumsum(sizes)

    def flattened(self, values: list[np.ndarray], dtype: Any) -> np.ndarray:
        """Bring the values of the rows of each model into the flat order; zeros fill it up.

        Models that have the same array take as long as one of them.
        """
        row_shape, begin = values[0].shape[1:], self.size * self.full
        flat = np.zeros((self.bounds[-1], *row_shape), dtype)
        steps = flat[: self.models * begin].reshape(self.full, self.models, self.size, *row_shape)
        last = flat[self.models * begin :].reshape(self.models, self.rest, *row_shape)
        owners: dict[int, list[int]] = {}
        for m, x in enumerate(values):
            owners.setdefault(id(x), []).append(m)
        for own in owners.values():
            x = values[own[0]]
            steps[:, own] = x[:begin].reshape(self.full, 1, self.size, *row_shape)
            last[own, : len(x) - begin] = x[begin:]
        return flat

    def by_step(self, flat: Array) -> list[Array]:
        """Return views of a flat array, one for each step, of shape (M, B, ...)."""
        row_shape, begin = flat.shape[1:], self.models * self.size * self.full
        steps = flat[:begin].reshape(self.full, self.models, self.size, *row_shape)
        last = flat[begin:].reshape(self.models, self.rest, *row_shape)
        return [*(steps[i] for i in range(self.full)), last]


class Data:
    """The samples and targets that a stack learns from.

    Parameters
    ----------
    X : array of shape (N, ...) or CSR matrix
        Samples. An array lies on the device of `y`, or on the host if the device has no room for
        it; a matrix is SciPy's and lies on the host.
    y : array of shape (N, ...)
        Targets.
    dtype : dtype, default=None
        The dtype that samples have in a batch; None: that of X. Images of bytes become numbers
        there, and take no more memory than they need before.

    Attributes
    ----------
    is_streamed : bool
        Whether the samples are on the host, and come to the device of `y` batch by batch.
    """

    def __init__(self, X: Any, y: Array, dtype: Any = None) -> None:
        self.X, self.y = X, y
        self.dtype = np.dtype(X.dtype if dtype is None else dtype)
        self.is_streamed = isinstance(X, np.ndarray) and not isinstance(y, np.ndarray)

    @cached_property
    def stored(self) -> tuple[Array, Array]:
        """The values of sparse samples and their columns, on the device of `y`."""
        return like(self.X.data, self.y), like(self.X.indices, self.y)

    @property
    def is_placed(self) -> bool:
        """Whether the samples are where `y` is."""
        return "stored" in vars(self) if sp.issparse(self.X) else not self.is_streamed

    def brought_to(self, device: str, *, streamed: bool) -> Data:
        """Return the same data with `y` on a device, and the samples too unless `streamed`."""
        if sp.issparse(self.X) or (streamed and isinstance(self.X, np.ndarray)):
            X = self.X
        else:
            X = to_device(self.X, device)
        return Data(X, to_device(self.y, device), self.dtype)

    def gathered(self, places: Array) -> Array:
        """Return dense samples of these rows, on the device of `y`."""
        if self.is_streamed:
            x = like(gather_rows(self.X, to_host(places)), self.y)
        else:
            x = gather_rows(self.X, places)
        return x if x.dtype == self.dtype else x.astype(self.dtype)

    @classmethod
    def joined(cls, sets: Sequence[Data], *, streamed: bool = False) -> tuple[Data, np.ndarray]:
        """Join data sets end to end, and return where each begins; a single one is not copied.

        Samples of several sets that lie on the host go straight to their places on the device of
        the targets, unless they are to be streamed.
        """
        begins = np.cumsum([0, *(data.y.shape[0] for data in sets[:-1])])
        if len(sets) == 1:
            return sets[0], begins
        xp = namespace(sets[0].y)
        samples = [data.X for data in sets]
        if sp.issparse(samples[0]):
            X = sp.vstack(samples, "csr")
        elif streamed or all(isinstance(x, xp.ndarray) for x in samples):
            X = namespace(samples[0]).concatenate(samples)
        else:
            ends = [*begins[1:], begins[-1] + len(samples[-1])]
            X = xp.empty((int(ends[-1]), *samples[0].shape[1:]), np.result_type(*samples))
            for begin, end, x in zip(begins, ends, samples, strict=True):
                X[begin:end].set(np.ascontiguousarray(x, X.dtype))
        return cls(X, xp.concatenate([data.y for data in sets]), sets[0].dtype), begins

    def batches(self, rows: np.ndarray, layout: BatchLayout) -> Iterator[Batch]:
        """Yield the batch of each step, for row numbers in the flat order of a layout."""
        places = like(rows, self.y)
        labels: Sequence[Array | None]
        labels = [None] * layout.steps
        if self.y.ndim == 1:  # labels are small, so those of all steps are gathered at once
            labels = layout.by_step(gather_rows(self.y, places))
        stored: Iterator[SparseRows | None] = repeat(None)
        if sp.issparse(self.X) and isinstance(self.y, np.ndarray):
            stored = (_sparse_rows(self.X[own.ravel()]) for own in layout.by_step(rows))
        elif sp.issparse(self.X):
            stored = self._gathered_rows(rows, layout)
        for own, y, x in zip(layout.by_step(places), labels, stored, strict=False):
            yield Batch(self, own, y, x)

    def _gathered_rows(self, rows: np.ndarray, layout: BatchLayout) -> Iterator[SparseRows]:
        """Gather the stored values of all steps at once, and yield slices of them step by step."""
        begin = self.X.indptr[rows].astype(np.int64)
        lengths = self.X.indptr[rows + 1] - begin
        ends = np.concatenate([[0], np.cumsum(lengths)])  # of each row, among the gathered values
        places = like(np.arange(ends[-1]) + np.repeat(begin - ends[:-1], lengths), self.y)
        values, columns = (gather_rows(stored, places) for stored in self.stored)
        del places  # there are more bytes of them than of values
        bounds = layout.bounds
        steps = list(zip(bounds, bounds[1:], strict=False))
        own = [ends[a : b + 1] - ends[a] for a, b in steps]
        indptr = like(np.concatenate(own).astype(self.X.indices.dtype), self.y)
        for i, (a, b) in enumerate(steps):
            stored = slice(ends[a], ends[b])
            # The row pointers of a step are one more than its rows, so each step adds one.
            yield SparseRows(values[stored], columns[stored], indptr[a + i : b + i + 1])


class Batch(NamedTuple):
    """What a stack takes in one step. Dense samples are gathered when they are taken.

    Attributes
    ----------
    data : Data
        Where they come from.
    places : integer array of shape (M, B)
        The rows of each model.
    y : array of shape (M, B), or None
        Labels, where they have been gathered already.
    x : SparseRows or None
        Sparse samples of all models.
    """

    data: Data
    places: Array
    y: Array | None
    x: SparseRows | None

    @property
    def shape(self) -> tuple[int, int]:
        """Models, and rows of each."""
        return self.places.shape

    def take(
        self, models: slice = slice(None), rows: slice = slice(None)
    ) -> tuple[Array | SparseRows, Array]:
        """Return samples and targets, (M, B, ...), of some models and rows.

        Sparse samples are always those of all models and rows.
        """
        places = self.places[models, rows]
        x = self.data.gathered(places) if self.x is None else self.x
        return x, gather_rows(self.data.y, places) if self.y is None else self.y[models, rows]


def _sparse_rows(X: Any) -> SparseRows:
    return SparseRows(X.data, X.indices, X.indptr)
