"""The samples that score a model in training, which does not learn from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from estimators.neural.data import Data


@dataclass(eq=False)
class HeldOut:
    """The samples that score one model.

    Attributes
    ----------
    rows : integer ndarray of shape (n_held_out,)
        Which they are.
    labels : integer ndarray of shape (n_held_out,) or (n_held_out, n_labels)
        Places in `classes_`, -1 for a label that is none of these; or indicators.
    weight : ndarray of shape (n_held_out,), default=None
    data : Data, default=None
        What the rows point into; the data that the stack learns from if None.
    one_class : bool, default=False
        Whether there is one class only, which every sample is taken for.
    """

    rows: np.ndarray
    labels: np.ndarray
    weight: np.ndarray | None = None
    data: Data | None = None
    one_class: bool = False

    def accuracy(self, p: np.ndarray) -> float:
        """The weighted part that probabilities of shape (n_held_out, n_outputs) get right.

        Of several labels a sample all have to be right. NaN where the model has diverged.
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


def places_of(y: Any, classes: np.ndarray) -> np.ndarray:
    """Labels as `HeldOut` has them; indicators, 0 or not, become an array of bool."""
    if y.ndim == 2:
        return (y.toarray() if sp.issparse(y) else y) != 0
    places = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
    return np.where(classes[places] == y, places, -1)
