"""Draws and early stopping of our own sweeps of `Perceptron`, against scikit-learn's class."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.linear_model import Perceptron as Sklearns
from sklearn.linear_model import SGDClassifier

from estimators import Perceptron
from estimators.linear.perceptron_scale import scale_after
from estimators.linear.perceptron_stack import PerceptronStack

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DRAWS = list(itertools.product((2, 3), ("seed", "generator", "global"), (0, 1), (0, 1)))
PENALTIES = {
    "l2": {"penalty": "l2", "alpha": 0.01},
    "elasticnet": {"penalty": "elasticnet", "alpha": 0.02, "l1_ratio": 0.3},
    "l1": {"penalty": "l1", "alpha": 0.01},
    "to nothing": {"penalty": "l2", "alpha": 1.5},
    "scale gets small": {"penalty": "l2", "alpha": 0.1, "tol": None, "max_iter": 7},
}


def data(seed, n_classes, n=130, dtype=np.float64):
    rng = np.random.RandomState(seed)
    return rng.randn(n, 7).astype(dtype), rng.randint(n_classes, size=n)


def assert_fitted_alike(settings, X, y, tolerance=1e-9, **ours):
    """Twice, as the second fit goes on with the draws where the first one stopped."""
    fitted = []
    for model in (Sklearns(), Perceptron(**ours)):
        model.set_params(**settings)
        if settings.get("random_state") == "generator":
            model.set_params(random_state=np.random.RandomState(5))
        np.random.seed(3)
        for _ in range(2):
            model.fit(X, y)
            fitted.append(model.coef_.copy())
            fitted.append(model.n_iter_)
    for theirs, own in zip(fitted[:4], fitted[4:], strict=True):
        np.testing.assert_allclose(own, theirs, rtol=tolerance, atol=tolerance)


def drawn(n_classes, kind, early_stopping, shuffle):
    state = {"seed": 4, "generator": "generator", "global": None}[kind]
    settings = {
        "random_state": state, "early_stopping": bool(early_stopping), "shuffle": bool(shuffle),
        "n_iter_no_change": 2, "max_iter": 10,
    }  # fmt: skip
    return settings, *data(0, n_classes, 50)


@pytest.mark.parametrize("case", DRAWS, ids=str)
def test_the_draws_are_scikit_learns(case, swept):
    assert_fitted_alike(*drawn(*case), device="cpu")


@pytest.mark.parametrize("case", DRAWS, ids=str)
def test_the_draws_are_scikit_learns_on_a_gpu(case, cupy):
    assert_fitted_alike(*drawn(*case), device="cuda")


def stopped(penalty, rate):
    settings = {
        "early_stopping": True, "n_iter_no_change": 1, "max_iter": 20, "learning_rate": rate,
        "validation_fraction": 0.3,
    }  # fmt: skip
    return settings | PENALTIES[penalty]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("rate", ["constant", "invscaling"])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_what_is_scored_is_what_scikit_learn_scores(penalty, rate, dtype, swept):
    """The weights without their scale. Its `Perceptron` has no "invscaling", but its loop has."""
    for seed in range(10):
        X, y = data(seed, 3, dtype=dtype)
        assert_like_compiled(stopped(penalty, rate), X, y, "cpu")


@pytest.mark.parametrize("rate", ["constant", "invscaling"])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_what_is_scored_on_a_gpu(penalty, rate, cupy):
    for seed in range(10):
        assert_like_compiled(stopped(penalty, rate), *data(seed, 3), "cuda")


def assert_like_compiled(settings, X, y, device):
    theirs = SGDClassifier(loss="perceptron", eta0=1.0, random_state=0, **settings).fit(X, y)
    own = Perceptron(device=device, **settings).fit(X, y)
    tolerance = 1e-9 if X.dtype == np.float64 else 1e-3
    assert own.n_iter_ == theirs.n_iter_
    scale = max(1.0, np.abs(theirs.coef_).max())
    np.testing.assert_allclose(own.coef_, theirs.coef_, rtol=0, atol=tolerance * scale)


def test_classes_that_compete_are_scored_with_their_weights(monkeypatch):
    """scikit-learn has not got their rule, so there is nothing to be equal to."""
    scales, scores = [], PerceptronStack._scores
    monkeypatch.setattr(
        PerceptronStack, "_scores", lambda self: scales.append(self._scale) or scores(self)
    )
    settings = stopped("l2", "constant")
    Perceptron(multi_class="multinomial", **settings).fit(*data(0, 3))
    assert scales and all(scale == 1 for scale in scales)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_scale_is_that_of_a_loop(dtype):
    rng = np.random.default_rng(0)
    least = {"float64": 1e-9, "float32": 1e-6}[dtype]
    for low in (0.0, 0.3, 0.9, 0.999):
        kept = rng.uniform(low, 1, 3000).astype(dtype)
        kept[rng.integers(3000, size=2)] = 0
        scale = kept.dtype.type(0.5)
        for share in kept:
            scale *= share
            if scale < least:
                scale = kept.dtype.type(1)
        assert scale_after(0.5, kept) == scale
