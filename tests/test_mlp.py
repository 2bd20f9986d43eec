"""MLPClassifier: scikit-learn's training to the last digits, and what is new."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_digits, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier as ScikitLearns
from sklearn.utils import compute_sample_weight

from cukernels.activations.activations import ACTIVATIONS
from estimators import MLPClassifier
from estimators.neural.optimizers import SOLVERS, STEPPED
from estimators.neural.schedules import PER_STEP, epoch_rates

RELEASE = tuple(map(int, sklearn.__version__.split(".")[:2]))
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
weights_needed = pytest.mark.skipif(RELEASE < (1, 7), reason="came to scikit-learn's MLP in 1.7")

X, Y = (a[:250] for a in load_digits(return_X_y=True))
X = X / 16
SHORT = {"hidden_layer_sizes": (12,), "max_iter": 12, "random_state": 3}


def assert_same(ours, theirs):
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    names = ["loss_"]
    if theirs.solver != "lbfgs":
        names += ["loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"]
    for name in names:
        own, other = getattr(ours, name), getattr(theirs, name)
        if other is None:
            assert own is None
        else:
            np.testing.assert_allclose(own, other, rtol=1e-9, err_msg=name)
    for own, other in zip(
        ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True
    ):
        np.testing.assert_allclose(own, other, rtol=1e-6, atol=1e-9)


def both(**settings):
    settings = SHORT | settings
    return MLPClassifier(dtype="float64", **settings), ScikitLearns(**settings)


@pytest.mark.parametrize("problem", ["multiclass", "binary"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"activation": "tanh", "alpha": 1.0},
        {"activation": "logistic", "hidden_layer_sizes": (9, 7)},
        {"activation": "identity", "hidden_layer_sizes": 5},
        {"hidden_layer_sizes": ()},
        {"hidden_layer_sizes": (), "activation": "logistic"},  # which draws narrower
        {"shuffle": False, "batch_size": 60},
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
        {"early_stopping": True},
        {"early_stopping": True, "n_iter_no_change": 1, "tol": 0.1, "max_iter": 30},
        {"n_iter_no_change": 2, "tol": 0.5, "max_iter": 30},
        {"solver": "sgd", "learning_rate_init": 0.05},
        {"solver": "sgd", "nesterovs_momentum": False, "learning_rate_init": 0.05},
        {"solver": "sgd", "momentum": 0.0, "learning_rate": "invscaling", "power_t": 0.3},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.3, "n_iter_no_change": 1},
        {"solver": "lbfgs", "activation": "tanh"},
    ],
    ids=str,
)
def test_equals_scikit_learn(settings, problem):
    y = Y % 2 if problem == "binary" else Y
    ours, theirs = both(**settings)
    assert_same(ours.fit(X, y), theirs.fit(X, y))
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-6)
    np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), atol=1e-6)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@weights_needed
def test_equals_scikit_learn_with_sample_weight(solver):
    weight = np.random.default_rng(0).random(len(Y))
    ours, theirs = both(solver=solver, activation="tanh", early_stopping=solver == "adam")
    assert_same(ours.fit(X, Y, sample_weight=weight), theirs.fit(X, Y, sample_weight=weight))


def test_equals_scikit_learn_on_sparse_data():
    ours, theirs = both()
    assert_same(ours.fit(sp.csr_matrix(X), Y), theirs.fit(sp.csr_matrix(X), Y))


def test_equals_scikit_learn_on_several_labels():
    data, labels = make_multilabel_classification(100, 8, n_classes=4, random_state=0)
    ours, theirs = both(early_stopping=True)
    assert_same(ours.fit(data, labels), theirs.fit(data, labels))
    np.testing.assert_array_equal(ours.predict(data), theirs.predict(data))


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_equals_scikit_learn_call_after_call(solver):
    ours, theirs = both(solver=solver, learning_rate="invscaling")
    for part in (slice(0, 100), slice(100, 250), slice(50, 90)):
        for clf in (ours, theirs):
            clf.partial_fit(X[part], Y[part], classes=np.arange(10))
        assert_same(ours, theirs)
    for clf in (ours, theirs):
        clf.set_params(warm_start=True, max_iter=3).fit(X, Y)
    assert_same(ours, theirs)


@pytest.mark.parametrize("verbose", [0, False, 1, True, np.True_, 2, 10])
def test_verbose_prints_what_scikit_learn_prints(verbose, capsys):
    for settings in (
        {"n_iter_no_change": 1, "tol": 0.5},
        {"early_stopping": True},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1},
    ):
        ours, theirs = both(verbose=verbose, **settings)
        theirs.fit(X, Y)
        expected = capsys.readouterr().out
        assert bool(expected) == bool(verbose)
        ours.fit(X, Y)
        assert capsys.readouterr() == (expected, "")
        if settings.get("early_stopping"):
            continue  # scikit-learn's partial_fit has none
        for clf in (theirs, ours):
            for _ in range(2):
                clf.partial_fit(X, Y)
            printed = capsys.readouterr().out
            expected = printed if clf is theirs else expected
            assert printed == expected


def test_verbose_bar_shows_a_bar(capsys):
    MLPClassifier(**SHORT, verbose="bar", early_stopping=True).fit(X, Y)
    captured = capsys.readouterr()
    assert "12/12" in captured.err
    assert "loss=" in captured.err
    assert "validation=" in captured.err
    assert captured.out == ""


def test_an_epoch_limit_warns_unless_it_was_planned():
    words = r"Stochastic Optimizer: Maximum iterations \(12\) reached and the optimization hasn't"
    with pytest.warns(ConvergenceWarning, match=words):
        MLPClassifier(**SHORT).fit(X, Y)
    with pytest.warns(ConvergenceWarning, match=r"lbfgs failed to converge after 12 iteration"):
        MLPClassifier(**SHORT, solver="lbfgs").fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MLPClassifier(**SHORT, learning_rate="cosine").fit(X, Y)


IGNORED_BY_SOME = {
    "batch_size": 500, "learning_rate": "adaptive", "learning_rate_init": 0.1, "power_t": 0.9,
    "shuffle": False, "momentum": 0.1, "nesterovs_momentum": False, "early_stopping": True,
    "validation_fraction": 0.3, "beta_1": 0.5, "beta_2": 0.5, "epsilon": 0.1, "max_fun": 3,
    "n_iter_no_change": 50,
}  # fmt: skip


def words_of(warning):
    """The beginning of a warning; what L-BFGS says of its end differs from release to release."""
    text = str(warning.message).split(".")[0][:40]
    return "lbfgs failed to converge" if text.startswith("lbfgs failed to converge") else text


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("name", IGNORED_BY_SOME)
def test_it_warns_where_scikit_learn_does(solver, name):
    told = []
    for clf in both(solver=solver, **{name: IGNORED_BY_SOME[name]}):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            clf.fit(X, Y)
        told.append([(w.category, words_of(w)) for w in caught])
    assert told[0] == told[1]
    clipped = any("batch_size" in message for _, message in told[0])
    assert clipped == (name == "batch_size" and solver != "lbfgs")


# What is new -----------------------------------------------------------------------------------


@pytest.mark.parametrize("class_weight", ["balanced", {0: 5.0, 3: 0.0}], ids=str)
def test_class_weight_is_a_weight_of_the_samples(class_weight):
    weight = np.random.default_rng(0).random(len(Y))
    clf = MLPClassifier(**SHORT, class_weight=class_weight).fit(X, Y, sample_weight=weight)
    by_hand = weight * compute_sample_weight(class_weight, Y)
    expected = MLPClassifier(**SHORT).fit(X, Y, sample_weight=by_hand)
    np.testing.assert_array_equal(clf.coefs_[0], expected.coefs_[0])
    assert clf.loss_ != MLPClassifier(**SHORT).fit(X, Y, sample_weight=weight).loss_


def test_class_weight_of_calls_to_partial_fit():
    clf = MLPClassifier(**SHORT, class_weight="balanced")
    with pytest.raises(ValueError, match="class_weight 'balanced' is not supported for partial_"):
        clf.partial_fit(X, Y, classes=range(10))
    clf.set_params(class_weight={0: 0.0, 9: 2.0})
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


# Divergence ------------------------------------------------------------------------------------

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


def test_lbfgs_does_not_return_to_what_another_solver_saw():
    clf = MLPClassifier(**SHORT, early_stopping=True, warm_start=True).fit(X, Y)
    clf.set_params(solver="lbfgs").fit(X, Y)
    np.testing.assert_allclose(clf.loss_, _log_loss(clf), rtol=1e-3)


def _log_loss(clf):
    p = clf.predict_proba(X)
    penalty = clf.alpha / 2 * sum((w * w).sum() for w in clf.coefs_) / len(X)
    return -np.log(p[np.arange(len(Y)), Y]).mean() + penalty


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
    assert 3 <= clf.n_iter_ <= 4
    start = MLPClassifier(**SHORT | {"max_iter": 1}, learning_rate_init=1e-30).fit(X, Y)
    assert clf.score(X, Y) > start.score(X, Y)
