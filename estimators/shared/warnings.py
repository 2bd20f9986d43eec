"""Warnings that point at the line in the user's code that they are about."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from types import FrameType
from typing import ParamSpec, TypeVar

import joblib
import sklearn

import cukernels
from cukernels.runtime import while_set

P = ParamSpec("P")
Result = TypeVar("Result")

_FOLDERS = tuple(
    os.path.dirname(str(package.__file__)) + os.sep
    for package in (sys.modules[__name__.partition(".")[0]], cukernels, sklearn, joblib)
)
# Python's own, which stand between two lines of these packages
_BETWEEN = (contextlib.__file__, functools.__file__)

_said: ContextVar[set[tuple[str, int]] | None] = ContextVar("_said", default=None)
_issuer: ContextVar[str | None] = ContextVar("_issuer", default=None)


def issued_by(
    module: str, function: Callable[P, Result], /, *args: P.args, **kwargs: P.kwargs
) -> Result:
    """Call a function; filters take its warnings for those of a module.

    A program that was written for scikit-learn ignores its warnings by ``module="sklearn"``.
    """
    return while_set(_issuer, module, function, *args, **kwargs)


def one_of_each(function: Callable[P, Result], /, *args: P.args, **kwargs: P.kwargs) -> Result:
    """Call a function in which ``warn(..., once=True)`` warns once, however many fits it makes."""
    said = set() if _said.get() is None else _said.get()
    return while_set(_said, said, function, *args, **kwargs)


def warn(message: str, category: type[Warning] = UserWarning, *, once: bool = False) -> None:
    """Warn as `warnings.warn` does, and point at the last line outside of these packages.

    scikit-learn and joblib count among these packages: their decorators, pipelines and searches
    call ours, and the line in them that does so says nothing to a user. (From Python 3.12 on,
    `skip_file_prefixes` does the same.)

    Parameters
    ----------
    message : str
        The text of the warning.
    category : type of warning, default=UserWarning
        The class of the warning.
    once : bool, default=False
        Whether to warn once in a call of `one_of_each`, as all fits of a search say the same.
    """
    if once and (said := _said.get()) is not None:
        caller = sys._getframe(1)
        site = caller.f_code.co_filename, caller.f_lineno
        if site in said:
            return
        said.add(site)
    level = 1
    outside: FrameType | None = sys._getframe()
    while outside is not None and outside.f_code.co_filename.startswith(_FOLDERS + _BETWEEN):
        level, outside = level + 1, outside.f_back
    module = _issuer.get()
    if module is not None and outside is not None:
        registry = outside.f_globals.setdefault("__warningregistry__", {})
        place = outside.f_code.co_filename, outside.f_lineno
        warnings.warn_explicit(message, category, *place, module=module, registry=registry)
        return
    # a thread that C code has started may have no frame outside of these packages
    warnings.warn(message, category, stacklevel=1 if outside is None else level)
