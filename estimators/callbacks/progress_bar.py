"""A progress bar of a fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from estimators.callbacks.epochs import EpochCallback
from estimators.shared.bars import BACKENDS
from estimators.shared.callbacks import EpochInfo
from estimators.shared.progress import Reporter


class ProgressBar(EpochCallback):
    """Shows a bar with epochs, time left, loss, learning rate and validation score.

    It is what ``verbose="bar"`` shows, and lets choose what draws it. It goes to the stream of
    errors.

    Parameters
    ----------
    backend : {"auto", "tqdm", "rich"}, default="auto"
        What draws the bar. "auto" is tqdm, which also draws in notebooks, or else rich. Where the
        package is missing there is a warning, and a line is printed for each epoch.

    Raises
    ------
    ValueError
        If `backend` is not one of these.

    Notes
    -----
    Fits that a search trains together show no bars of their own: ask for ``progress=True`` there,
    and see a bar of the search.
    Each call of `partial_fit` shows a bar of one epoch.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from estimators import LogisticRegression
    >>> from estimators.callbacks import ProgressBar
    >>> X, y = load_digits(return_X_y=True)
    >>> model = LogisticRegression(callbacks=ProgressBar()).fit(X / 16, y)
    """

    is_silent = False
    _reporter: Reporter | None = None

    def __init__(self, backend: str = "auto") -> None:
        if backend not in BACKENDS:
            raise ValueError(f"backend must be one of {BACKENDS}, got {backend!r}")
        self.backend = backend

    def on_fit_begin(self, estimator: Any, info: EpochInfo) -> None:
        """Show the bar."""
        super().on_fit_begin(estimator, info)
        self._show(info)

    def on_epoch_end(self, estimator: Any, info: EpochInfo) -> None:
        """Show how the fit stands after an epoch.

        Parameters
        ----------
        estimator : estimator
            It is not looked at.
        info : EpochInfo
            How the fit stands.
        """
        self._count(info)
        if not self._is_in_fit:
            self._show(info)
        if self._reporter is not None:
            if not np.isnan(info.learning_rate):
                self._reporter.learning_rate(info.learning_rate)
            self._reporter.epoch(info.epoch, info.loss)
            if info.validation_score is not None:
                self._reporter.score(info.validation_score)
        if not self._is_in_fit:
            self._close()

    def on_fit_end(self, estimator: Any, info: EpochInfo) -> None:
        """Leave the bar as it stands."""
        super().on_fit_end(estimator, info)
        self._close()

    def _show(self, info: EpochInfo) -> None:
        if not (self.is_silent and self._is_in_fit):
            self._reporter = Reporter("bar", info.n_epochs, backend=self.backend)
            self._reporter.__enter__()

    def _close(self) -> None:
        reporter, self._reporter = self._reporter, None
        if reporter is not None:
            reporter.__exit__()

    def __getstate__(self) -> dict[str, Any]:
        """A copy, as a worker gets it, has no bar on the screen."""
        return {**vars(self), "_reporter": None}
