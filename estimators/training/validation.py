"""Scores of the models of a stack, all at once, on samples that they do not learn from."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from cukernels import right_rows
from cukernels.graphs import pinned, read
from cukernels.runtime import Array, like, namespace, to_host
from estimators.costs.network_memory import VALUES_SCORED_AT_ONCE, VALUES_STREAMED_AT_ONCE
from estimators.layers.layer import Mode, Parameters
from estimators.training.data import Batch, BatchLayout, Data
from estimators.training.held_out import HeldOut
from estimators.training.member import Member
from estimators.training.network import Network
from estimators.training.objective import Objective


def validation_scores(
    network: Network, objective: Objective, data: Data, members: Sequence[Member], params: Array
) -> list[float | None]:
    """Return the accuracy of each model on its samples held out, or None where it has none.

    Parameters
    ----------
    network, objective, data, members
        As `loop.train` takes them.
    params : array of shape (M, P)
        The parameters of the models.
    """
    scores: list[float | None] = [None] * len(members)
    for group in _groups(members):
        parameters = network.views(group.of(params))
        source, places = group.source(data), group.rows
        most = VALUES_STREAMED_AT_ONCE if source.is_streamed else VALUES_SCORED_AT_ONCE
        layout = _layout(network, places, most)

        def of(batch: Batch, parameters: list[Parameters] = parameters) -> np.ndarray:
            x, _targets = batch.take()
            z, _backward = network.forward(parameters, x, Mode())
            return to_host(objective.probabilities(z))

        outputs = list(map(of, source.batches(layout.flattened(places, np.intp), layout)))
        for m, held_out, p in zip(
            group.models, group.held_out, np.concatenate(outputs, axis=1), strict=True
        ):
            scores[m] = held_out.accuracy(p)
    return scores


class Group(NamedTuple):
    """Models that can be scored together: on as many rows of the same data.

    Attributes
    ----------
    models : list of int
        Their places in the stack.
    held_out : list of HeldOut
        The samples of each.
    rows : list of integer ndarray
        The rows of each, in what `source` returns.
    is_all : bool
        Whether all models of the stack are in the group.
    """

    models: list[int]
    held_out: list[HeldOut]
    rows: list[np.ndarray]
    is_all: bool

    def source(self, data: Data) -> Data:
        """Return what the rows point into; `data` is what the stack learns from."""
        return self.held_out[0].data or data

    def of(self, params: Array) -> Array:
        """Return the parameters of these models."""
        return params if self.is_all else params[self.models]


def _groups(members: Sequence[Member]) -> list[Group]:
    groups: dict[tuple, list[tuple[int, HeldOut]]] = {}
    for m, member in enumerate(members):
        if member.held_out is not None:
            kind = (id(member.held_out.data), len(member.held_out.rows))
            groups.setdefault(kind, []).append((m, member.held_out))
    return [
        Group(
            [m for m, _ in group],
            [h for _, h in group],
            [h.rows + (members[m].first_row if h.data is None else 0) for m, h in group],
            len(group) == len(members),
        )
        for group in groups.values()
    ]


def can_score_on_device(members: Sequence[Member], data: Data) -> bool:
    """Whether all samples held out are dense and on the device, as `Scorer` wants them."""
    sources = [m.held_out.data or data for m in members if m.held_out is not None]
    return not any(sp.issparse(source.X) or source.is_streamed for source in sources)


def _shared(rows: list[np.ndarray]) -> list[np.ndarray]:
    """The rows of models: those of one of them if all have the same."""
    return rows[:1] if all(np.array_equal(r, rows[0]) for r in rows[1:]) else rows


def _layout(network: Network, rows: list[np.ndarray], most: int | None = None) -> BatchLayout:
    size = max(1, (most or VALUES_SCORED_AT_ONCE) // max(map(prod, network.shapes)))
    return BatchLayout.of(np.array([len(r) for r in rows]), size)


class Scorer:
    """What `validation_scores` does, as work on a GPU that can be recorded.

    Parameters
    ----------
    network, objective, data, members
        As `loop.train` takes them. The samples are dense.
    params : array of shape (M, P)
        The parameters of the models, which stay where they are.
    """

    def __init__(
        self, network: Network, objective: Objective, data: Data, members: Sequence[Member],
        params: Array,
    ) -> None:  # fmt: skip
        self._network, self._objective, self._params = network, objective, params
        self._n_models, self._jobs = len(members), []
        xp = namespace(params)
        for group in _groups(members):
            rows = _shared(group.rows) if network.layers[0].shares_input else group.rows
            shared, layout = _layout(network, rows), _layout(network, group.rows)
            places = like(shared.flattened(rows, np.int32), params)
            labels = [h.labels.astype(np.int64) for h in group.held_out]
            right = xp.empty(layout.bounds[-1], np.uint8)
            job = _Job(
                group,
                group.source(data),
                None if group.is_all else like(np.array(group.models), params),
                shared.by_step(places),
                layout.by_step(like(layout.flattened(labels, np.int64), params)),
                layout.by_step(right),
                right,
                pinned(xp, right.shape, np.uint8),
            )
            self._jobs.append(job)

    def launch(self) -> None:
        """Score all models; what is right stays on the device."""
        for job in self._jobs:
            params = self._params if job.chosen is None else self._params.take(job.chosen, axis=0)
            parameters = self._network.views(params)
            for places, labels, right in zip(job.places, job.labels, job.right, strict=True):
                x = job.source.gathered(places)
                z, _backward = self._network.forward(parameters, x, Mode())
                right[...] = right_rows(self._objective.probabilities(z), labels)

    def read(self, stream: Any) -> None:
        """Begin to copy to the host what is right."""
        for job in self._jobs:
            read(job.all, job.on_host, stream)

    def scores(self) -> list[float | None]:
        """Return the accuracy of each model, or None; the copies are done."""
        scores: list[float | None] = [None] * self._n_models
        for job in self._jobs:
            group = job.group
            by_step = _layout(self._network, group.rows).by_step(job.on_host)
            right = np.concatenate(by_step, axis=1)
            for m, held_out, own in zip(group.models, group.held_out, right, strict=True):
                scores[m] = held_out.accuracy_of(own)
        return scores


class _Job(NamedTuple):
    """The arrays of a group."""

    group: Group
    source: Data
    chosen: Array | None
    places: list[Array]  # the rows of each chunk
    labels: list[Array]
    right: list[Array]  # views of the next one
    all: Array
    on_host: np.ndarray
