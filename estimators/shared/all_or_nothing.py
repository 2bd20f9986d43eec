"""Fits that fail and leave no trace."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from estimators.shared.memory import out_of_memory

P = ParamSpec("P")
Result = TypeVar("Result")


def all_or_nothing(
    method: Callable[Concatenate[Any, P], Result],
) -> Callable[Concatenate[Any, P], Result]:
    """Decorate a fit, so that the estimator is as before the call if it fails.

    A fit learns labels and features before its first step. If it failed for want of memory and left
    them, an estimator that was fitted before would name classes that its weights know nothing of,
    and one that was not would pass for fitted.
    """

    @wraps(method)
    def fit(self: Any, *args: P.args, **kwargs: P.kwargs) -> Result:
        before = dict(vars(self))
        try:
            return method(self, *args, **kwargs)
        except BaseException as error:
            self.__dict__ = before  # in one step, as Ctrl-C may strike again
            if isinstance(error, MemoryError):
                raise out_of_memory(error) from error
            raise

    return fit
