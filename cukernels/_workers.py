"""Worker threads for the NumPy bodies: chunks of images or of parameters, one core each.

NumPy computes most things on one core, and BLAS's own threads gain little on products as small as
a chunk's. So the chunks are shared out among threads, each with BLAS on one core; NumPy lets go of
the interpreter's lock while it computes. Which thread takes which chunk is left to chance, but what
the chunks are depends on shapes alone, and whoever sums over them does it in their order: results
do not change with the number of cores.
"""

from __future__ import annotations

import contextvars
import functools
import math
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

State = TypeVar("State")
Item = TypeVar("Item")
Result = TypeVar("Result")

_lock = threading.Lock()
_running = 0  # calls of `in_parallel` under way; BLAS is on one thread while there are any
_limits: list[int] = []  # the threads of each BLAS before the first of them
_inside = threading.local()


@functools.cache
def _blas() -> list[Any]:
    return ThreadpoolController().select(user_api="blas").lib_controllers


_jobs: queue.SimpleQueue[_Job[Any, Any]] = queue.SimpleQueue()
_helpers: list[threading.Thread] = []


def _help() -> None:
    while True:
        _jobs.get().help()


def _forget_helpers() -> None:
    """Threads do not survive a fork."""
    global _jobs
    _jobs = queue.SimpleQueue()
    _helpers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)


class _Job(Generic[State, Item]):
    """Items that the threads which happen to be free work through.

    A thread that sleeps takes longer to wake than a small job to be done: who comes late finds the
    job closed, and nobody waits for him.
    """

    def __init__(
        self,
        function: Callable[[State, Item], Any],
        items: Sequence[Item],
        state: Callable[[], State],
    ) -> None:
        self.results: list[Any] = [None] * len(items)
        self.errors: list[BaseException] = []
        self._function, self._items, self._state = function, items, state
        self._left = iter(range(len(items)))  # taking the next of a range is atomic
        self._lock = threading.Lock()
        self._open = True
        self._helping = 0
        self._context = contextvars.copy_context()  # what numpy.errstate says holds for helpers too
        self._all_left = threading.Lock()
        self._all_left.acquire()

    def work(self) -> None:
        """Take one item after the other."""
        _inside.one = True
        try:
            own = self._state()
            for place in self._left:
                self.results[place] = self._function(own, self._items[place])
        except BaseException:
            self._drop_the_rest()
            raise
        finally:
            _inside.one = False

    def help(self) -> None:
        """Work, unless the job is closed."""
        with self._lock:
            if not self._open:
                return
            self._helping += 1
        try:
            self._context.copy().run(self.work)
        except BaseException as error:
            self.errors.append(error)
        with self._lock:
            self._helping -= 1
            if not (self._open or self._helping):
                self._all_left.release()

    def close(self) -> None:
        """Wait until nobody works any more."""
        with self._lock:
            self._open = False
            if not self._helping:
                return
        try:
            self._all_left.acquire()
        except BaseException:  # an interrupt: nobody may write on behind the caller's back
            self._drop_the_rest()
            self._all_left.acquire()
            raise

    def _drop_the_rest(self) -> None:
        for _ in self._left:
            pass


def threads() -> int:
    """Return how many threads to compute on: as many as BLAS is allowed.

    So OMP_NUM_THREADS, threadpoolctl's limits and joblib's workers mean here what they mean for
    NumPy's products. One, within a call of `in_parallel`.
    """
    if getattr(_inside, "one", False):
        return 1
    if _running:
        return max(_limits, default=1)
    return max((blas.num_threads for blas in _blas()), default=1)


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
    """
    count = min(threads(), len(items)) if worth else 1
    if count <= 1:
        own = state()
        return [function(own, item) for item in items]
    job = _Job(function, items, state)
    with one_blas_thread():
        with _lock:
            while len(_helpers) < count - 1:
                _helpers.append(threading.Thread(target=_help, name="cukernels", daemon=True))
                _helpers[-1].start()
        for _ in range(count - 1):
            _jobs.put(job)
        try:
            job.work()
        finally:
            job.close()
    if job.errors:
        raise job.errors[0]
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


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS on the calling thread, while `threads` still counts what it was allowed.

    Best entered once, around a whole training: after a product on several threads, OpenBLAS's
    sleepers stay awake for milliseconds, on the cores that our threads need.
    """
    global _running
    with _lock:
        if not _running:
            _limits[:] = [blas.num_threads for blas in _blas()]
            for blas in _blas():
                blas.set_num_threads(1)
        _running += 1
    try:
        yield
    finally:
        with _lock:
            _running -= 1
            if not _running:
                for blas, limit in zip(_blas(), _limits, strict=True):
                    blas.set_num_threads(limit)
