"""The estimator at the end of a pipeline, and the steps before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted


def steps_and_model(estimator: Any) -> tuple[list[tuple[str, Any]], Any]:
    """Return the steps before the model that a search or a pipeline ends in, and the model.

    A search stands for its best estimator. Each step has its name with it. Steps that do nothing
    are left out, and a pipeline among the steps is replaced by its own steps.
    """
    steps: list[tuple[str, Any]] = []
    while True:
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif isinstance(estimator, Pipeline):
            steps += _flat(estimator.steps[:-1])
            estimator = estimator[-1]
        else:
            return steps, estimator


def _flat(steps: list[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    for name, step in steps:
        if isinstance(step, Pipeline):
            yield from ((f"{name}__{inner}", s) for inner, s in _flat(step.steps))
        elif step not in (None, "passthrough"):
            yield name, step


def n_features_given(steps: list[tuple[str, Any]], model: Any) -> int:
    """Return how many features the first of the steps takes, or else the model after them."""
    for one in (*(step for _, step in steps), model):
        if hasattr(one, "n_features_in_"):
            return one.n_features_in_
    # nothing was fitted: the user has set the weights
    return np.shape(model.coefs_[0])[0] if hasattr(model, "coefs_") else model.coef_.shape[-1]


def final_estimator(estimator: Any) -> Any:
    """Return the fitted estimator itself, the last step of a pipeline, or the best of a search."""
    _, model = steps_and_model(estimator)
    check_is_fitted(model)
    return model


def before_the_last_step(estimator: Any, X: Any) -> Any:
    """Return X as the steps of a pipeline hand it to `final_estimator`; without steps, X."""
    steps, _ = steps_and_model(estimator)
    for _, step in steps:
        X = step.transform(X)
    return X
