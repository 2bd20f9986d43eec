"""Undo what was begun, wherever Ctrl-C strikes.

Python raises KeyboardInterrupt in the main thread between any two bytecodes: after a lock is taken
and before the `try` that would release it, inside the `__enter__` or `__exit__` of a `with` block,
or in a `finally`. So `try` and `with` alone do not suffice. Here, what must not be left half done
is undone by a function that can be called repeatedly: it holds no lock, and a call that finds
nothing left to undo does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
Result = TypeVar("Result")
Value = TypeVar("Value")


def and_surely(do: Callable[[], Result], undo: Callable[[], object], times: int = 3) -> Result:
    """Return ``do()``, and call `undo` afterwards, even if Ctrl-C strikes meanwhile.

    `undo` is called several times, each call in a `finally` around the one before. If an interrupt
    stops one call, the next one completes it. If an interrupt strikes on the way into these nested
    calls, `do` has not begun, and there is nothing to undo.

    Parameters
    ----------
    do : callable
        Begins what `undo` undoes: nothing needs undoing before `do` is called.
    undo : callable
        Undoes whatever it finds begun; all of it, if it is not interrupted.
    times : int, default=3
        How often `undo` is called. All calls but one may be interrupted.
    """
    try:
        return do() if times == 1 else and_surely(do, undo, times - 1)
    finally:
        undo()


def while_set(
    variable: ContextVar[Value],
    value: Value,
    function: Callable[P, Result],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> Result:
    """Call a function while a context variable has a value, and surely set it back afterwards.

    The function runs in the context of its caller: what it sets itself stays set.
    """

    def set_and_call() -> Result:
        variable.set(value)
        return function(*args, **kwargs)

    return and_surely(set_and_call, partial(variable.set, variable.get()))
