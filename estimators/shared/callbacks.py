"""Tell scikit-learn's callbacks (release 1.9 and later) of a fit and of each iteration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from estimators.scikit_learn import (
    LEFT_BY_CALLBACKS,
    HasMethods,
    has_callbacks,
    init_callback_context,
)

# What the parameter may be.
CALLBACKS = [
    *(callable, list, tuple, HasMethods("on_epoch_end"), HasMethods("checkpoint_path"), None)
]


class FitCallbacks:
    """Calls the callbacks of one fit; does nothing where there are none.

    Parameters
    ----------
    estimator : estimator
        The estimator that is fitted, whose callbacks are called.
    X, y, sample_weight
        What the estimator is fitted on.
    max_iter : int
        The most iterations that the fit may take.
    attributes : callable
        Returns the fitted attributes for the state of an iteration, such as its parameters. It is
        called only where a callback wants them.
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: np.ndarray,
        sample_weight: Any,
        max_iter: int,
        attributes: Callable[..., dict[str, Any]],
    ) -> None:
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._task = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._estimator, self._max_iter, self._attributes = estimator, max_iter, attributes
        self._iteration: Any = None
        self._fit: Any = None

    def begin(self, *state: Any) -> None:
        """Report that the fit starts from a state, as `attributes` takes it."""
        if has_callbacks(self._estimator):
            # after each iteration the next one begins, so one more begins than is ever run
            self._fit = init_callback_context(self._estimator, self._max_iter + 1)
            self._fit.call_on_fit_task_begin(**self._task)
            self._begin_iteration(*state)

    def iteration(self, *state: Any) -> bool:
        """Report that an iteration ended in a state; return whether a callback wants to stop."""
        if self._fit is None:
            return False
        stop = self._iteration.call_on_fit_task_end(
            **self._task, reconstruction_attributes=partial(self._attributes, *state)
        )
        self._begin_iteration(*state)
        return bool(stop)

    def end(self) -> None:
        """Report that the estimator has its fitted attributes."""
        if self._fit is not None:
            self._iteration.call_on_fit_task_end(estimator=self._estimator)
            self._fit.call_on_fit_task_end(**self._task, reconstruction_attributes={})

    def _begin_iteration(self, *state: Any) -> None:
        self._iteration = self._fit.subcontext(task_name=f"{self._estimator.solver}-iter")
        self._iteration.call_on_fit_task_begin(
            **self._task, reconstruction_attributes=partial(self._attributes, *state)
        )


def without_callbacks(estimator: Any) -> Any:
    """Take all callbacks off an estimator, a copy for one of them; return it."""
    estimator.callbacks = None
    for name in [n for n in vars(estimator) if n.startswith(LEFT_BY_CALLBACKS)]:
        delattr(estimator, name)
    return estimator
