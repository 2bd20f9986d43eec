"""Scores of the models of a stack, all at once, on samples that they do not learn from."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from cukernels.runtime import Array, to_host
from estimators.layers.layer import Mode
from estimators.neural.data import BatchLayout, Data
from estimators.neural.held_out import HeldOut
from estimators.neural.member import Member
from estimators.neural.network import Network
from estimators.neural.objective import Objective

_VALUES_AT_ONCE = 2**20  # the most values that the widest layer of a model makes at once


def validation_scores(
    network: Network, objective: Objective, data: Data, members: Sequence[Member], params: Array
) -> list[float | None]:
    """Return the accuracy of each model on its samples held out, or None where it has none.

    Parameters
    ----------
    network, objective, data, members
        As `loop.train` takes them.
    params : array of shape (M, P)
        The parameters of the models.
    """
    scores: list[float | None] = [None] * len(members)
    groups: dict[tuple, list[tuple[int, HeldOut]]] = {}
    for m, member in enumerate(members):
        if member.held_out is not None:
            kind = (id(member.held_out.data), len(member.held_out.rows))
            groups.setdefault(kind, []).append((m, member.held_out))
    size = max(1, _VALUES_AT_ONCE // max(map(prod, network.shapes)))
    for group in groups.values():
        models = [m for m, _ in group]
        rows = [h.rows + (members[m].first_row if h.data is None else 0) for m, h in group]
        parameters = network.views(params if len(models) == len(params) else params[models])
        layout = BatchLayout.of(np.array([len(r) for r in rows]), size)
        source = group[0][1].data or data
        outputs = []
        for batch in source.batches(layout.flattened(rows, np.intp), layout):
            x, _targets = batch.take()
            z, _backward = network.forward(parameters, x, Mode())
            outputs.append(to_host(objective.probabilities(z)))
        for (m, held_out), p in zip(group, np.concatenate(outputs, axis=1), strict=True):
            scores[m] = held_out.accuracy(p)
    return scores
