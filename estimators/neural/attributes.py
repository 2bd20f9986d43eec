"""The fitted attributes of a network, listed in one place.

A fit, a copy that a callback sees, and weights that are given instead of learned all set what
`fitted_attributes` returns. scikit-learn's classes have the attributes in `NAMES`.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import numpy as np

from estimators.training.member import TrainingState
from estimators.training.network import Network
from estimators.training.objective import Objective
from estimators.training.optimizers import solver_named


def _best_loss(state: TrainingState, early_stopping: bool) -> float | None:
    return None if early_stopping else state.best_loss


def _best_score(state: TrainingState, early_stopping: bool) -> float | None:
    """Return the best validation score, leaving out NaN, which a model that diverged has."""
    known = [score for score in state.validation_scores if not np.isnan(score)]
    return max(known, default=np.nan) if state.validation_scores else None


_OF_NETWORK: dict[str, Callable[[Network, Objective], Any]] = {
    "n_layers_": lambda network, objective: len(network.weighted) + 1,
    "n_outputs_": lambda network, objective: network.shapes[-1][0],
    "out_activation_": lambda network, objective: objective.output,
}
_OF_TRAINING: dict[str, Callable[[TrainingState], Any]] = {
    "n_iter_": attrgetter("n_iter"),
    "t_": attrgetter("t"),
    "loss_": attrgetter("loss"),
}
# Only solvers that train in steps have these. Lists are copied, because a later fit may go on with
# the state.
_OF_EPOCHS: dict[str, Callable[[TrainingState, bool], Any]] = {
    "loss_curve_": lambda state, early_stopping: list(state.loss_curve),
    "best_loss_": _best_loss,
    "validation_scores_": lambda state, early_stopping: list(state.validation_scores) or None,
    "best_validation_score_": _best_score,
}

NAMES = (
    *("classes_", "n_features_in_", "coefs_", "intercepts_"),
    *_OF_NETWORK,
    *_OF_TRAINING,
    *_OF_EPOCHS,
)
"""The attributes that a fitted MLPClassifier of scikit-learn's has too."""


def fitted_attributes(estimator: Any, network: Network, state: TrainingState) -> dict[str, Any]:
    """Return the attributes that a fit sets once labels and features are known.

    Parameters
    ----------
    estimator : MLPClassifier or ConvNetClassifier
        Its labels are known.
    network : Network
        Its layers.
    state : TrainingState
        How far the training has come, with the parameters that it predicts with. The estimator
        keeps it, for a later fit that goes on from it.
    """
    objective = Objective.of(estimator)
    attributes: dict[str, Any] = {"_network": network, **network.attributes_of(state.params)}
    attributes |= {name: of(network, objective) for name, of in _OF_NETWORK.items()}
    attributes |= {name: of(state) for name, of in _OF_TRAINING.items()}
    if solver_named(estimator.solver).goes_by_steps:
        early_stopping = estimator.early_stopping
        attributes |= {name: of(state, early_stopping) for name, of in _OF_EPOCHS.items()}
    return attributes | {"_state": state}
