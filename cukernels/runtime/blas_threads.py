"""The threads of BLAS: one, while a fit or our own threads compute.

BLAS's sums depend on how many threads share them, so what is to be the same on any number of cores
is computed with one. NumPy's and SciPy's wheels have a pool of threads that all of the process
shares: whoever sets its size sets it for everyone. So the first of our threads that needs one
thread sets it, and the last one puts back what was there.

From threadpoolctl 3.8 on the thread that first sets the size of such a pool keeps the right to it,
and what others set is dropped without a word. Fits may begin in one thread and end in another, so
here nobody keeps it: whoever sets a size takes the right and gives it up at once
(`clear_controlling_thread`). A pool that has another size than ours when we are done was set by the
user meanwhile, and stays as it is. What cannot be told apart is a limit of one thread that another
thread of the user's sets while we compute: to be safe with those, begin them before a fit or after
it, or limit the whole process (OMP_NUM_THREADS).
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from threadpoolctl import ThreadpoolController

from cukernels.runtime.interrupts import and_surely

P = ParamSpec("P")
Result = TypeVar("Result")
Limits = list[tuple[Any, int]]  # of each library

# Multiplications of a product that OpenBLAS leaves to one thread, whatever it is allowed: it takes
# more from 9,216 on for a matrix and a vector, and from 262,144 for two matrices.
UNDIVIDED = 8192

_found: tuple[int, list[Any]] = (0, [])  # the modules at the time, and the libraries
_holders: dict[int, Limits] = {}  # threads that need one thread, and what their own limits were
_before: Limits | None = None  # the threads of the shared pools before the first holder
# The thread that changes limits. No lock: from an entry it can be seen whose it is, so that an
# interrupt between taking it and knowing of it does no harm.
_turn: dict[str, int] = {}


def on_one_blas_thread(function: Callable[P, Result]) -> Callable[P, Result]:
    """Decorate a function during which BLAS stays on the thread that calls it.

    `allowed_threads` still counts what BLAS was allowed. Best done once, around a whole training:
    after a product on several threads, OpenBLAS's sleepers stay awake for milliseconds, on the
    cores that our threads need.
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


def is_undivided(n_multiplications: int) -> bool:
    """Whether products of so few multiplications use one thread without being told.

    To limit BLAS takes as long as to predict the class of a row. Of other libraries than OpenBLAS
    nothing is known.
    """
    known = {blas.internal_api for blas in _libraries()} <= {"openblas"}
    return known and n_multiplications <= UNDIVIDED


def allowed_threads() -> int:
    """Return how many threads BLAS may use, or might before it was limited here."""
    limited = [*(_before or ()), *_holders.get(threading.get_ident(), ())]
    before = {blas.filepath: n_threads for blas, n_threads in limited}
    now = _limits(_libraries())
    return max((before.get(blas.filepath, n_threads) for blas, n_threads in now), default=1)


def keep_to_one_thread() -> None:
    """Limit, for good, the BLAS of a thread that is our own, where each thread has its own limit.

    Where all share a pool, the holder whom it helps has limited it.
    """
    for blas in _libraries():
        if _is_of_a_thread(blas) and blas.num_threads != 1:
            blas.set_num_threads(1)


def _hold(me: int) -> None:
    _holders[me] = _limits([blas for blas in _libraries() if _is_of_a_thread(blas)])
    for blas, _ in _holders[me]:
        blas.set_num_threads(1)
    _settle()


def _release(me: int) -> None:
    """Let go of what a thread holds, and put back what nobody needs; again, if interrupted."""
    if not (me in _holders or _turn.get("of") == me or (_before is not None and not _holders)):
        return
    for blas, n_threads in _holders.get(me, ()):
        blas.set_num_threads(n_threads)
    _holders.pop(me, None)
    _settle()


def _settle() -> None:
    """Bring the shared pools to what the holders need; may be interrupted, and called again."""
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
    global _before
    if _before is None:
        _before = _limits([blas for blas in _libraries() if not _is_of_a_thread(blas)])
    else:  # whoever set another number since then wants that one back
        _before = [
            (blas, n if n != 1 else before)
            for (blas, n), (_, before) in zip(
                _limits([blas for blas, _ in _before]), _before, strict=True
            )
        ]
    for blas, n_threads in _before:
        if n_threads != 1:
            _set(blas, 1)


def _restore() -> None:
    global _before
    for blas, before in _before or ():
        if before != 1 and blas.num_threads == 1:
            _set(blas, before)
        else:
            _give_up_control(blas)
    _before = None


def _set(blas: Any, n_threads: int) -> None:
    """Set the size of a shared pool, whoever set it last."""
    for _ in range(4):  # another thread may have control, or take it in between
        blas.set_num_threads(n_threads)
        _give_up_control(blas)
        if blas.num_threads == n_threads:
            return
        _give_up_control(blas, force=True)


def _give_up_control(blas: Any, **force: bool) -> None:
    """Let any thread set the limit, where threadpoolctl reserves it to one."""
    if hasattr(blas, "clear_controlling_thread"):
        blas.clear_controlling_thread(**force)


def _limits(libraries: list[Any]) -> Limits:
    return [(blas, blas.num_threads or 1) for blas in libraries]


def _libraries() -> list[Any]:
    """The BLAS libraries loaded; looking for them takes a millisecond or two."""
    global _found
    if _found[0] != len(sys.modules):
        n_modules = len(sys.modules)
        _found = n_modules, ThreadpoolController().select(user_api="blas").lib_controllers
    return _found[1]


def _is_of_a_thread(blas: Any) -> bool:
    """Whether a limit holds for the thread that sets it alone."""
    if blas.internal_api == "openblas":
        return blas.threading_layer == "openmp"
    return blas.internal_api == "mkl"


def _forget_other_threads() -> None:
    """Threads do not survive a fork, nor do their needs."""
    me = threading.get_ident()
    _turn.clear()
    for thread in list(_holders):
        if thread != me:
            _holders.pop(thread)
    _settle()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)
