"""What the prepared fits of all linear models know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from estimators.costs.memory import MemoryEstimate
from estimators.linear.resume import write_stage
from estimators.linear.scores import scores_together
from estimators.shared.callbacks import EpochInfo
from estimators.shared.samples import Samples


@dataclass(eq=False)
class LinearFit:
    """A fit of a linear model that is prepared and not yet run; see `fit_protocol.Fit`.

    Attributes
    ----------
    estimator : classifier
        The estimator that is fitted. Its classes are known.
    samples : Samples
        The samples that it shares with other fits.
    X : ndarray or CSR matrix of shape (n_samples, n_features)
        All of these samples, validated.
    labels : integer ndarray of shape (n_rows,)
        Labels of the samples that the fit learns from, as places in `estimator.classes_`.
    rows : integer ndarray of shape (n_rows,) or None
        Which samples these are; None for all.
    error : Exception or None
        What made the fit fail, if anything did, or what a callback has raised.
    callbacks : EpochCallbacks or None
        Whom it tells of its epochs, from the beginning of the run on.
    resumed : object or None
        What it goes on from: a stage of its solver, as a file has had it.
    """

    estimator: Any
    samples: Samples
    X: Any
    labels: np.ndarray
    rows: np.ndarray | None
    error: Exception | None = field(default=None, kw_only=True)
    callbacks: Any = field(default=None, kw_only=True)
    resumed: Any = field(default=None, kw_only=True)

    @property
    def kept(self) -> tuple[np.ndarray, np.ndarray] | None:
        """`coef_` and `intercept_` of the epoch that a callback has chosen, if one has."""
        kept = None if self.callbacks is None else self.callbacks.kept
        return None if kept is None else (kept["coef_"], kept["intercept_"])

    def tell(
        self, info: EpochInfo, state: tuple, stage: Callable[[], Any] | None, *, is_last: bool
    ) -> bool:
        """Tell the callbacks of an epoch; return whether the fit is to end here.

        What they raise ends this fit alone, and `finish` raises it.

        Parameters
        ----------
        info, state, is_last
            As `EpochCallbacks.epoch` takes them.
        stage : callable or None
            Returns what a file is to have of the solver; None if none is to be written.
        """
        if self.error is not None:  # of a callback, before the first epoch
            return True
        write = None if stage is None else partial(write_stage, stage)
        try:
            return self.callbacks.epoch(info, state, write, is_last=is_last)
        except Exception as error:
            self.error = error
            return True

    @classmethod
    def memory_of(cls, fits: Sequence[Any]) -> MemoryEstimate:
        """Return what fits that run together need on their device."""
        first = fits[0]
        n_classes = len(first.estimator.classes_)
        return first.estimator._fit_memory(
            first.X, n_classes, first.device, len(fits), len(first.labels)
        )

    @staticmethod
    def outputs_of(fits: Sequence[Any], X: Any) -> list[np.ndarray]:
        """Compute the scores for X of fits that ran together; see `scores_together`."""
        return scores_together(fits, X)


def learn_classes(
    samples: Samples, y: np.ndarray, rows: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes among some samples, and each label as a place in them.

    Fits on the same rows share the result.

    Parameters
    ----------
    samples : Samples
    y : ndarray of shape (n_samples,)
        The validated labels of all samples.
    rows : integer ndarray of shape (n_rows,) or None
        The samples to learn from; None for all.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
    labels : integer ndarray of shape (n_rows,)
    """

    def learn() -> tuple[Any, ...]:
        # The rows are kept with the result, so that no other array can get their identity.
        return rows, *np.unique(y if rows is None else y[rows], return_inverse=True)

    _, classes, labels = samples.once(("classes", id(rows)), learn)
    return classes, labels
