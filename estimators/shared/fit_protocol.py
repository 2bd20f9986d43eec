"""Fits that are prepared before they run, so that many can run together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol

import numpy as np

Watch = Callable[[int, float], None]  # told of each epoch: models still training, lowest loss


class NotTrainedError(RuntimeError):
    """Of a fit that Ctrl-C came before."""


def raise_error_of(training: Any) -> None:
    """Raise the error that a training has kept, if any, and let go of it.

    It refers to the frames that it came through, and these to the training: kept, it would be a
    cycle that holds the samples.
    """
    error, training.error = training.error, None
    if error is not None:
        try:
            raise error
        finally:
            del error


class Fit(Protocol):
    """A fit that is prepared and not yet run.

    Attributes
    ----------
    estimator : classifier
        Whose fit this is.
    key : hashable
        Trainings of one class with equal keys may run together.
    n_bytes : int
        What one more of them adds to the memory that they take while they run.
    has_begun : bool
        Whether there is something to `finish` with; asked after an interrupt.
    error : Exception or None
        What made it fail, for `finish`.
    """

    estimator: Any
    key: Hashable
    n_bytes: int
    has_begun: bool
    error: Exception | None

    @classmethod
    def run(cls, trainings: Sequence[Any], watch: Watch | None = None) -> None:
        """Run trainings of equal keys, each as it would have run alone.

        A training that fails keeps its error for `finish`, and takes no other down.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C; each training then is as far as it got.
        """

    @staticmethod
    def outputs_of(fits: Sequence[Any], X: Any) -> Sequence[np.ndarray]:
        """Compute in one pass what the models of fits that ran together give for X.

        Returns
        -------
        outputs : sequence of ndarray
            The probabilities or scores of each model, as its estimator would compute them; empty
            where models are as fast one by one.
        """

    def finish(self) -> None:
        """Set the fitted attributes of the estimator, with the warnings and errors of its fit."""
