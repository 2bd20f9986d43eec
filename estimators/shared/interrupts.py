"""Whether Ctrl-C ends a program, or only the fit that it strikes.

A fit or a search of this package that is interrupted warns, and returns what it has. A program that
was written for scikit-learn counts on KeyboardInterrupt, and without it would go on with a model
that is half trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_raises: ContextVar[bool] = ContextVar("_raises", default=False)


@contextmanager
def interrupts_raise() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt where scikit-learn lets it."""
    token = _raises.set(True)
    try:
        yield
    finally:
        _raises.reset(token)


def has_to_raise() -> bool:
    """Whether this is within a block of `interrupts_raise`."""
    return _raises.get()
