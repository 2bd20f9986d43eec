"""MLPClassifier: scikit-learn's training to the last digits."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier as ScikitLearns

from _requirements import RELEASE
from _small_digits import SHORT, X, Y
from estimators import MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
weights_needed = pytest.mark.skipif(RELEASE < (1, 7), reason="came to scikit-learn's MLP in 1.7")


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
