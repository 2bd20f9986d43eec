"""The learning rates of a fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from estimators.callbacks.epochs import EpochCallback
from estimators.shared.bars import say
from estimators.shared.callbacks import EpochInfo


class LearningRateLogger(EpochCallback):
    """Keeps the learning rate of each epoch, and prints it where it has changed.

    Parameters
    ----------
    verbose : bool, default=True
        Whether to print a line at the first epoch, and at each whose rate is another than that of
        the epoch before. Fits that a search trains together print none.

    Attributes
    ----------
    learning_rates_ : list of float
        The rate of the last step of each epoch since the fit began; NaN for solvers that have none,
        as those of LogisticRegression. Calls of `partial_fit` add to it.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from estimators import MLPClassifier
    >>> from estimators.callbacks import LearningRateLogger
    >>> X, y = load_digits(return_X_y=True)
    >>> model = MLPClassifier(
    ...     (8,), max_iter=2, learning_rate="cosine", callbacks=LearningRateLogger()
    ... )
    >>> model = model.fit(X / 16, y)
    Epoch 1, learning rate = 0.000546134
    Epoch 2, learning rate = 0
    """

    is_silent = False

    def __init__(self, verbose: bool = True) -> None:
        self.verbose = verbose
        self.learning_rates_: list[float] = []

    def on_fit_begin(self, estimator: Any, info: EpochInfo) -> None:
        """Forget the rates of the fit before."""
        super().on_fit_begin(estimator, info)
        self.learning_rates_ = []

    def on_epoch_end(self, estimator: Any, info: EpochInfo) -> None:
        """Keep the rate of an epoch.

        Parameters
        ----------
        estimator : estimator
            It is not looked at.
        info : EpochInfo
            How the fit stands.
        """
        epoch, rate = self._count(info), float(info.learning_rate)
        has_changed = not np.isnan(rate) and self.learning_rates_[-1:] != [rate]
        self.learning_rates_.append(rate)
        if self.verbose and has_changed and not (self.is_silent and self._is_in_fit):
            say(f"Epoch {epoch}, learning rate = {rate:.6g}")
