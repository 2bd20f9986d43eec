"""What has been begun is undone, wherever Ctrl-C strikes.

Python raises KeyboardInterrupt in the main thread between any two steps: after a lock is taken and
before the `try` that would give it back, within the `__enter__` or `__exit__` of a `with` block, or
in a `finally`. So what must not be left half done here is undone by a function that may be called
again: it holds no lock, and finds nothing to do where all is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def and_surely(do: Callable[[], Result], undo: Callable[[], None], times: int = 3) -> Result:
    """Return ``do()``, and call `undo` behind it.

    `undo` is called several times, each call in the `finally` around the one before: an interrupt
    that cuts one short leaves the next, and one that comes at the entry of a function that stands
    outside of another comes before `do` has begun.

    Parameters
    ----------
    do : callable
        Whatever it begins, it begins itself: nothing is to be undone before it is called.
    undo : callable
        Undoes what it finds; all of it, if it is not interrupted.
    times : int, default=3
        Calls of `undo`: all but one may be interrupted.
    """
    try:
        return do() if times == 1 else and_surely(do, undo, times - 1)
    finally:
        undo()
