"""A recording that is repeated, with helpers that need not be done at once.

A shared call of a recording consists of parts. The caller makes the first part and goes on with the
calls after it, while helpers make the others: it waits for them where a call has to do with the
memory of their parts. So a helper that is woken late costs nothing as long as there is other work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from cukernels.runtime.blas_threads import on_one_blas_thread
from cukernels.runtime.interrupts import and_surely
from cukernels.runtime.recording import Call, Recording
from cukernels.runtime.workers import Job, repeat_part, threads


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
        if self.is_shared and threads() > 1:
            and_surely(self._repeat, self._helpers.leave)
        else:
            self._recording.repeat()

    @on_one_blas_thread
    def _repeat(self) -> None:
        for call in self._calls:
            call()


class _Helpers:
    """Those who are at their parts of a shared call, if there are any."""

    def __init__(self) -> None:
        self._job: Job[None, Recording] | None = None

    def begin(self, parts: Sequence[Recording]) -> None:
        """Make the first part, and let helpers make the others."""
        self._job = Job(repeat_part, parts[1:], _nothing, min(threads(), len(parts)) - 1)
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
    away: list[Call] = []  # what helpers may be at
    for call in _joined(calls):
        if away and (call.parts or any(call.must_wait_for(other) for other in away)):
            order.append(helpers.end)
            away = []
        if call.parts:
            order.append(partial(helpers.begin, call.parts))
            away = [other for part in call.parts[1:] for other in part.calls]
        else:
            order.append(call.make)
    return [*order, helpers.end] if away else order


def _joined(calls: Sequence[Call]) -> list[Call]:
    """Join shared calls that follow each other, part by part, where no part needs another one.

    So the rows of a product that a thread has gathered are in the cache of its core.
    """
    joined: list[Call] = []
    for call in calls:
        if joined and _fit_together(joined[-1].parts, call.parts):
            pairs = zip(joined[-1].parts, call.parts, strict=True)
            parts = [Recording([*one.calls, *other.calls]) for one, other in pairs]
            joined[-1] = Call(call.make, parts=parts)  # whose `make` nobody calls
        else:
            joined.append(call)
    return joined


def _fit_together(parts: Sequence[Recording], others: Sequence[Recording]) -> bool:
    """Whether each thread can go on with its own part, while the other ones are at theirs."""
    if not parts or len(parts) != len(others):
        return False
    return not any(
        call.must_wait_for(earlier)
        for i, part in enumerate(parts)
        for j, other in enumerate(others)
        if i != j
        for earlier in part.calls
        for call in other.calls
    )


def _nothing() -> None:
    """A part needs no state of its own."""
