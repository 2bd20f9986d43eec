"""Epochs on a GPU without Python in their steps: each step replays a CUDA graph.

All that changes from step to step lies in tables on the device, and so does the number of the step
(`cukernels.take_step`). The host fills the tables of an epoch, starts its graphs, draws the next
epoch while they run, and reads the losses at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from time import perf_counter
from typing import Any

import numpy as np
import scipy.sparse as sp

from cukernels import lose_overflowed, take_step
from cukernels.graphs import Arena, Lanes, Recorded, Table, pinned, read
from cukernels.runtime import Array, like, namespace
from cukernels.training import loss_total
from estimators.costs.compile_ahead import compile_ahead
from estimators.shared.rows import SharedRows
from estimators.training.data import BatchLayout, Data
from estimators.training.objective import Objective
from estimators.training.ring import Ring
from estimators.training.stack import Stack
from estimators.training.steps import (
    Changes,
    Epoch,
    Step,
    draw,
    epoch_of,
    layout_of,
    step_settings,
    told_apart,
)
from estimators.training.validation import Scorer, can_score_on_device, validation_scores

_WORTH = 4  # calls from which on work is recorded
_MOST_VALUES = 2**30  # of the samples of a step: `take_step` counts their words in 32 bits
_SECONDS_TO_RECORD = 4e-3  # what it takes to make new tables and graphs


@dataclass
class GatheredBatch:
    """The samples and targets of a step, at fixed places."""

    x: Array | SharedRows
    y: Array

    @property
    def shape(self) -> tuple[int, int]:
        """Models, and rows of each."""
        return self.y.shape[:2]

    def take(self, models: slice, rows: slice) -> tuple[Array | SharedRows, Array]:
        """Return them; a step on a GPU takes all models and rows."""
        return self.x, self.y


class Steps:
    """The steps of an epoch that have the same size, as one graph.

    Parameters
    ----------
    replay : Replay
        What they are steps of.
    own : slice
        Which steps of the epoch they are.
    size : int
        Rows of each model.
    weighted : bool
        Whether their rows have weights.
    augmented : bool
        Whether their images change.
    """

    def __init__(
        self, replay: Replay, own: slice, size: int, *, weighted: bool, augmented: bool
    ) -> None:
        stack, data, xp = replay.stack, replay.data, replay.xp
        self.own = own
        self.count = own.stop - own.start
        n_models, n_groups, dtype = len(stack.members), len(replay.firsts), stack.params.dtype
        in_step = (self.count, n_models, size)
        self.rows = Table(xp, (self.count, n_groups, size), np.int32)
        self.ring = Ring(xp, data.X, n_groups * size) if data.is_streamed else None
        X, where = data.X, None
        if self.ring is not None:
            in_ring = self.ring.places(2 * self.count).reshape(self.rows.device.shape)
            X, where = self.ring.device, like(in_ring.astype(np.int32), stack.params)
        self.settings = Table(xp, (self.count, 4, n_models), np.float64)
        self.weight = Table(xp, in_step, dtype) if weighted else None
        self.changes = Table(xp, (*in_step, 4), np.int32) if augmented else None
        number = xp.zeros(1, np.int32)
        batch = xp.empty((n_groups, size, *data.X.shape[1:]), dtype)
        targets = xp.empty((n_models, size, *data.y.shape[1:]), data.y.dtype)
        tables = {"settings": self.settings, "weight": self.weight, "changes": self.changes}
        places: dict[str, Any] = {}
        for name, table in tables.items():
            device = None if table is None else table.device
            places[name] = device
            places[f"own_{name}"] = None if device is None else xp.empty_like(device[0])
        is_shared = replay.group_of is not None and n_groups > 1  # of one group, all have the same
        step = Step(
            GatheredBatch(SharedRows(batch, replay.group_of) if is_shared else batch, targets),
            places["own_weight"], *told_apart(places["own_settings"]), places["own_changes"],
        )  # fmt: skip
        (group,) = stack.groups
        rows, y, of, total = self.rows.device, data.y, replay.group_of, replay.total
        objective = replay.objective

        def work() -> None:
            take_step(number, rows, X, y, batch, targets, of=of, places=where, **places)
            group.learn(objective, step, total)

        calls = self.count * replay.epochs
        self._lanes, self.work = replay.lanes, work
        self.kind = (size, weighted, augmented)
        self._step = Recorded(work, replay.lanes, replay.arena, records=calls >= _WORTH)

    def run(self, half: int) -> None:
        """Take the steps of an epoch, whose tables are in this half."""
        for i in range(self.count):
            if self.ring is None:
                self._step()
            else:
                number = half * self.count + i
                self.ring.bring(number, self.rows.host(half)[i].ravel(), self._lanes)
                self._step()
                self.ring.mark_used(number, self._lanes)

    def send(self, half: int, epoch: Epoch, firsts: list[int], stream: Any) -> None:
        """Fill the tables of what is drawn; `firsts` are models that stand for their groups."""
        layout, groups = epoch.layout, epoch.layout._replace(models=len(firsts))
        rows = groups.flattened([epoch.rows[m] for m in firsts], np.int32)
        self.rows.fill(half, self._part(groups, rows), stream)
        if self.weight is not None:
            is_whole = len(epoch.weights) == layout.bounds[-1]  # and not of the last step alone
            weights = self._part(layout, epoch.weights) if is_whole else epoch.weights
            self.weight.fill(half, weights, stream)
        if self.changes is not None and epoch.changes is not None:
            self.changes.fill(half, self._part(layout, epoch.changes), stream)

    def _part(self, layout: BatchLayout, flat: np.ndarray) -> np.ndarray:
        """The part of an array in the flat order that belongs to these steps."""
        bounds = layout.bounds
        return flat[bounds[self.own.start] : bounds[self.own.stop]]


class Replay:
    """The epochs of a stack, as graphs.

    Parameters
    ----------
    stack : Stack
        The models.
    objective, data
        As `loop.train` takes them. The samples are dense.
    epochs : int
        The most epochs that are still to come.
    """

    def __init__(self, stack: Stack, objective: Objective, data: Data, epochs: int) -> None:
        self.stack, self.objective, self.data, self.epochs = stack, objective, data, epochs
        self.xp = namespace(stack.params)
        self.lanes, self.arena = Lanes(self.xp), Arena(self.xp)
        self._done_epochs, self._seconds = 0, 0.0
        self._drawn: Changes | None = None  # what is drawn ahead
        self._prepare()

    def _prepare(self) -> None:
        """Make the tables and the graphs for the models that the stack has now."""
        stack, members = self.stack, self.stack.members
        self._n_rows = np.array([len(m.rows) for m in members])
        self.firsts, group_of = _groups(stack)
        is_whole = len(self.firsts) == len(members)
        self.group_of = None if is_whole else like(group_of, stack.params)
        self._half = 0
        self._next: tuple[Epoch, Any] | None = None
        with self.lanes.entered():
            self.total = loss_total(stack.params, stack.network.n_decayed)
            self._losses = pinned(self.xp, self.total.shape, self.total.dtype)
            self.steps = self._kinds()
            self._scorer, self._score = None, None
            is_scored = any(m.held_out is not None for m in members)
            if can_score_on_device(members, self.data):
                scorer = Scorer(stack.network, self.objective, self.data, members, stack.params)
                records = self.epochs >= _WORTH
                self._score = Recorded(scorer.launch, self.lanes, self.arena, records=records)
                self._scorer = scorer
            kinds = (self.data.X.dtype, is_scored, *(steps.kind for steps in self.steps))
            compile_ahead(stack, self.objective, ("replayed", *kinds), self._take)

    def _take(self) -> None:
        """Take a step of each kind and score the models, for the kernels that this needs."""
        with self.arena.used():
            for steps in self.steps:
                steps.work()
            lose_overflowed(self.total, self.stack.params)
            if self._scorer is not None:
                self._scorer.launch()

    def _kinds(self) -> list[Steps]:
        """Return the steps that are alike: mostly the full ones, and the last one."""
        members, layout = self.stack.members, layout_of(self.stack.members)
        weighted = any(m.sample_weight is not None for m in members)
        fills_up = bool((self._n_rows != self._n_rows.max()).any())
        augmented = any(m.augment is not None for m in members)
        if layout.rest == layout.size and (weighted or not fills_up):
            parts = [(0, layout.steps, layout.size, weighted)]
        else:
            parts = [(layout.full, layout.steps, layout.rest, weighted or fills_up)]
            if layout.full:
                parts.insert(0, (0, layout.full, layout.size, weighted))
        return [
            Steps(self, slice(begin, end), size, weighted=has_weights, augmented=augmented)
            for begin, end, size, has_weights in parts
        ]

    def run(self) -> tuple[np.ndarray, list[float | None]]:
        """Pass once over the rows of every model; return the loss and the score of each."""
        begun = perf_counter()
        stack, work = self.stack, self.lanes.work
        with self.lanes.entered():
            epoch, sent = self._next or self._send()
            settings = step_settings(stack.members, epoch)
            for steps in self.steps:
                steps.settings.fill(self._half, settings[steps.own], work)
            work.wait_event(sent)
            stack.begin_epoch()
            self.total.data.memset_async(0, self.total.nbytes, work)
            for steps in self.steps:
                steps.run(self._half)
            lose_overflowed(self.total, stack.params)
            read(self.total, self._losses, work)
            if self._scorer is not None and self._score is not None:
                self._score()
                self._scorer.read(work)
            self._half = 1 - self._half
            self._next = self._send() if self._knows_the_next() else None
            self.lanes.wait()
        self.epochs -= 1
        self._done_epochs += 1
        self._seconds = perf_counter() - begun
        losses = self._losses.sum(axis=1) / self._n_rows
        if self._scorer is not None:
            return losses, self._scorer.scores()
        return losses, validation_scores(
            stack.network, self.objective, self.data, stack.members, stack.params
        )

    def _send(self) -> tuple[Epoch, Any]:
        """Draw an epoch and send it to the device, beside the work; return it with an event."""
        members = self.stack.members
        drawn = draw(members) if self._drawn is None else self._drawn
        self._drawn = None
        epoch = epoch_of(members, drawn, self.stack.params.dtype)

        def send(stream: Any) -> None:
            for steps in self.steps:
                steps.send(self._half, epoch, self.firsts, stream)

        self._kept = drawn
        return epoch, self.lanes.copy_beside(send)

    def _knows_the_next(self) -> bool:
        """Whether the next epoch can be drawn while this one runs, and will be wanted."""
        members = self.stack.members
        private = all(m.order.is_private for m in members)
        return private and any(m.state.n_iter + 1 < m.epochs for m in members)

    def drop(self, done: list[bool]) -> list[int]:
        """Let models leave the stack that are done, if that pays; return which ones stay.

        Without them a step takes less time, but has to be recorded anew. It is expected that the
        others will go on for as many epochs as there have been.
        """
        everybody = list(range(len(done)))
        stay = [m for m in everybody if not done[m]]
        private = all(m.order.is_private for m in self.stack.members)
        to_come = min(self._done_epochs, self.epochs)
        gain = done.count(True) / len(done) * self._seconds * to_come
        if not stay or (private and gain < _SECONDS_TO_RECORD):
            return everybody
        if self._next is not None:
            self._drawn = [self._kept[m] for m in stay]
        self.stack.keep(stay)
        self._prepare()
        return stay

    def close(self) -> None:
        """Wait for what is under way, also after an interrupt."""
        self.lanes.wait()


def _groups(stack: Stack) -> tuple[list[int], np.ndarray]:
    """Return the first model of each group that shares its samples, and the group of each model."""
    members = stack.members
    shares = stack.network.layers[0].shares_input and all(m.augment is None for m in members)
    if not shares:
        return list(range(len(members))), np.arange(len(members))
    firsts: dict[int, int] = {}
    for m, member in enumerate(members):
        firsts.setdefault(id(member.order), m)
    groups = {order: group for group, order in enumerate(firsts)}
    return list(firsts.values()), np.array([groups[id(m.order)] for m in members], np.int32)


def can_replay(stack: Stack, data: Data) -> bool:
    """Whether the epochs of a stack can be replayed: on a GPU, and with dense samples."""
    if isinstance(stack.params, np.ndarray) or sp.issparse(data.X) or len(data.X) >= 2**31:
        return False
    size = max(m.settings.batch_size for m in stack.members)
    return len(stack.members) * size * prod(data.X.shape[1:]) < _MOST_VALUES
