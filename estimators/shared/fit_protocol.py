"""Fits that are prepared before they run, so that many can run together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol

import numpy as np

# Called after each epoch with the number of models that still train, and their lowest loss.
Watch = Callable[[int, float], None]


class NotTrainedError(RuntimeError):
    """Raised for a fit that had not started when the search was interrupted."""


def raise_error_of(fit: Any) -> None:
    """Raise the error that a fit has kept, if any, and let go of it.

    An error refers to the frames that it passed through, and these refer to the fit. A fit that
    kept its error would be part of a cycle, which holds the samples in memory.
    """
    error, fit.error = fit.error, None
    if error is not None:
        try:
            raise error
        finally:
            del error  # this frame is one of those that it refers to


class Fit(Protocol):
    """A fit that is prepared and not yet run.

    Attributes
    ----------
    estimator : classifier
        The estimator that it fits.
    key : hashable
        Fits of one class with equal keys may run together.
    samples : Samples
        The samples that it learns from, and may share with others.
    n_bytes : int
        How much memory it adds, while it runs, to that of the fits beside it.
    has_begun : bool
        Whether it has learned something that `finish` can use; asked after an interrupt.
    error : Exception or None
        The error that made it fail, which `finish` raises.
    """

    estimator: Any
    key: Hashable
    samples: Any
    n_bytes: int
    has_begun: bool
    error: Exception | None

    @classmethod
    def run(cls, fits: Sequence[Any], watch: Watch | None = None) -> None:
        """Run fits of equal keys, each with the result that it would have alone.

        A fit that fails keeps its error for `finish`, and the others go on.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C. Each fit is then as far as it got.
        """

    @classmethod
    def memory_of(cls, fits: Sequence[Any]) -> Any:
        """Return the `MemoryEstimate` of fits of equal keys that run together."""

    @staticmethod
    def outputs_of(fits: Sequence[Any], X: Any) -> Sequence[np.ndarray]:
        """Compute in one pass what the models of some fits that ran together give for X.

        Returns
        -------
        outputs : sequence of ndarray
            The probabilities or scores of each model, as its estimator would compute them. It is
            empty where models are as fast one by one.
        """

    def finish(self) -> None:
        """Set the fitted attributes of the estimator, with the warnings and errors of its fit."""
