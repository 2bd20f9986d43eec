"""Worker threads for the NumPy bodies, which compute chunks of images or of parameters.

NumPy computes most things on one core, and BLAS's own threads gain little on products as small as
those of a chunk. So worker threads take one chunk after another, each with BLAS on one thread;
NumPy releases the interpreter's lock while it computes. Which thread takes which chunk is left to
chance. But the chunks depend on shapes alone, and sums over chunks are taken in their order, so
results do not change with the number of cores.
"""

from __future__ import annotations

import collections
import contextvars
import math
import os
import queue
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np

from cukernels.runtime.blas_threads import allowed_threads, keep_to_one_thread, on_one_blas_thread
from cukernels.runtime.interrupts import and_surely
from cukernels.runtime.recording import Recording, current_recording, recorded
from cukernels.runtime.workspace import empty

State = TypeVar("State")
Item = TypeVar("Item")
Result = TypeVar("Result")

# Of the calling thread: `one` says that it is inside `in_parallel`, `scratch` holds its buffers.
_inside = threading.local()


class Job(Generic[State, Item]):
    """Items, and the threads that compute them: the caller's, and helpers that are free.

    Waking a helper can take longer than a small job. So nobody waits for helpers: one that comes
    late finds the job closed. There is no lock, because Ctrl-C may strike while it is held. Instead
    a helper first registers and then checks that the job is open, while the caller first closes the
    job and then waits for those that are registered.
    """

    def __init__(
        self,
        function: Callable[[State, Item], Any],
        items: Sequence[Item],
        state: Callable[[], State],
        n_helpers: int,
    ) -> None:
        self.results: list[Any] = [None] * len(items)
        self.errors: list[BaseException] = []
        self._function, self._items, self._state = function, items, state
        self._left = iter(range(len(items)))  # `next` of an iterator over a range is atomic
        self._n_helpers = _hire(n_helpers)
        self._places = iter(range(self._n_helpers))
        self._is_open = True
        self._helping: set[int] = set()
        self._gone: queue.SimpleQueue[None] = (
            queue.SimpleQueue()
        )  # gets an entry from each helper that leaves
        self._context = contextvars.copy_context()  # so that numpy.errstate holds in helpers too

    def open(self) -> None:
        """Let helpers take items, and wake them."""
        _open_jobs[self] = None
        for _ in range(_wake.qsize(), self._n_helpers):
            _wake.put(None)

    def work(self) -> None:
        """Take one item after the other until none is left."""
        own = self._state()
        for place in self._left:
            self.results[place] = self._function(own, self._items[place])

    def help(self) -> bool:
        """Work, unless the job is closed or has enough helpers; return whether this one worked."""
        if not self._is_open or next(self._places, None) is None:
            return False
        me = threading.get_ident()
        self._helping.add(me)
        try:
            if self._is_open:
                self._context.copy().run(self.work)
        except BaseException as error:
            self.errors.append(error)
            self._drop_the_rest()
        finally:
            self._helping.discard(me)
            self._gone.put(None)
        return True

    def close(self) -> None:
        """Drop the items that nobody has begun, and wait for the helpers; may be called again."""
        self._is_open = False
        self._drop_the_rest()
        _open_jobs.pop(self, None)
        self._wait()

    def _wait(self) -> None:
        try:
            while self._helping:
                self._gone.get()
        except BaseException:  # an interrupt: helpers must not write after the caller has gone on
            self._wait()
            raise

    def raise_error(self) -> None:
        """Raise the first error of the helpers, if there is one."""
        if self.errors:
            error = self.errors[0]
            self.errors.clear()
            try:
                raise error
            finally:  # the error, its traceback and this frame would be a reference cycle
                del error

    def _drop_the_rest(self) -> None:
        collections.deque(self._left, maxlen=0)


_open_jobs: dict[Job[Any, Any], None] = {}
_helpers: set[int] = set()
_wake: queue.SimpleQueue[None] = queue.SimpleQueue()  # an entry wakes one helper


