"""Worker threads for the NumPy bodies: chunks of images or of parameters, one core each.

NumPy computes most things on one core, and BLAS's own threads gain little on products as small as
a chunk's. So the chunks are shared out among threads, each with BLAS on one core; NumPy lets go of
the interpreter's lock while it computes. Which thread takes which chunk is left to chance, but what
the chunks are depends on shapes alone, and whoever sums over them does it in their order: results
do not change with the number of cores.
"""

from __future__ import annotations

import functools
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

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


@functools.cache
def _executor(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="cukernels")


if hasattr(os, "register_at_fork"):  # threads do not survive a fork
    os.register_at_fork(after_in_child=_executor.cache_clear)


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

    Raises
    ------
    Exception
        What the function raises first; the items that nobody has begun are left out then.
    """
    count = min(threads(), len(items))
    if count <= 1:
        own = state()
        return [function(own, item) for item in items]
    results: list[Any] = [None] * len(items)
    left = iter(range(len(items)))  # `next` of a range is atomic

    def work() -> None:
        nonlocal left
        _inside.one = True
        try:
            own = state()
            for place in left:
                results[place] = function(own, items[place])
        except BaseException:
            left = iter(())
            raise
        finally:
            _inside.one = False

    with one_blas_thread():
        others = [_executor(count - 1).submit(work) for _ in range(count - 1)]
        try:
            work()
        finally:
            failures = [other.exception() for other in others]  # waits for all of them
    for error in failures:
        if error is not None:
            raise error
    return results


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
