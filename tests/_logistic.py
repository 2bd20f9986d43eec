"""What the tests of `LogisticRegression` share: small samples, and scikit-learn's estimator."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import sklearn
import sklearn.linear_model

from _requirements import RELEASE

same_wording = pytest.mark.skipif(
    RELEASE != (1, 9), reason="compares messages, which are those of scikit-learn 1.9"
)


def peer(**parameters):
    """scikit-learn's estimator, whichever way its release says the penalty."""
    if RELEASE < (1, 8):
        l1_ratio = parameters.pop("l1_ratio", 0.0)
        penalty = {0.0: "l2", 1.0: "l1"}.get(l1_ratio, "elasticnet")
        if parameters.get("C") == np.inf:
            penalty = None
            del parameters["C"]
        parameters |= {"penalty": penalty}
        if penalty == "elasticnet":
            parameters["l1_ratio"] = l1_ratio
    return sklearn.linear_model.LogisticRegression(**parameters)


def samples(n_classes, dtype=np.float64):
    """80 noisy samples of four features, of which one says nothing, and random weights."""
    rng = np.random.default_rng(n_classes)
    X = rng.standard_normal((80, 4))
    X[rng.random(X.shape) < 0.2] = 0
    scores = X @ rng.standard_normal((4, n_classes)) + np.linspace(0, 1, n_classes)
    y = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)
    # scikit-learn's saga finds the optimum only with weights up to 1
    return X.astype(dtype), y, rng.integers(1, 4, size=80) / 3


def takes(solver, n_classes):
    return solver != "liblinear" or n_classes == 2


def fit_quietly(estimator, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(*args)
