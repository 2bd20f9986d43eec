"""The one training loop: minibatches for a stack of M models, which may be one.

Every model has rows, weights, learning rates and a random stream of its own. The models share the
data and the shapes of their layers. A model that is done leaves the stack, so that nobody computes
for it. The host reads results once an epoch; all that changes from step to step is in arrays.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Protocol

import numpy as np

from cukernels import lose_overflowed
from cukernels.runtime import Array, and_surely, in_parallel, threads, to_host
from cukernels.training import loss_total
from estimators.costs.compile_ahead import compile_ahead
from estimators.shared.fit_protocol import Watch
from estimators.training.chunking import Chunking
from estimators.training.data import Data
from estimators.training.member import Member
from estimators.training.network import Network
from estimators.training.objective import Objective
from estimators.training.order import share_orders
from estimators.training.pace import Pace
from estimators.training.stack import ModelGroup, Stack
from estimators.training.steps import Step, epoch_steps
from estimators.training.validation import validation_scores


class Epochs(Protocol):
    """What passes over the rows of a stack: step by step as here, or as in `replay`."""

    def run(self) -> tuple[np.ndarray, list[float | None]]:
        """Pass once over the rows of every model; return the loss and the score of each."""

    def drop(self, done: list[bool]) -> list[int]:
        """Let models leave the stack that are done; return which ones stay, by their places.

        It may keep all of them, if that takes less time. Nobody looks at those that are done.
        """

    def close(self) -> None:
        """Wait for what is under way, also after an interrupt."""


def train(
    network: Network,
    objective: Objective,
    data: Data,
    members: list[Member],
    epochs: int,
    watch: Watch | None = None,
) -> None:
    """Train models until each is done, or for a number of epochs. Their `state` is updated.

    Parameters
    ----------
    network : Network
        The layers that the models share.
    objective : Objective
        What they minimise.
    data : Data
        What their rows point into.
    members : list of Member
        The models. They agree in `solver`, in what it shares (`Solver.shared`), in `batch_size`
        and in the number of batches of an epoch, and may differ in everything else.
    epochs : int
        The most epochs. A model may have fewer of its own.
    watch : callable, default=None
        Called after each epoch with the number of models that go on and the lowest loss.
    """
    share_orders(members)
    stack = Stack(network, members, Chunking.of(network, members, data), data.y)
    passes = _epochs_of(stack, objective, data, epochs)

    def leave() -> None:
        """Keep what is trained, after an interrupt too."""
        try:
            passes.close()
        finally:
            stack.save_the_rest()

    and_surely(lambda: _run_epochs(stack, passes, epochs, watch), leave)


def _run_epochs(stack: Stack, passes: Epochs, epochs: int, watch: Watch | None) -> None:
    done = [False] * len(stack.members)
    for _ in range(epochs):
        with np.errstate(over="ignore", invalid="ignore"):  # a loss that diverges is reported
            losses, scores = passes.run()
        going = [m for m, is_done in enumerate(done) if not is_done]
        for m in going:
            done[m] = stack.members[m].end_epoch(float(losses[m]), scores[m], stack.arrays_of(m))
        if newly := [m for m in going if done[m]]:
            stack.save(newly)
            done = [done[m] for m in passes.drop(done)]
        if watch is not None:
            lowest = float(np.nanmin(losses[going], initial=np.inf))
            watch(done.count(False), lowest)
        if all(done):
            break


def _epochs_of(stack: Stack, objective: Objective, data: Data, epochs: int) -> Epochs:
    """Return what passes over the rows of a stack."""
    if not isinstance(stack.params, np.ndarray):
        from estimators.training.replay import Replay, can_replay

        if can_replay(stack, data):
            return Replay(stack, objective, data, epochs)
    return StepByStep(stack, objective, data)


class StepByStep:
    """Epochs whose steps are computed one after the other, by the host or at its word."""

    def __init__(self, stack: Stack, objective: Objective, data: Data) -> None:
        self.stack, self.objective, self.data = stack, objective, data
        self._pace = Pace()

    def run(self) -> tuple[np.ndarray, list[float | None]]:
        """Pass once over the rows of every model; return the loss and the score of each."""
        stack, objective, data = self.stack, self.objective, self.data
        stack.begin_epoch()
        total = loss_total(stack.params, stack.network.n_decayed)
        self._take_steps(total)  # after which nothing holds the rows of sparse samples
        lose_overflowed(total, stack.params)
        n_rows = np.array([len(m.rows) for m in stack.members])
        losses = to_host(total).sum(axis=1) / n_rows
        return losses, validation_scores(
            stack.network, objective, data, stack.members, stack.params
        )

    def _take_steps(self, total: Array) -> None:
        """Take all steps of an epoch."""
        stack, objective, data = self.stack, self.objective, self.data
        steps: Iterable[Step] = epoch_steps(stack.members, data, stack.params)
        if not isinstance(stack.params, np.ndarray):
            steps = self._compiled(list(steps), total)
        if len(stack.groups) > 1 and stack.chunking.by_groups(len(stack.groups)):
            ahead = list(steps)

            def take(is_shared: bool) -> None:
                groups = stack.groups if is_shared else stack.groups_of_one
                _by_groups(stack.in_lanes(groups), objective, ahead, total, worth=is_shared)

            may_share = stack.chunking.models_of_a_thread > 0 and threads() > 1
            self._pace.timed(take) if may_share else take(False)
        else:
            for step in steps:
                _by_chunks(stack, objective, step, total)

    def _compiled(self, steps: list[Step], total: Array) -> list[Step]:
        """Return the steps, once their kernels are compiled."""
        stack, objective, ends = self.stack, self.objective, (steps[0], steps[-1])

        def take() -> None:
            for step in ends:
                for group in stack.groups:
                    group.learn(objective, step, total)
            lose_overflowed(total, stack.params)

        kinds = tuple((step.n_rows, step.weight is None) for step in ends)
        compile_ahead(stack, objective, ("launched", *kinds), take)
        return steps

    def drop(self, done: list[bool]) -> list[int]:
        """Let the models leave the stack that are done; return which ones stay."""
        stay = [m for m, is_done in enumerate(done) if not is_done]
        self.stack.keep(stay)
        return stay

    def close(self) -> None:
        """Nothing is under way."""


def _by_groups(
    lanes: list[list[ModelGroup]],
    objective: Objective,
    steps: list[Step],
    total: Array,
    *,
    worth: bool,
) -> None:
    """Let each group take all steps, so that its models stay in the cache of a core."""
    stopped = False

    def learn(_: None, lane: list[ModelGroup]) -> None:
        nonlocal stopped
        try:
            for group, step in itertools.product(lane, steps):
                if stopped:
                    return
                group.learn(objective, step, total)
        except BaseException:
            stopped = True  # the other groups need not go on
            raise

    in_parallel(learn, lanes, worth=worth)


def _by_chunks(stack: Stack, objective: Objective, step: Step, total: Array) -> None:
    """Take one step, with the cores sharing in its chunks of rows."""
    if stack.chunking.repeats:
        for group in stack.groups:
            group.learn(objective, step, total)
        return
    groups = [part for group in stack.groups for part in group.parts_in(step)]
    jobs = [(group, chunk) for group in groups for chunk in range(len(group.chunks(step)))]
    if len(jobs) == 1:
        return groups[0].learn(objective, step, total)
    if isinstance(stack.params, np.ndarray):
        losses = in_parallel(lambda _, job: job[0].gradient(objective, step, job[1]), jobs)
    else:
        losses = [group.gradient(objective, step, chunk) for group, chunk in jobs]
    left = iter(losses)
    for group in groups:
        group.update(step, [next(left) for _ in group.chunks(step)], total)
