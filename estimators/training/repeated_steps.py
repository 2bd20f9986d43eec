"""The steps of a group of models: computed at first, then recorded, and repeated from there on.

The steps of a training are the same calls of NumPy, but for the numbers in the arrays: see
`cukernels.runtime.recording` for what repeating them saves. A recording is trusted once it has made
the same numbers, to the bit, as the step that it stands for.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cukernels.runtime import Recorded, Recording, Workspaces
from estimators.training.data import Batch, Data
from estimators.training.objective import Objective
from estimators.training.steps import Step

if TYPE_CHECKING:
    from estimators.training.stack import ModelGroup

_COMPUTED = 10  # steps before the first recording, as models may come and go in every epoch
_REHEARSALS = 2  # recordings, of which the first finds out how much memory the arrays take


class RepeatedSteps:
    """What is known of the steps of one group of models."""

    def __init__(self) -> None:
        self._n_computed = 0
        self._kinds: dict[Hashable, RecordedStep] = {}

    def take(self, group: ModelGroup, objective: Objective, step: Step, total: np.ndarray) -> None:
        """Take a step of the group, in which its models take equally many rows."""
        kind = group.n_rows(step), step.weight is None
        if self._n_computed < _COMPUTED and kind not in self._kinds:
            self._n_computed += 1
            return group.compute(objective, step, total)
        if kind not in self._kinds:
            self._kinds[kind] = RecordedStep(group, step)
        self._kinds[kind].take(group, objective, step, total)


class RecordedStep:
    """Steps of one kind, with equally many rows.

    Parameters
    ----------
    group : ModelGroup
        The models.
    step : Step
        The first step of this kind.
    """

    def __init__(self, group: ModelGroup, step: Step) -> None:
        self._models, self._n_rows = group.models, group.n_rows(step)
        self._inputs = [None if a is None else a.copy() for a in self._inputs_of(step)]
        self._total = np.zeros(0)
        self._workspaces, self._recording = Workspaces(), Recording()
        self._n_recorded = 0
        self.is_trusted = self.is_refused = False

    def take(self, group: ModelGroup, objective: Objective, step: Step, total: np.ndarray) -> None:
        """Take a step; the first ones find out whether it can be repeated."""
        if self.is_trusted:
            self._repeat(step, total)
        elif self.is_refused:
            group.compute(objective, step, total)
        elif self._n_recorded < _REHEARSALS:
            self._record(group, objective, step, total)
        else:
            self._compare(group, objective, step, total)

    def _record(
        self, group: ModelGroup, objective: Objective, step: Step, total: np.ndarray
    ) -> None:
        """Take a step and record it."""
        before = _copies(self._changed(group, total))
        self._load(step, total)
        try:
            with Recording() as self._recording:
                self._twin(group).compute(objective, self._step_of_inputs(step), _seen(self._total))
        except Exception:  # also errors of its own, which come again if they are any
            self.is_refused = True
            _restore(self._changed(group, total), before)
            return group.compute(objective, step, total)
        self._n_recorded += 1
        total[self._models] = self._total

    def _compare(
        self, group: ModelGroup, objective: Objective, step: Step, total: np.ndarray
    ) -> None:
        """Take a step both ways."""
        changed = self._changed(group, total)
        before = _copies(changed)
        group.compute(objective, step, total)
        computed = _copies(changed)
        _restore(changed, before)
        self._repeat(step, total)
        self.is_trusted = all(map(_are_equal, changed, computed))
        if not self.is_trusted:
            self.is_refused = True
            _restore(changed, computed)

    def _repeat(self, step: Step, total: np.ndarray) -> None:
        self._load(step, total)
        self._recording.repeat()
        total[self._models] = self._total

    def _changed(self, group: ModelGroup, total: np.ndarray) -> list[np.ndarray]:
        return [*group.changed, total[self._models]]

    def _load(self, step: Step, total: np.ndarray) -> None:
        """Copy what a step takes to where the recording has it from."""
        for own, given in zip(self._inputs, self._inputs_of(step), strict=True):
            if own is not None:
                np.copyto(own, given)
        given = total[self._models]
        if self._total.shape != given.shape:
            self._total = np.empty_like(given)
        np.copyto(self._total, given)

    def _inputs_of(self, step: Step) -> Sequence[np.ndarray | None]:
        """Return the rows, labels, weights and settings of the group's models in a step."""
        models, rows, batch = self._models, slice(self._n_rows), step.batch
        by_row = (batch.places, batch.y, step.weight, step.changes)
        by_model = (step.size, step.learning_rate, step.l2, step.number)
        return [
            *(a if a is None else a[models, rows] for a in by_row),
            *(a[models] for a in by_model),
        ]

    def _step_of_inputs(self, step: Step) -> Step:
        """Return a step of the group alone, whose arrays are recorded."""
        places, y, *others = (a if a is None else _seen(a) for a in self._inputs)
        weight, changes, size, learning_rate, l2, number = others
        data = step.batch.data
        seen = Data(_seen(data.X), _seen(data.y), data.dtype)
        batch = Batch(seen, places, y, None)
        return Step(batch, weight, size, learning_rate, l2, number, changes)

    def _twin(self, group: ModelGroup) -> ModelGroup:
        """Return the group with arrays that are recorded."""
        twin, network = copy.copy(group), group.network
        twin.models = slice(0, len(group.params))
        twin.params, twin.grads = _seen(group.params), [_seen(a) for a in group.grads]
        twin.constants = group.constants | {
            name: _seen(a)
            for name, a in group.constants.items()
            if any(a is one for one in group.changed)
        }
        twin.parameters = [
            given | own
            for given, own in zip(group.parameters, network.views(twin.params), strict=True)
        ]
        twin.gradients = [network.views(grads) for grads in twin.grads]
        twin.workspaces, twin.parts = self._workspaces, []
        return twin


def _seen(array: np.ndarray) -> np.ndarray:
    return array.view(Recorded)


def _copies(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [a.copy() for a in arrays]


def _restore(arrays: Sequence[np.ndarray], copies: Sequence[np.ndarray]) -> None:
    for array, copied in zip(arrays, copies, strict=True):
        np.copyto(array, copied)


def _are_equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays have the same bits."""
    return a.tobytes() == b.tobytes()
