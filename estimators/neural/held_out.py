"""Scores of models in training, on samples that they do not learn from: all of a stack at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import scipy.sparse as sp

from cukernels.runtime.arrays import Array, to_host
from estimators.layers.dense import Mode
from estimators.neural.data import Cut, Data
from estimators.neural.network import Network
from estimators.neural.objective import Objective
from estimators.neural.trainee import Trainee

_VALUES_AT_ONCE = 2**20  # of the widest layer of a model


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


def validation_scores(
    network: Network, objective: Objective, data: Data, trainees: Sequence[Trainee], params: Array
) -> list[float | None]:
    """Return the accuracy of each model on what is held out for it; None where nothing is.

    Parameters
    ----------
    network, objective, data, trainees
        As `_training.train` takes them.
    params : array of shape (M, P)
        The parameters of the models.
    """
    scores: list[float | None] = [None] * len(trainees)
    groups: dict[tuple, list[tuple[int, HeldOut]]] = {}
    for m, trainee in enumerate(trainees):
        if trainee.held_out is not None:
            kind = (id(trainee.held_out.data), len(trainee.held_out.rows))
            groups.setdefault(kind, []).append((m, trainee.held_out))
    size = max(1, _VALUES_AT_ONCE // max(map(prod, network.shapes)))
    for group in groups.values():
        models = [m for m, _ in group]
        rows = [h.rows + (trainees[m].first_row if h.data is None else 0) for m, h in group]
        parameters = network.views(params if len(models) == len(params) else params[models])
        cut = Cut.of(np.array([len(r) for r in rows]), size)
        batches = (group[0][1].data or data).batches(cut.lay_out(rows, np.intp), cut)
        parts = [
            to_host(objective.probabilities(network.forward(parameters, x, Mode())[0]))
            for x, _ in (batch.part() for batch in batches)
        ]
        for (m, held_out), p in zip(group, np.concatenate(parts, axis=1), strict=True):
            scores[m] = held_out.accuracy(p)
    return scores
