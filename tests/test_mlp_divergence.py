"""A training of MLPClassifier that diverges: an error, or the best epoch before."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from _small_digits import SHORT, X, Y
from estimators import MLPClassifier
from estimators.training.optimizers import SOLVERS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


DIVERGED = r"non-finite parameter weights.*The weights are those of the best epoch before"
ILL_FATED = 0.004  # the learning rate of models that diverge


@pytest.fixture
def divergence(monkeypatch):
    """From the 20th step on, which is in the fifth epoch, models of that learning rate explode."""
    adam = SOLVERS["adam"].op

    def exploding(params, grads, *, learning_rate, step, **others):
        adam(params, grads, learning_rate=learning_rate, step=step, **others)
        params[(learning_rate == ILL_FATED) & (step >= 20)] *= 1e30

    monkeypatch.setitem(SOLVERS, "adam", replace(SOLVERS["adam"], op=exploding))


DIVERGING = {"batch_size": 50, "learning_rate_init": ILL_FATED, "early_stopping": True}


def assert_is_best_epoch(clf, X_val, y_val):
    scores = np.array(clf.validation_scores_)
    best = int(np.nanargmax(scores))
    assert best < clf.n_iter_ - 1 < 11  # stopped by itself
    assert clf.best_validation_score_ == scores[best] == clf.score(X_val, y_val)
    assert all(np.isfinite(w).all() for w in clf.coefs_ + clf.intercepts_)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("own_validation", [False, True])
def test_early_stopping_keeps_the_best_epoch_before_a_divergence(own_validation, norm, divergence):
    heard = []
    clf = MLPClassifier(**SHORT, **DIVERGING, batch_norm=norm)
    clf.set_params(callbacks=lambda model, info: heard.append(model.coefs_))
    validation = {"X_val": X[200:], "y_val": Y[200:]} if own_validation else {}
    with pytest.warns(ConvergenceWarning, match=DIVERGED) as caught:
        clf.fit(X[:200], Y[:200], **validation)
    assert len(caught) == 1
    best = heard[int(np.nanargmax(clf.validation_scores_))]
    for own, expected in zip(clf.coefs_, best, strict=True):
        np.testing.assert_array_equal(own, expected)
    if own_validation:
        assert_is_best_epoch(clf, X[200:], Y[200:])
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        clf.set_params(early_stopping=False).fit(X[:200], Y[:200], **validation)


def test_a_divergence_in_the_last_epoch_is_told_of_once(divergence):
    clf = MLPClassifier(**SHORT | {"max_iter": 5}, **DIVERGING)
    with pytest.warns(ConvergenceWarning, match=DIVERGED) as caught:
        clf.fit(X[:220], Y[:220])
    assert len(caught) == 1
    assert clf.n_iter_ == 5 and np.isfinite(clf.predict_proba(X)).all()


def test_no_epoch_is_the_best_if_the_first_diverges():
    clf = MLPClassifier(**SHORT, early_stopping=True, learning_rate_init=1e30)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        clf.fit(X, Y)


@pytest.mark.parametrize("own_validation", [False, True])
def test_a_model_of_a_stack_that_diverges_is_as_alone(own_validation, divergence):
    from estimators.model_selection import GridSearchCV

    settings = {"estimator": MLPClassifier(**SHORT | DIVERGING), "cv": 3, "refit": False}
    settings["param_grid"] = {"learning_rate_init": [1e-3, ILL_FATED, 0.02]}
    validation = {"X_val": X[:30], "y_val": Y[:30]} if own_validation else {}
    scores = []
    for fused in (True, False):
        with pytest.warns(ConvergenceWarning, match=DIVERGED) as caught:
            search = GridSearchCV(**settings, fused=fused).fit(X, Y, **validation)
        assert sum("non-finite" in str(w.message) for w in caught) == 3
        scores.append([search.cv_results_[f"split{i}_test_score"] for i in range(3)])
    np.testing.assert_array_equal(*scores)
    assert np.isfinite(scores).all()


def test_partial_fit_ends_with_the_best_weights_where_it_diverges():
    clf = MLPClassifier(**SHORT, early_stopping=True)
    part = {"X_val": X[200:], "y_val": Y[200:]}
    weights = []
    for _ in range(4):
        clf.partial_fit(X[:200], Y[:200], classes=range(10), **part)
        weights.append(clf.coefs_)
    best = weights[int(np.argmax(clf.validation_scores_))]
    for rate in (1e30, 1e-3):
        clf.set_params(learning_rate_init=rate)
        clf._state.learning_rate = rate
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            clf.partial_fit(X[:200], Y[:200], **part)
        assert clf.early_stopped_
        assert len(caught) == (rate == 1e30)
        for own, expected in zip(clf.coefs_, best, strict=True):
            np.testing.assert_array_equal(own, expected)


def test_training_goes_on_after_a_divergence(divergence):
    clf = MLPClassifier(**SHORT | DIVERGING).fit(X, Y)
    before = clf.score(X, Y)
    clf.set_params(early_stopping=False, learning_rate_init=1e-3)
    for _ in range(30):
        clf.partial_fit(X, Y)
    assert np.isfinite(clf.loss_) and clf.score(X, Y) > before
