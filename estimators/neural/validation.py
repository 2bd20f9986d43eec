"""Scores of models in training, on samples that they do not learn from: all of a stack at once."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from cukernels.runtime import Array, to_host
from estimators.layers.layer import Mode
from estimators.neural.data import Cut, Data
from estimators.neural.held_out import HeldOut
from estimators.neural.network import Network
from estimators.neural.objective import Objective
from estimators.neural.trainee import Trainee

_VALUES_AT_ONCE = 2**20  # of the widest layer of a model


def validation_scores(
    network: Network, objective: Objective, data: Data, trainees: Sequence[Trainee], params: Array
) -> list[float | None]:
    """Return the accuracy of each model on what is held out for it; None where nothing is.

    Parameters
    ----------
    network, objective, data, trainees
        As `loop.train` takes them.
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
