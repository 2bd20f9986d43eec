"""What the parameter `callbacks` may hold, and how each of them is called."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from estimators.scikit_learn import HasMethods

HOOKS = ("on_fit_begin", "on_epoch_end", "on_fit_end")
"""Methods of a callback, each of them optional. They take an estimator and an `EpochInfo`."""

# What the parameter may be.
CALLBACKS = [*(callable, list, tuple, *map(HasMethods, HOOKS), HasMethods("checkpoint_path"), None)]


class Listener:
    """A callback, whichever of the methods it has.

    Parameters
    ----------
    callback : callable or object
        A function that is called after each epoch, or an object with some of `HOOKS`.

    Raises
    ------
    ValueError
        If it is neither.
    """

    def __init__(self, callback: Any) -> None:
        self._callback = callback
        self._has = {name for name in HOOKS if hasattr(callback, name)}
        called = [getattr(callback, name) for name in self._has] or [callback]
        if not all(map(callable, called)):
            raise ValueError(
                "callbacks must be functions f(estimator, info) or objects with a method "
                f"on_epoch_end(estimator, info), on_fit_begin or on_fit_end, got {callback!r}"
            )

    @property
    def needs_fitted(self) -> bool:
        """Whether it looks at the weights of the estimator that it is called with."""
        return bool(getattr(self._callback, "needs_fitted", True))

    @property
    def may_stop(self) -> bool:
        """Whether the result of a fit may depend on what it remembers."""
        return bool(getattr(self._callback, "may_stop", True))

    def be_silent(self, silent: bool) -> None:
        """Tell a callback that shows something whether to show nothing in the next fit."""
        if hasattr(self._callback, "is_silent"):
            self._callback.is_silent = silent

    def begin(self, estimator: Any, info: Any) -> None:
        """Tell of the beginning of a fit."""
        if "on_fit_begin" in self._has:
            self._callback.on_fit_begin(estimator, info)

    def epoch(self, estimator: Any, info: Any) -> Any:
        """Tell of the end of an epoch; return what the callback says to it."""
        if "on_epoch_end" in self._has:
            return self._callback.on_epoch_end(estimator, info)
        return None if self._has else self._callback(estimator, info)

    def end(self, estimator: Any, info: Any) -> None:
        """Tell of the end of a fit."""
        if "on_fit_end" in self._has:
            self._callback.on_fit_end(estimator, info)

    def keeps_weights(self, info: Any) -> bool:
        """Whether the estimator is to end with the weights of this epoch, if no later one does."""
        keeps = getattr(self._callback, "keeps_weights", None)
        return bool(keeps is not None and keeps(info))


def listeners_of(callbacks: Any) -> list[Listener]:
    """Return whom the `callbacks` parameter wants to be told.

    Raises
    ------
    ValueError
        If one of them cannot be called and has none of the methods.
    """
    return [
        Listener(callback)
        for callback in listed(callbacks)
        if not is_writer(callback) or any(hasattr(callback, name) for name in HOOKS)
    ]


def listed(callbacks: Any) -> list[Any]:
    """Return what the `callbacks` parameter stands for: none, one or several.

    Raises
    ------
    ValueError
        If one of them is a class: its methods are functions that lack an object.
    """
    if callbacks is None:
        return []
    is_one = any(hasattr(callbacks, name) for name in HOOKS) or is_writer(callbacks)
    several = list(callbacks) if isinstance(callbacks, Iterable) and not is_one else [callbacks]
    for callback in several:
        if isinstance(callback, type):
            name = callback.__name__
            raise ValueError(f"callbacks has the class {name}: give an object, as in {name}()")
    return several


def is_writer(callback: Any) -> bool:
    """Whether a callback wants files to resume from."""
    return callable(getattr(callback, "checkpoint_path", None))
