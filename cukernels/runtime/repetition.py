"""A recording that is repeated, with helpers that need not be done at once.

A shared call of a recording consists of parts. The caller makes the first part and goes on with the
calls after it, while helpers make the others: it waits for them where a call has to do with the
memory of their parts. So a helper that is woken late costs nothing as long as there is other work.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from cukernels.runtime.blas_threads import on_one_blas_thread
from cukernels.runtime.interrupts import and_surely
from cukernels.runtime.recording import Call, Recording, distinct
from cukernels.runtime.workers import Job, repeat_part, threads


class Memory(NamedTuple):
    """What calls read and write, each array once."""

    reads: Sequence[np.ndarray]
    writes: Sequence[np.ndarray]

    @classmethod
    def of(cls, calls: Sequence[Call]) -> Memory:
        """Return the memory of calls, and of the parts that they have."""
        parts = [call.parts or [Recording([call])] for call in calls]
        every = [own for some in parts for part in some for own in part.calls]
        reads, writes = [a for c in every for a in c.reads], [a for c in every for a in c.writes]
        return cls(distinct(reads), distinct(writes))

    def must_wait_for(self, other: Memory) -> bool:
        """Whether the numbers depend on which of two comes first."""
        return _meet(self.writes, [*other.reads, *other.writes]) or _meet(self.reads, other.writes)


def _meet(some: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> bool:
    return any(np.may_share_memory(a, b) for a in some for b in others)


class Repetition:
    """The calls of a recording, made again by each call.

    Parameters
    ----------
    recording : Recording
        What to repeat.

    Attributes
    ----------
    is_shared : bool
        Whether it has calls in which threads share.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.is_shared = any(call.parts for call in recording.calls)
        # No method of this object is among the calls: the cycle would keep all arrays of the step
        # until Python looks for cycles.
        self._helpers = _Helpers()
        self._calls = _in_order(recording.calls, self._helpers)

    def __call__(self) -> None:
        """Repeat the recording."""
        self._helpers.count = threads() - 1 if self.is_shared else 0
        if self._helpers.count:
            and_surely(self._repeat, self._helpers.leave)
        else:
            self._recording.repeat()

    @on_one_blas_thread
    def _repeat(self) -> None:
        for call in self._calls:
            call()


class _Helpers:
    """Those who are at their parts of a shared call, if there are any.

    Attributes
    ----------
    count : int
        The most helpers of a call.
    """

    def __init__(self) -> None:
        self.count = 0
        self._job: Job[None, Recording] | None = None

    def begin(self, parts: Sequence[Recording]) -> None:
        """Make the first part, and let helpers make the others."""
        self._job = Job(repeat_part, parts[1:], _nothing, min(self.count, len(parts) - 1))
        self._job.open()
        parts[0].repeat()

    def end(self) -> None:
        """Make what no helper has begun, and wait for them."""
        job = self._job
        assert job is not None
        job.work()
        job.close()
        self._job = None
        job.raise_error()

    def leave(self) -> None:
        """Let no helper go on after an error or an interrupt; may be called again."""
        if self._job is not None:
            self._job.close()
            self._job = None


def _in_order(calls: Sequence[Call], helpers: _Helpers) -> list[Callable[[], Any]]:
    """Return what to call one after the other, with a wait for helpers where one is due."""
    order: list[Callable[[], Any]] = []
    away: Memory | None = None  # what helpers may be at
    for call in _joined(calls):
        if away and (call.parts or Memory.of([call]).must_wait_for(away)):
            order.append(helpers.end)
            away = None
        if call.parts:
            order.append(partial(helpers.begin, call.parts))
            away = Memory.of([other for part in call.parts[1:] for other in part.calls])
        else:
            order.append(call.make)
    return [*order, helpers.end] if away else order


def _joined(calls: Sequence[Call]) -> list[Call]:
    """Join shared calls, part by part, where no part needs another one.

    So the rows of a product that a thread has gathered are in the cache of its core. Calls between
    the two then come before both, or after both if they need the first one.
    """
    joined: list[Call] = []
    between: list[Call] = []  # since the last one of `joined`, which is shared
    for call in calls:
        if not call.parts:
            between.append(call)
            continue
        if joined and _fit_together(joined[-1].parts, call.parts):
            first, last = _divided(between, joined[-1])
            if not Memory.of([call]).must_wait_for(Memory.of(last)):
                pairs = zip(joined[-1].parts, call.parts, strict=True)
                parts = [Recording([*one.calls, *other.calls]) for one, other in pairs]
                joined[-1:] = [*first, Call(call.make, parts=parts)]  # whose `make` nobody calls
                between = last
                continue
        joined += [*between, call]
        between = []
    return [*joined, *between]


def _divided(calls: Sequence[Call], shared: Call) -> tuple[list[Call], list[Call]]:
    """Divide calls after a shared one into those that may come before it, and the others."""
    first: list[Call] = []
    last: list[Call] = []
    before = [Memory.of([shared])]
    for call in calls:
        memory = Memory.of([call])
        if any(memory.must_wait_for(other) for other in before):
            last.append(call)
            before.append(memory)
        else:
            first.append(call)
    return first, last


def _fit_together(parts: Sequence[Recording], others: Sequence[Recording]) -> bool:
    """Whether each thread can go on with its own part, while the other ones are at theirs."""
    if len(parts) != len(others):
        return False
    own, next_ = ([Memory.of(part.calls) for part in some] for some in (parts, others))
    pairs = itertools.permutations(range(len(parts)), 2)
    return not any(next_[i].must_wait_for(own[j]) for i, j in pairs)


def _nothing() -> None:
    """A part needs no state of its own."""
