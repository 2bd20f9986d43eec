"""Worker threads for the NumPy bodies: chunks of images or of parameters, one core each.

NumPy computes most things on one core, and BLAS's own threads gain little on products as small as
a chunk's. So the chunks are shared out among threads, each with BLAS on one core; NumPy lets go of
the interpreter's lock while it computes. Which thread takes which chunk is left to chance, but what
the chunks are depends on shapes alone, and whoever sums over them does it in their order: results
do not change with the number of cores.
"""

from __future__ import annotations

import collections
import contextvars
import math
import os
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from cukernels.runtime.blas_threads import allowed_threads, keep_to_one_thread, on_one_blas_thread
from cukernels.runtime.interrupts import and_surely

State = TypeVar("State")
Item = TypeVar("Item")
Result = TypeVar("Result")

_inside = threading.local()


class _Job(Generic[State, Item]):
    """Items that the threads which happen to be free work through.

    A thread that sleeps takes longer to wake than a small job to be done: who comes late finds the
    job closed, and nobody waits for him. There is no lock, as Ctrl-C may strike while one is held:
    a helper first enters itself and then looks whether the job is open, who closes it does so
    first and then looks who is entered.
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
        self._left = iter(range(len(items)))  # taking the next of a range is atomic
        self._places = iter(range(n_helpers))
        self._is_open = True
        self._helping: set[int] = set()
        self._gone: queue.SimpleQueue[None] = queue.SimpleQueue()  # rings once a helper that leaves
        self._context = contextvars.copy_context()  # what numpy.errstate says holds for helpers too

    def work(self) -> None:
        """Take one item after the other."""
        own = self._state()
        for place in self._left:
            self.results[place] = self._function(own, self._items[place])

    def help(self) -> bool:
        """Work, unless the job is closed or has helpers enough; return whether it was done."""
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
        """Wait until nobody works any more, and leave what nobody has begun; may be repeated."""
        self._is_open = False
        self._drop_the_rest()
        _open_jobs.pop(self, None)
        self._wait()

    def _wait(self) -> None:
        try:
            while self._helping:
                self._gone.get()
        except BaseException:  # an interrupt: nobody may write on behind the caller's back
            self._wait()
            raise

    def _drop_the_rest(self) -> None:
        collections.deque(self._left, maxlen=0)


_open_jobs: dict[_Job[Any, Any], None] = {}
_helpers: set[int] = set()
_wake: queue.SimpleQueue[None] = queue.SimpleQueue()  # no more entries than there are helpers


def _hire(count: int) -> int:
    """Start helpers until there are `count`, or no more can be had; return how many there are."""
    while len(_helpers) < count:
        begun: queue.SimpleQueue[None] = queue.SimpleQueue()
        try:
            threading.Thread(target=_serve, args=(begun,), name="cukernels", daemon=True).start()
        except RuntimeError:  # can't start new thread
            break
        begun.get()
    return min(len(_helpers), count)


def _serve(begun: queue.SimpleQueue[None]) -> None:
    _inside.one = True
    _helpers.add(threading.get_ident())
    begun.put(None)
    while True:
        _wake.get()
        keep_to_one_thread()
        while any(job.help() for job in list(_open_jobs)):
            pass


def _forget_helpers() -> None:
    """Threads do not survive a fork."""
    global _wake
    _wake = queue.SimpleQueue()
    _helpers.clear()
    _open_jobs.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)


def threads() -> int:
    """Return how many threads to compute on: as many as BLAS is allowed.

    So OMP_NUM_THREADS, threadpoolctl's limits and joblib's workers mean here what they mean for
    NumPy's products. One, within a call of `in_parallel`.
    """
    return 1 if getattr(_inside, "one", False) else allowed_threads()


def in_parallel(
    function: Callable[[State, Item], Result],
    items: Sequence[Item],
    state: Callable[[], State] = lambda: None,  # type: ignore[assignment, return-value]
    *,
    worth: bool = True,
) -> list[Result]:
    """Return ``function(state, item)`` of each item, in order, computed on all threads.

    Parameters
    ----------
    function : callable
        What to compute; it may write to places of its own in arrays that all see.
    items : sequence
        What to compute it of. With one item, or one thread, the caller's thread does it all.
    state : callable, default=None
        Makes what a thread needs for itself, such as buffers; called once a thread.
    worth : bool, default=True
        Whether to use more than one thread. Between one array operation and the next, threads of
        Python wait for each other: many short ones are faster on one.

    Raises
    ------
    Exception
        What the function raises first; the items that nobody has begun are left out then.
    KeyboardInterrupt
        After Ctrl-C, once no thread works at these items any more.
    """
    count = min(threads(), len(items)) if worth and len(items) > 1 else 1
    if count <= 1:
        own = state()
        return [function(own, item) for item in items]
    return _share_out(function, items, state, count)


@on_one_blas_thread
def _share_out(
    function: Callable[[State, Item], Result],
    items: Sequence[Item],
    state: Callable[[], State],
    count: int,
) -> list[Result]:
    n_helpers = _hire(count - 1)
    job = _Job(function, items, state, n_helpers)

    def work() -> None:
        _inside.one = True
        _open_jobs[job] = None
        for _ in range(_wake.qsize(), n_helpers):
            _wake.put(None)
        job.work()

    def close() -> None:
        _inside.one = False
        job.close()

    and_surely(work, close)
    if job.errors:
        error = job.errors[0]
        job.errors.clear()
        try:
            raise error
        finally:  # no cycle of it, its traceback and this frame
            del error
    return job.results


def slices(length: int, step: int) -> list[slice]:
    """Cut a length into chunks of `step`, the last one shorter."""
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def shares(length: int, most: int) -> list[slice]:
    """Cut a length into equal chunks of at most `most`: one, or an even number of them."""
    if length <= most:
        return slices(length, max(length, 1))
    return slices(length, -(-length // (2 * -(-length // (2 * most)))))


def scratch(role: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return memory of the calling thread, with anything in it; the next call reuses it.

    Buffers as large as a chunk's are returned to the system when they are freed, and each new one
    then costs a page fault every 4 KiB, for which threads wait for each other.

    Parameters
    ----------
    role : str
        What it is for; another role has memory of its own.
    shape, dtype
        Of the array.
    """
    held = _inside.__dict__.setdefault("scratch", {})
    size = math.prod(shape)
    memory = held.get((role, dtype))
    if memory is None or memory.size < size:
        memory = held[role, dtype] = np.empty(size, dtype)
    return memory[:size].reshape(shape)
