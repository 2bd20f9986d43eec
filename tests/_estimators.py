"""All estimators of the package, so that a test of each also tests those that are still to come."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.base import BaseEstimator, is_classifier

import estimators

# Every estimator that the package exports.
ESTIMATORS = [
    value
    for name in estimators.__all__
    if isinstance(value := getattr(estimators, name), type) and issubclass(value, BaseEstimator)
]
# Classifiers that are trained, epoch by epoch or iteration by iteration.
LEARNERS = [cls for cls in ESTIMATORS if is_classifier(cls()) and "max_iter" in cls().get_params()]
NETWORKS = [cls for cls in LEARNERS if "hidden_layer_sizes" in cls().get_params()]
assert NETWORKS and len(ESTIMATORS) > len(LEARNERS) > len(NETWORKS)


def with_known(cls: type, **parameters: Any) -> Any:
    """An estimator with those of the parameters that it has."""
    names = cls().get_params()
    return cls(**{name: value for name, value in parameters.items() if name in names})


def one_each(estimators_: list) -> pytest.MarkDecorator:
    """One test an estimator."""
    return pytest.mark.parametrize("estimator", estimators_, ids=lambda e: type(e).__name__)
