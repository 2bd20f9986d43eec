"""The steps of a group of models: computed at first, then recorded, and repeated from there on.

The steps of a training are the same calls of NumPy, but for the numbers in the arrays: see
`cukernels.runtime.recording` for what repeating them saves. A recording is trusted once it has made
the same numbers, to the bit, as the step that it stands for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any, Protocol

import numpy as np

from cukernels.runtime import Recorded, Recording, Repetition, Workspaces
from estimators.training.data import Batch, Data
from estimators.training.network import Network
from estimators.training.objective import Objective
from estimators.training.steps import Step, told_apart

# A recording takes as long as some ten steps save, and models may come and go after every epoch. So
# it waits for as many steps, or is made at once in an epoch of many more.
_COMPUTED = 10
_LONG = 30
_TWICE = 2  # the first step of a kind finds out how large the workspace has to be


class Group(Protocol):
    """The models that take a step; `stack.ModelGroup` is one.

    Attributes
    ----------
    models : slice
        Their places in the arrays of a step.
    changed : list of array
        What a step changes.
    network : Network
        Their network.
    workspaces : Workspaces
        Where steps are computed.
    """

    models: slice
    changed: list[np.ndarray]
    network: Network
    workspaces: Workspaces

    def n_rows(self, step: Step) -> int:
        """Return how many rows each model takes in a step."""

    def compute(self, objective: Objective, step: Step, total: np.ndarray) -> None:
        """Take a step."""

    def seen(self) -> Group:
        """Return the same models with their arrays as `Recorded`, from place 0 on."""


class RepeatedSteps:
    """What is known of the steps of one group of models.

    Parameters
    ----------
    n_steps : int
        The steps of an epoch.
    """

    def __init__(self, n_steps: int) -> None:
        self._n_computed: Counter[Hashable] = Counter()
        self._least = _TWICE if n_steps >= _LONG else _COMPUTED  # before the first recording
        self._kinds: dict[Hashable, RecordedStep] = {}

    def take(self, group: Group, objective: Objective, step: Step, total: np.ndarray) -> None:
        """Take a step of the group, in which its models take equally many rows."""
        kind = group.n_rows(step), step.weight is None
        if kind not in self._kinds:
            if self._n_computed.total() < self._least or self._n_computed[kind] < _TWICE:
                self._n_computed[kind] += 1
                return group.compute(objective, step, total)
            self._kinds[kind] = RecordedStep(group, step, total)
        self._kinds[kind].take(group, objective, step, total)


class RecordedStep:
    """Steps of one kind, with equally many rows.

    Parameters
    ----------
    group : Group
        The models.
    step : Step
        The first step of this kind.
    total : array of shape (M, chunks)
        What steps add their losses to.
    """

    def __init__(self, group: Group, step: Step, total: np.ndarray) -> None:
        self._models, self._n_rows = group.models, group.n_rows(step)
        self._inputs = [None if a is None else a.copy() for a in self._inputs_of(step)]
        self._total = total[group.models].copy()
        # The optimizer of one model begins while a helper still reads what is in the workspace, and
        # chunks of images follow each other through the same memory.
        has_scratch = group.models.stop - group.models.start == 1 or group.network.is_divided
        self._recording = Recording(scratch=group.workspaces.scratch if has_scratch else None)
        self._repetition: Repetition | None = None
        self.is_trusted = self.is_refused = False

    def take(self, group: Group, objective: Objective, step: Step, total: np.ndarray) -> None:
        """Take a step; the first ones find out whether it can be repeated."""
        if self.is_trusted:
            self._repeat(step, total)
        elif self.is_refused:
            group.compute(objective, step, total)
        elif not self._recording.calls:
            self._record(group, objective, step, total)
        else:
            self._compare(group, objective, step, total)

    def _record(self, group: Group, objective: Objective, step: Step, total: np.ndarray) -> None:
        """Take a step and record it."""
        before = _copies(self._changed(group, total))
        self._load(step, total)
        try:
            inputs = self._step_of_inputs(step), _seen(self._total)
            self._recording.record(group.seen().compute, objective, *inputs)
        except Exception:  # also errors of its own, which come again if they are any
            self._refuse()
            _restore(self._changed(group, total), before)
            return group.compute(objective, step, total)
        self._repetition = Repetition(self._recording)
        total[self._models] = self._total

    def _compare(self, group: Group, objective: Objective, step: Step, total: np.ndarray) -> None:
        """Take a step both ways, the computed one last."""
        changed = self._changed(group, total)
        others = _copies(changed)
        self._recording.spoil()
        self._repeat(step, total)
        _exchange(changed, others)
        group.compute(objective, step, total)
        self.is_trusted = all(map(_are_equal, changed, others))
        if not self.is_trusted:
            self._refuse()

    def _refuse(self) -> None:
        """Compute all steps, and keep nothing of the recording."""
        self.is_refused = True
        self._recording, self._repetition = Recording(), None

    def _repeat(self, step: Step, total: np.ndarray) -> None:
        self._load(step, total)
        assert self._repetition is not None
        self._repetition()
        total[self._models] = self._total

    def _changed(self, group: Group, total: np.ndarray) -> list[np.ndarray]:
        return [*group.changed, total[self._models]]

    def _load(self, step: Step, total: np.ndarray) -> None:
        """Copy what a step takes to where the recording has it from."""
        for own, given in zip(self._inputs, self._inputs_of(step), strict=True):
            if own is not None and given is not None:
                np.copyto(own, given)
        np.copyto(self._total, total[self._models])

    def _inputs_of(self, step: Step) -> Sequence[np.ndarray | None]:
        """Return the rows, labels, weights and settings of the group's models in a step."""
        models, rows = self._models, slice(self._n_rows)
        batch: Any = step.batch  # in main memory
        by_row = (batch.places, batch.y, step.weight, step.changes)
        own = [a if a is None else a[models, rows] for a in by_row]
        return [*own, step.settings[:, models]]

    def _step_of_inputs(self, step: Step) -> Step:
        """Return a step of the group alone, whose arrays are recorded."""
        places, y, weight, changes, settings = (a if a is None else _seen(a) for a in self._inputs)
        given: Any = step.batch
        data = Data(_seen(given.data.X), _seen(given.data.y), given.data.dtype)
        batch = Batch(data, places, y, None)
        return Step(batch, weight, *told_apart(settings), changes)


def _seen(array: np.ndarray) -> np.ndarray:
    return array.view(Recorded)


def _copies(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [a.copy() for a in arrays]


def _restore(arrays: Sequence[np.ndarray], copies: Sequence[np.ndarray]) -> None:
    for array, copied in zip(arrays, copies, strict=True):
        np.copyto(array, copied)


def _exchange(arrays: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> None:
    for array, other in zip(arrays, others, strict=True):
        own = array.copy()
        np.copyto(array, other)
        np.copyto(other, own)


def _are_equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays have the same bits."""
    return a.tobytes() == b.tobytes()
