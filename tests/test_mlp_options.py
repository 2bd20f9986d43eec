"""MLPClassifier: what scikit-learn's does not have, and what a fitted one can be made to do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils import compute_sample_weight

from _small_digits import SHORT, X, Y
from cukernels.activations.activations import ACTIVATIONS
from estimators import MLPClassifier
from estimators.training.optimizers import SOLVERS, STEPPED
from estimators.training.schedules import PER_STEP, epoch_rates

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("class_weight", ["balanced", {0: 5.0, 3: 0.0}], ids=str)
def test_class_weight_is_a_weight_of_the_samples(class_weight):
    weight = np.random.default_rng(0).random(len(Y))
    clf = MLPClassifier(**SHORT, class_weight=class_weight).fit(X, Y, sample_weight=weight)
    by_hand = weight * compute_sample_weight(class_weight, Y)
    expected = MLPClassifier(**SHORT).fit(X, Y, sample_weight=by_hand)
    np.testing.assert_array_equal(clf.coefs_[0], expected.coefs_[0])
    assert clf.loss_ != MLPClassifier(**SHORT).fit(X, Y, sample_weight=weight).loss_


def test_class_weight_of_calls_to_partial_fit():
    clf = MLPClassifier(**SHORT, class_weight={0: 0.0, 9: 2.0})
    clf.partial_fit(X[Y < 5], Y[Y < 5], classes=range(10))  # none of the nines in this batch
    expected = MLPClassifier(**SHORT)
    weight = np.where(Y[Y < 5] == 0, 0.0, 1.0)
    expected.partial_fit(X[Y < 5], Y[Y < 5], sample_weight=weight, classes=range(10))
    np.testing.assert_array_equal(clf.coefs_[0], expected.coefs_[0])


def test_dropout_is_for_training_only():
    clf = MLPClassifier(**SHORT, dropout=0.4).fit(X, Y)
    again = clone(clf).fit(X, Y)
    assert clf.loss_curve_ == again.loss_curve_
    assert clf.loss_ > MLPClassifier(**SHORT).fit(X, Y).loss_
    assert clf.set_params(random_state=4).fit(X, Y).loss_curve_ != again.loss_curve_
    np.testing.assert_array_equal(again.predict_proba(X), again.predict_proba(X))
    alone = np.concatenate([again.predict_proba(x[None]) for x in X[:5]])
    np.testing.assert_allclose(alone, again.predict_proba(X)[:5], rtol=1e-5)


def test_dropout_does_not_touch_the_validation_score():
    clf = MLPClassifier(**SHORT, dropout=0.4).fit(X[:200], Y[:200], X_val=X[200:], y_val=Y[200:])
    assert clf.validation_scores_[-1] == clf.score(X[200:], Y[200:])


def test_batch_norm_predicts_by_running_statistics():
    clf = MLPClassifier(**SHORT | {"max_iter": 60}, batch_norm=True, activation="tanh")
    assert clf.set_params(batch_size=25).fit(X, Y).score(X, Y) > 0.95
    norm = clf.batch_norms_[0]
    z = X @ clf.coefs_[0] + clf.intercepts_[0]
    normal = (z - norm["mean"]) / np.sqrt(norm["variance"] + 1e-5)
    hidden = np.tanh(norm["gamma"] * normal + norm["beta"])
    scores = hidden @ clf.coefs_[1] + clf.intercepts_[1]
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(clf.predict_proba(X), p, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_learns(name):
    settings = {"hidden_layer_sizes": (24,), "learning_rate_init": 0.02, "tol": 0}
    clf = MLPClassifier(activation=name, max_iter=60, batch_size=50, random_state=0, **settings)
    assert clf.fit(X, Y).score(X, Y) > 0.9


def test_one_activation_a_layer():
    sizes = {"hidden_layer_sizes": (8, 6)}
    mixed = MLPClassifier(**SHORT | sizes, activation=["silu", "tanh"]).fit(X, Y)
    z = X @ mixed.coefs_[0] + mixed.intercepts_[0]
    hidden = np.tanh(z / (1 + np.exp(-z)) @ mixed.coefs_[1] + mixed.intercepts_[1])
    scores = hidden @ mixed.coefs_[2] + mixed.intercepts_[2]
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(mixed.predict_proba(X), p, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("y", [Y, Y % 2], ids=["softmax", "logistic"])
def test_squared_error_is_that_of_the_probabilities(y):
    clf = MLPClassifier(**SHORT, loss="squared_error", alpha=0, batch_size=250, dtype="float64")
    clf.set_params(max_iter=1).fit(X, y)
    first = clf.loss_  # of the weights before the only step: the next fit starts from them
    start = clf.set_params(learning_rate_init=1e-300).fit(X, y)
    p = start.predict_proba(X)
    p = p if p.shape[1] > 2 else p[:, 1:]
    target = np.eye(10)[y] if p.shape[1] > 2 else y[:, None]
    np.testing.assert_allclose(first, 0.5 * ((p - target) ** 2).sum(axis=1).mean(), rtol=1e-9)
    clf.set_params(max_iter=100, learning_rate_init=0.02, batch_size=50, tol=0)
    assert clf.fit(X, y).score(X, y) > 0.9


@pytest.mark.parametrize("solver", STEPPED)
def test_planned_rates(solver):
    half = epoch_rates("cosine", 2.0, first_step=5, n_steps=1, total=11)
    np.testing.assert_allclose(half, 1.0)
    rates = epoch_rates("one_cycle", 1.0, first_step=0, n_steps=101, total=101)
    np.testing.assert_allclose(rates[[0, 30, 100]], [1 / 25, 1, 1 / 250_000], rtol=1e-12)
    assert rates.argmax() == 30
    assert (np.diff(rates[:31]) > 0).all() and (np.diff(rates[30:]) < 0).all()
    curves = {
        name: MLPClassifier(**SHORT, solver=solver, learning_rate=name).fit(X, Y).loss_curve_
        for name in ("constant", "cosine", "one_cycle")
    }
    assert len({tuple(curve) for curve in curves.values()}) == 3
    last = MLPClassifier(**SHORT, solver=solver, learning_rate="cosine", learning_rate_init=0.02)
    last.fit(X, Y)
    assert abs(np.diff(last.loss_curve_)[-1]) < abs(np.diff(last.loss_curve_)[0]) / 5


@pytest.mark.parametrize("name", PER_STEP)
def test_every_step_has_its_planned_rate(name, monkeypatch):
    adam, rates = SOLVERS["adam"].op, []

    def watched(*arrays, learning_rate, **settings):
        rates.append(learning_rate.item())
        adam(*arrays, learning_rate=learning_rate, **settings)

    monkeypatch.setitem(SOLVERS, "adam", replace(SOLVERS["adam"], op=watched))
    settings = {"learning_rate": name, "learning_rate_init": 0.01, "batch_size": 60, "tol": 0}
    clf = MLPClassifier(**SHORT | {"max_iter": 4}, **settings).fit(X, Y)
    assert clf.n_iter_ == 4
    planned = epoch_rates(name, 0.01, first_step=0, n_steps=20, total=20)  # 5 steps an epoch
    np.testing.assert_array_equal(rates, planned)


def test_dtype_decides_the_arithmetic():
    for given, dtype, expected in [
        (np.float64, "float32", np.float32),
        (np.float32, "float32", np.float32),
        (np.float32, "float64", np.float64),
        (np.float32, "auto", np.float32),
        (np.float64, "auto", np.float64),
        (int, "auto", np.float64),
    ]:
        clf = MLPClassifier(**SHORT, dtype=dtype).fit((16 * X).astype(given), Y)
        assert clf.coefs_[0].dtype == clf.intercepts_[0].dtype == expected
        asked = np.float32 if given == np.float32 else np.float64
        p = clf.predict_proba((16 * X).astype(given))
        assert p.dtype == np.result_type(asked, expected)


def test_weights_set_by_hand_are_those_that_predict():
    clf = MLPClassifier(**SHORT).fit(X, Y)
    clf.coefs_ = [np.zeros_like(w) for w in clf.coefs_]
    clf.intercepts_[-1][:] = np.eye(10)[7]
    assert set(clf.predict(X)) == {7}


def test_layers_cannot_change_under_a_warm_start():
    clf = MLPClassifier(**SHORT, warm_start=True).fit(X, Y)
    before = clf.predict(X)
    for sizes in [(13,), (12, 4), ()]:
        with pytest.raises(ValueError, match="fit anew, with warm_start=False"):
            clf.set_params(hidden_layer_sizes=sizes).fit(X, Y)
    np.testing.assert_array_equal(clf.predict(X), before)  # of the network as it was fitted
