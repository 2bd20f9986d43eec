"""Tell scikit-learn's callbacks (release 1.9 and later) of a fit and of each iteration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from estimators.scikit_learn import has_callbacks, init_callback_context


class FitCallbacks:
    """Calls the callbacks of one fit of a linear model; does nothing where there are none.

    Parameters
    ----------
    estimator : estimator
        The estimator that is fitted, whose callbacks are called.
    X, y, sample_weight
        What the estimator is fitted on.
    max_iter : int
        The most iterations that the fit may take.
    weights : callable
        Returns `coef_` and `intercept_` for the parameters of an iteration.
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: np.ndarray,
        sample_weight: Any,
        max_iter: int,
        weights: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    ) -> None:
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._task = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._estimator, self._max_iter, self._weights = estimator, max_iter, weights
        self._iteration: Any = None
        self._fit: Any = None

    def begin(self, x: np.ndarray) -> None:
        """Report that the fit starts from the parameters `x`."""
        if has_callbacks(self._estimator):
            # after each iteration the next one begins, so one more begins than is ever run
            self._fit = init_callback_context(self._estimator, self._max_iter + 1)
            self._fit.call_on_fit_task_begin(**self._task)
            self._begin_iteration(x)

    def iteration(self, x: np.ndarray) -> None:
        """Report that an iteration ended at the parameters `x`."""
        if self._fit is not None:
            self._iteration.call_on_fit_task_end(**self._task, **self._reconstruction(x))
            self._begin_iteration(x)

    def end(self) -> None:
        """Report that the estimator has its fitted attributes."""
        if self._fit is not None:
            self._iteration.call_on_fit_task_end(estimator=self._estimator)
            self._fit.call_on_fit_task_end(**self._task, reconstruction_attributes={})

    def _begin_iteration(self, x: np.ndarray) -> None:
        self._iteration = self._fit.subcontext(task_name=f"{self._estimator.solver}-iter")
        self._iteration.call_on_fit_task_begin(**self._task, **self._reconstruction(x))

    def _reconstruction(self, x: np.ndarray) -> dict[str, Any]:
        coef, intercept = self._weights(x)
        return {"reconstruction_attributes": {"coef_": coef, "intercept_": intercept}}
