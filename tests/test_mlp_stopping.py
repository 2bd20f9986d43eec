"""A training of MLPClassifier that its score or Ctrl-C ends, and the weights that are left."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from _small_digits import SHORT, X, Y
from estimators import MLPClassifier
from estimators.training.optimizers import SOLVERS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_own_validation_set():
    train, held_out = slice(0, 200), slice(200, 250)
    clf = MLPClassifier(**SHORT, early_stopping=True)
    clf.fit(X[train], Y[train], X_val=X[held_out], y_val=Y[held_out])
    assert len(clf.validation_scores_) == clf.n_iter_
    # the best weights come back, and nothing of X was held out
    assert clf.score(X[held_out], Y[held_out]) == max(clf.validation_scores_)
    assert clf.t_ == 200 * clf.n_iter_
    watched = MLPClassifier(**SHORT).fit(X[train], Y[train], X_val=X[held_out], y_val=Y[held_out])
    plain = MLPClassifier(**SHORT).fit(X[train], Y[train])
    assert watched.loss_curve_ == plain.loss_curve_
    assert watched.validation_scores_[-1] == plain.score(X[held_out], Y[held_out])
    assert plain.validation_scores_ is None


def test_partial_fit_stops_early():
    patience = {"n_iter_no_change": 3, "learning_rate_init": 0.02}
    clf = MLPClassifier(**SHORT | patience, early_stopping=True, tol=0.01)
    weights, scores = [], []
    for _ in range(200):
        clf.partial_fit(X[:200], Y[:200], classes=range(10), X_val=X[200:], y_val=Y[200:])
        if clf.early_stopped_:
            break
        weights.append([w.copy() for w in clf.coefs_])
        scores.append(clf.validation_scores_[-1])
    assert 3 < len(scores) < 199
    best = weights[int(np.argmax(scores))]
    for own, expected in zip(clf.coefs_, best, strict=True):
        np.testing.assert_array_equal(own, expected)
    n_scores = len(clf.validation_scores_)
    clf.partial_fit(X[:200], Y[:200], X_val=X[200:], y_val=Y[200:])
    assert len(clf.validation_scores_) == n_scores
    assert not clf.fit(X, Y).early_stopped_


def test_partial_fit_holds_out_a_part_of_its_own():
    clf = MLPClassifier((12,), random_state=3, early_stopping=True, n_iter_no_change=2, tol=1.0)
    for calls in range(1, 10):
        clf.partial_fit(X, Y, classes=range(10))
        assert clf.t_ == 225 * calls  # of 250: a tenth is not learned from
        assert len(clf.validation_scores_) == calls
        if clf.early_stopped_:
            break
    assert calls == 4  # the first cannot but be the best; three without improvement are too many


def test_lbfgs_does_not_return_to_what_another_solver_saw():
    clf = MLPClassifier(**SHORT, early_stopping=True, warm_start=True).fit(X, Y)
    clf.set_params(solver="lbfgs").fit(X, Y)
    np.testing.assert_allclose(clf.loss_, _log_loss(clf), rtol=1e-3)


def _log_loss(clf):
    p = clf.predict_proba(X)
    penalty = clf.alpha / 2 * sum((w * w).sum() for w in clf.coefs_) / len(X)
    return -np.log(p[np.arange(len(Y)), Y]).mean() + penalty


def test_ctrl_c_in_the_first_epoch_keeps_the_weights_of_the_start(monkeypatch):
    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setitem(SOLVERS, "adam", replace(SOLVERS["adam"], op=interrupted))
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        clf = MLPClassifier(**SHORT).fit(X, Y)
    assert clf.n_iter_ == 0
    assert clf.predict(X).shape == Y.shape


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_ctrl_c_keeps_what_is_trained(solver, monkeypatch):
    def interrupted(self, n_iter, loss):
        if n_iter == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr("estimators.shared.progress.Reporter.epoch", interrupted)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        clf = MLPClassifier(**SHORT, solver=solver).fit(X, Y)
    monkeypatch.undo()
    assert clf.n_iter_ in (3, 4)  # lbfgs tells of an iteration before it is judged
    whole = MLPClassifier(**SHORT | {"max_iter": clf.n_iter_}, solver=solver).fit(X, Y)
    np.testing.assert_array_equal(clf.coefs_[0], whole.coefs_[0])
