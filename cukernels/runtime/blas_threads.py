"""Keep BLAS on one thread while a fit or our own worker threads compute.

The rounding of BLAS's sums depends on how many threads divide them, so results that must not depend
on the number of cores are computed on one. In NumPy's and SciPy's wheels BLAS has one pool of
threads for the whole process: whoever sets its size sets it for everyone. Therefore the first of
our threads that needs BLAS on one thread sets the size, and the last one restores it.

If a pool has another size than ours at the end, the user has set it meanwhile, and it stays. But
where another thread of the user's begins or ends a limit while a fit runs, our size may be taken
for the user's, or the other way around. To be safe, begin and end such limits between fits, or
limit the whole process (OMP_NUM_THREADS).
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from cukernels.runtime.blas_libraries import Blas, blas_libraries
from cukernels.runtime.interrupts import and_surely

P = ParamSpec("P")
Result = TypeVar("Result")
Limits = list[tuple[Blas, int]]  # each library and its number of threads

# OpenBLAS computes a product of at most this many multiplications on one thread, whatever its limit
# is. It divides a matrix times a vector from 9,216 multiplications on, and two matrices from
# 262,144.
UNDIVIDED = 8192

_found: tuple[int, list[Blas]] = (0, [])  # how many modules were loaded, and the libraries found
_holders: dict[int, Limits] = {}  # threads that need BLAS on one thread, and their limits before
_before: Limits | None = None  # the sizes of the shared pools before the first holder
# The thread whose turn it is to change limits. This is a dictionary and not a lock because its
# entry names the owner: an interrupt right after the turn was taken can still be undone.
_turn: dict[str, int] = {}


def on_one_blas_thread(function: Callable[P, Result]) -> Callable[P, Result]:
    """Decorate a function during which BLAS stays on the thread that calls it.

    `allowed_threads` still returns what BLAS was allowed before. Decorate a whole fit rather than
    its steps: after a product on several threads, OpenBLAS's idle threads spin for milliseconds on
    the cores that our threads need.
    """

    @functools.wraps(function)
    def alone(*args: P.args, **kwargs: P.kwargs) -> Result:
        me = threading.get_ident()
        if me in _holders:
            return function(*args, **kwargs)

        def hold_and_do() -> Result:
            _hold(me)
            return function(*args, **kwargs)

        return and_surely(hold_and_do, functools.partial(_release, me))

    return alone


def is_on_one_blas_thread() -> bool:
    """Whether the thread is within a function that `on_one_blas_thread` decorates."""
    return threading.get_ident() in _holders


def is_undivided(n_multiplications: int) -> bool:
    """Whether BLAS computes products of so few multiplications on one thread anyway.

    Small calls need not limit BLAS then. The answer is True only for OpenBLAS: nothing is known
    about other libraries.
    """
    known = {blas.name for blas in _libraries()} <= {"openblas"}
    return known and n_multiplications <= UNDIVIDED


def allowed_threads() -> int:
    """Return how many threads BLAS may use, not counting the limits that are set here."""
    limited = [*(_before or ()), *_holders.get(threading.get_ident(), ())]
    before = {blas.path: n_threads for blas, n_threads in limited}
    now = _limits(_libraries())
    return max((before.get(blas.path, n_threads) for blas, n_threads in now), default=1)


def keep_to_one_thread() -> None:
    """Limit BLAS to one thread for the rest of a worker thread's life.

    This concerns libraries that have a limit for each thread. A shared pool has already been
    limited by the thread that the worker helps.
    """
    for blas in _libraries():
        if blas.is_of_a_thread and blas.get_num_threads() != 1:
            blas.set_num_threads(1)


def _hold(me: int) -> None:
    """Register a thread as a holder, and limit BLAS for it."""
    _holders[me] = _limits([blas for blas in _libraries() if blas.is_of_a_thread])
    for blas, _ in _holders[me]:
        blas.set_num_threads(1)
    _settle()


def _release(me: int) -> None:
    """Remove a holder and restore the limits; may be called again after an interrupt."""
    if not (me in _holders or _turn.get("of") == me or (_before is not None and not _holders)):
        return
    for blas, n_threads in _holders.get(me, ()):
        blas.set_num_threads(n_threads)
    _holders.pop(me, None)
    _settle()


def _settle() -> None:
    """Limit or restore the shared pools as the holders need; may be called again if interrupted."""
    me = threading.get_ident()
    try:
        while _turn.setdefault("of", me) != me:
            time.sleep(1e-4)
        if _holders:
            _limit()
        else:
            _restore()
    finally:
        if _turn.get("of") == me:
            _turn.pop("of", None)


def _limit() -> None:
    """Set the shared pools to one thread, and remember their sizes."""
    global _before
    if _before is None:
        _before = _limits([blas for blas in _libraries() if not blas.is_of_a_thread])
    else:  # a size other than 1 was set by the user since then, and is the one to restore
        _before = [
            (blas, n if n != 1 else before)
            for (blas, n), (_, before) in zip(
                _limits([blas for blas, _ in _before]), _before, strict=True
            )
        ]
    for blas, n_threads in _before:
        if n_threads != 1:
            blas.set_num_threads(1)


def _restore() -> None:
    """Restore the sizes of the shared pools, except where the user has changed them."""
    global _before
    for blas, before in _before or ():
        if before != 1 and blas.get_num_threads() == 1:
            blas.set_num_threads(before)
    _before = None


def _limits(libraries: list[Blas]) -> Limits:
    return [(blas, blas.get_num_threads()) for blas in libraries]


def _libraries() -> list[Blas]:
    """The BLAS libraries loaded. The search takes 1 to 2 ms, so it waits for new modules."""
    global _found
    if _found[0] != len(sys.modules):
        _found = len(sys.modules), blas_libraries()
    return _found[1]


def _forget_other_threads() -> None:
    """Drop the other threads' holds in a child process: threads do not survive a fork."""
    me = threading.get_ident()
    _turn.clear()
    for thread in list(_holders):
        if thread != me:
            _holders.pop(thread)
    _settle()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)