def _hire(count: int) -> int:
    """Start helpers until there are `count`, if possible; return how many can help."""
    while len(_helpers) < count:
        begun: queue.SimpleQueue[None] = queue.SimpleQueue()
        try:
            threading.Thread(target=_serve, args=(begun,), name="cukernels", daemon=True).start()
        except RuntimeError:  # can't start new thread
            break
        begun.get()
    return min(len(_helpers), count)


def _serve(begun: queue.SimpleQueue[None]) -> None:
    """What a helper does all its life: sleep, and when it is woken, help with the open jobs."""
    _inside.one = True
    _helpers.add(threading.get_ident())
    begun.put(None)
    while True:
        _wake.get()
        keep_to_one_thread()
        while any(job.help() for job in list(_open_jobs)):
            pass


def _forget_helpers() -> None:
    """Start anew in a child process: threads do not survive a fork."""
    global _wake
    _wake = queue.SimpleQueue()
    _helpers.clear()
    _open_jobs.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)


def threads() -> int:
    """Return how many threads to compute on: as many as BLAS may use.

    So OMP_NUM_THREADS, threadpoolctl's limits and joblib's workers have the same effect here as on
    NumPy's products. Inside a call of `in_parallel` the answer is 1.
    """
    return 1 if getattr(_inside, "one", False) else allowed_threads()


def in_parallel(
    function: Callable[[State, Item], Result],
    items: Sequence[Item],
    state: Callable[[], State] = lambda: None,  # type: ignore[assignment, return-value]
    *,
    worth: bool = True,
) -> list[Result]:
    """Return ``function(state, item)`` for each item, in order, computed on all threads.

    Parameters
    ----------
    function : callable
        What to compute. It may write to shared arrays, where no two items write to the same place.
    items : sequence
        The arguments. With one item or one thread, the caller's thread computes everything.
    state : callable, default=None
        Makes what a thread needs for itself, such as buffers. It is called once in each thread.
    worth : bool, default=True
        Whether to use more than one thread. Python threads wait for each other between two array
        operations, so many short operations are faster on one thread.

    Raises
    ------
    Exception
        The first error of the function. Items that no thread has begun are then dropped.
    KeyboardInterrupt
        After Ctrl-C, once no thread works on these items any more.
    """
    count = min(threads(), len(items)) if worth and len(items) > 1 else 1
    if count <= 1:
        own = state()
        return [function(own, item) for item in items]
    outer = current_recording()
    if outer is None:
        return _share_out(function, items, state, count)
    # A part for each thread: its items follow each other, and have memory for their work together.
    results, parts = [], [outer.part(place) for place in range(count)]
    for place, part in enumerate(parts):
        own = state()
        for i in range(len(items) * place // count, len(items) * (place + 1) // count):
            results.append(part.record(function, own, items[i]))
    outer.note_parts(partial(in_parallel, repeat_part, parts), parts)
    return results


def repeat_part(_: None, part: Recording) -> None:
    """Make the calls of a part of a recording."""
    part.repeat()


@on_one_blas_thread
def _share_out(
    function: Callable[[State, Item], Result],
    items: Sequence[Item],
    state: Callable[[], State],
    count: int,
) -> list[Result]:
    job = Job(function, items, state, count - 1)

    def work() -> None:
        _inside.one = True
        job.open()
        job.work()

    def close() -> None:
        _inside.one = False
        job.close()

    and_surely(work, close)
    job.raise_error()
    return job.results


def scratch(role: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an uninitialised array of the calling thread, whose memory the next call reuses.

    A buffer as large as a chunk goes back to the system when it is freed. A new one then costs a
    page fault for every 4 KiB, for which threads wait for each other.

    Parameters
    ----------
    role : str
        What the array is for. Each role has memory of its own.
    shape, dtype
        Those of the array.
    """
    recording = current_recording()  # a repetition may be in another thread, and later
    held = _inside.__dict__.setdefault("scratch", {}) if recording is None else recording.scratch
    if held is None:
        return empty(shape, dtype)
    size = math.prod(shape)
    memory = held.get((role, dtype))
    if memory is None or memory.size < size:
        memory = held[role, dtype] = np.empty(size, dtype)
    return recorded(memory[:size].reshape(shape))
