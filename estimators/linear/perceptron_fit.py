"""Fits of `Perceptron` that are prepared, and those that run as a stack by our own sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from estimators.linear.scores import scores_together
from estimators.shared.fit_protocol import raise_error_of
from estimators.shared.samples import Samples
from estimators.shared.warnings import warn


@dataclass(eq=False)
class OnlineFit:
    """A fit of `Perceptron` that is prepared and not yet run; see `fit_protocol.Fit`.

    Attributes
    ----------
    estimator : Perceptron
        Whose fit this is; its classes are known.
    samples : Samples
        What it shares with others.
    X : ndarray or CSR matrix of shape (n_samples, n_features)
        All samples as validated.
    labels : integer ndarray of shape (n_rows,)
        Places in `classes_` of the samples that it learns from.
    rows : integer ndarray of shape (n_rows,) or None
        Which these are; None for all.
    w, b : ndarrays of shapes (K, n_features), (K,)
        Where it starts, and then what is learned.
    epochs : int
        How many it has at the most.
    incremental : bool
        Whether this is a `partial_fit`.
    """

    estimator: Any
    samples: Samples
    X: Any
    labels: np.ndarray
    rows: np.ndarray | None
    w: np.ndarray
    b: np.ndarray
    epochs: int
    _: KW_ONLY
    incremental: bool = False
    n_iter: int = 0
    error: Exception | None = None

    @staticmethod
    def takes(rows: np.ndarray | None, sample_weight: Any) -> bool:
        """Whether it can learn from these rows of shared samples, with these weights."""
        return True

    @property
    def learned(self) -> tuple[np.ndarray, np.ndarray]:
        """What becomes `coef_` and `intercept_`."""
        return self.w, self.b

    @property
    def has_begun(self) -> bool:
        """Whether an interrupt has left something to finish with."""
        return True

    @staticmethod
    def outputs_of(fits: Sequence[OnlineFit], X: Any) -> list[np.ndarray]:
        """Compute the scores for X of fits that ran together."""
        return scores_together(fits, X)

    def finish(self) -> None:
        """Set the fitted attributes of the estimator, with the warnings and errors of its fit."""
        raise_error_of(self)
        estimator = self.estimator
        estimator.coef_, estimator.intercept_ = self.learned
        estimator.n_iter_ = self.n_iter
        estimator.t_ += self.n_iter * len(self.labels)
        is_at_limit = self.n_iter == self.epochs and not self.incremental
        if estimator.tol is not None and is_at_limit:
            warn(
                "Maximum number of iteration reached before convergence. Consider increasing "
                "max_iter to improve the fit.",
                ConvergenceWarning,
            )
