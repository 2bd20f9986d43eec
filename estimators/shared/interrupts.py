"""Whether Ctrl-C ends a program, or only the fit that it strikes.

A fit or a search of this package that is interrupted warns, and returns what it has. A program that
was written for scikit-learn counts on KeyboardInterrupt, and without it would go on with a model
that is half trained.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from cukernels.runtime import while_set

P = ParamSpec("P")
Result = TypeVar("Result")

_raises: ContextVar[bool] = ContextVar("_raises", default=False)


def interrupts_raise(function: Callable[P, Result], /, *args: P.args, **kwargs: P.kwargs) -> Result:
    """Call a function in which Ctrl-C raises KeyboardInterrupt where scikit-learn lets it."""
    return while_set(_raises, True, function, *args, **kwargs)


def has_to_raise() -> bool:
    """Whether this is within a call of `interrupts_raise`."""
    return _raises.get()
