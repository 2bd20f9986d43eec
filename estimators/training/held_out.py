"""The samples that score a model while it trains. It does not learn from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from cukernels.training import NOT_FINITE
from estimators.training.data import Data


@dataclass(eq=False)
class HeldOut:
    """The samples that score one model.

    Attributes
    ----------
    rows : integer ndarray of shape (n_held_out,)
        The rows of the samples.
    labels : integer ndarray of shape (n_held_out,) or (n_held_out, n_labels)
        Places in `classes_`, with -1 for a label that is none of these; or indicators.
    weight : ndarray of shape (n_held_out,), default=None
        Weights of the samples.
    data : Data, default=None
        What the rows point into; None for the data that the stack learns from.
    one_class : bool, default=False
        Whether there is a single class, which every sample is predicted to have.
    """

    rows: np.ndarray
    labels: np.ndarray
    weight: np.ndarray | None = None
    data: Data | None = None
    one_class: bool = False

    def accuracy(self, p: np.ndarray) -> float:
        """Return the weighted fraction of the samples that are predicted right.

        If samples have several labels each, all of them have to be right.

        Parameters
        ----------
        p : ndarray of shape (n_held_out, n_outputs)
            Predicted probabilities.

        Returns
        -------
        accuracy : float
            NaN if a probability is not finite, because the model has diverged.
        """
        if not np.isfinite(p).all():
            return np.nan
        if self.one_class:
            right = self.labels == 0
        elif self.labels.ndim == 2:
            right = ((p > 0.5) == self.labels).all(axis=1)
        elif p.shape[1] == 1:
            right = (p[:, 0] > 0.5) == self.labels
        else:
            right = p.argmax(axis=1) == self.labels
        return float(np.average(right, weights=self.weight))

    def accuracy_of(self, right: np.ndarray) -> float:
        """Return what `accuracy` does, from what `right_rows` says of the probabilities."""
        if (right == NOT_FINITE).any():
            return np.nan
        if self.one_class:
            right = self.labels == 0
        return float(np.average(right != 0, weights=self.weight))


def places_of(y: Any, classes: np.ndarray) -> np.ndarray:
    """Return labels as `HeldOut` takes them. Indicators, 0 or not, become an array of bool."""
    if y.ndim == 2:
        return (y.toarray() if sp.issparse(y) else y) != 0
    places = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
    return np.where(classes[places] == y, places, -1)
