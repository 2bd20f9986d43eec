"""Searches whose fits train as stacks: scikit-learn's results, whatever is searched over."""

import numpy as np
import pytest
from sklearn import model_selection as sk
from sklearn.naive_bayes import GaussianNB

from _searches import QUIET, assert_same_results, mlp
from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier, Perceptron
from estimators import model_selection as ours
from estimators.shared.samples import Samples

pytestmark = QUIET

# What is fused ----------------------------------------------------------------------------------

TOGETHER = {
    "rates": {"learning_rate_init": [1e-3, 1e-2, 0.1], "alpha": [1e-5, 1e-1]},
    "betas": {"beta_1": [0.5, 0.9], "beta_2": [0.9, 0.999], "epsilon": [1e-8, 1e-3]},
    "seeds": {"random_state": [0, 1, 2]},
    "weights": {"class_weight": [None, "balanced", {3: 5.0}]},
    "tolerance": {"tol": [1e-4, 0.5], "n_iter_no_change": [1, 2], "max_iter": [2, 9]},
    "early stopping": {
        "early_stopping": [False, True],
        "validation_fraction": [0.1, 0.2],
        "n_iter_no_change": [1, 3],
    },
    "shuffle": {"shuffle": [False, True]},
    "dropout": {"dropout": [0.1, 0.5]},
    "sgd": {
        "solver": ["sgd"],
        "momentum": [0.0, 0.9],
        "learning_rate": ["constant", "invscaling", "adaptive"],
        "learning_rate_init": [0.05],
    },
    "lbfgs": {"solver": ["lbfgs"], "alpha": [1e-4, 1.0], "tol": [1e-4, 1.0], "max_fun": [4, 15000]},
    "callbacks": {"callbacks": [None, lambda estimator, info: info.epoch == 2]},
}


@pytest.mark.parametrize("grid", TOGETHER.values(), ids=TOGETHER)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_candidates_and_folds_are_one_stack(digits, stacks, grid, dtype):
    search = ours.GridSearchCV(mlp(dtype=dtype), grid, cv=3, return_train_score=True, refit=False)
    search.fit(*digits)
    n_candidates = len(search.cv_results_["params"])
    if grid.get("solver") == ["lbfgs"]:  # all rows at once: a stack is of one fold
        assert stacks == [n_candidates] * 3
    else:
        assert stacks == [3 * n_candidates]
    expected = sk.GridSearchCV(
        mlp(dtype=dtype), grid, cv=3, return_train_score=True, refit=False
    ).fit(*digits)
    assert_same_results(search.cv_results_, expected.cv_results_)


@pytest.mark.parametrize(
    "grid",
    [
        {"hidden_layer_sizes": [(5,), (6, 5)]},
        {"activation": ["relu", "tanh"]},
        {"batch_size": [50, 100]},
        {"loss": ["log_loss", "squared_error"]},
        {"batch_norm": [False, True]},
        {"solver": ["adam", "sgd"]},
        {"solver": ["sgd"], "nesterovs_momentum": [True, False]},
    ],
    ids=str,
)
def test_other_shapes_are_other_stacks(digits, stacks, grid):
    search = ours.GridSearchCV(mlp(), grid, cv=3, refit=False).fit(*digits)
    assert stacks == [3, 3]
    expected = sk.GridSearchCV(mlp(), grid, cv=3, refit=False).fit(*digits)
    assert_same_results(search.cv_results_, expected.cv_results_)


OTHERS = {
    "lbfgs": (mlp(solver="lbfgs"), {"alpha": [1e-4, 1.0]}),
    "convnet": (
        ConvNetClassifier(
            conv_layer_sizes=(4,), hidden_layer_sizes=(8,), max_iter=2, random_state=0
        ),
        {"learning_rate_init": [1e-3, 1e-2], "augment": [None, {"shift": 1}]},
    ),
    "logistic": (
        LogisticRegression(),
        {"C": [0.01, 1.0, 100.0], "class_weight": [None, "balanced"]},
    ),
    "logistic l1": (
        LogisticRegression(solver="saga", max_iter=20),
        {"C": [0.1, 1.0], "l1_ratio": [0.0, 0.5, 1.0]},
    ),
    "perceptron": (
        Perceptron(max_iter=8),
        {"eta0": [0.1, 1.0], "penalty": [None, "l2", "l1"], "alpha": [1e-3]},
    ),
}


@pytest.mark.parametrize(("estimator", "grid"), OTHERS.values(), ids=OTHERS)
def test_every_estimator_has_the_results_of_its_own_fits(digits, estimator, grid):
    search = ours.GridSearchCV(estimator, grid, cv=3, return_train_score=True).fit(*digits)
    expected = sk.GridSearchCV(estimator, grid, cv=3, return_train_score=True).fit(*digits)
    assert_same_results(search.cv_results_, expected.cv_results_)
    assert search.best_params_ == expected.best_params_
    np.testing.assert_array_equal(search.predict(digits[0]), expected.predict(digits[0]))


def test_each_fit_equals_the_one_alone(digits):
    X, y = digits
    folds = list(sk.KFold(4).split(X))
    fitted = ours.cross_validate(mlp(), X, y, cv=folds, return_estimator=True)["estimator"]
    for estimator, (train, _) in zip(fitted, folds, strict=True):
        alone = mlp().fit(X[train], y[train])
        for one, other in zip(estimator.coefs_, alone.coefs_, strict=True):
            np.testing.assert_array_equal(one, other)
        assert estimator.loss_curve_ == alone.loss_curve_
        assert estimator.n_iter_ == alone.n_iter_
        assert vars(estimator).keys() == vars(alone).keys()


def test_a_stack_is_split_where_memory_ends(digits, stacks):
    grid = {"alpha": [1e-4, 1e-3, 1e-2, 1e-1]}
    whole = ours.GridSearchCV(mlp(), grid, cv=3, refit=False).fit(*digits)
    one = mlp()._prepare(Samples(*digits), rows=np.arange(160)).n_bytes
    limited = ours.GridSearchCV(mlp(), grid, cv=3, refit=False, max_stack_bytes=5 * one)
    limited.fit(*digits)
    assert stacks[0] == 12
    assert sum(stacks[1:]) == 12
    assert set(stacks[1:-1]) == {5}
    assert_same_results(limited.cv_results_, whole.cv_results_)
    stacks.clear()
    ours.GridSearchCV(mlp(), grid, cv=3, refit=False, max_stack_bytes=1).fit(*digits)
    assert stacks == [1] * 12


# What is not fused ------------------------------------------------------------------------------


def test_any_other_estimator_is_fitted_as_by_scikit_learn(digits):
    grid = {"var_smoothing": [1e-9, 1e-2]}
    search = ours.GridSearchCV(GaussianNB(), grid, cv=3, n_jobs=2).fit(*digits)
    expected = sk.GridSearchCV(GaussianNB(), grid, cv=3).fit(*digits)
    assert_same_results(search.cv_results_, expected.cv_results_)


def test_parameters_of_fit_that_stacks_do_not_know(digits, stacks):
    X, y = digits
    given = {"X_val": X[:50], "y_val": y[:50]}
    search = ours.GridSearchCV(mlp(), {"alpha": [1e-4, 1.0]}, cv=2, refit=False)
    search.fit(X, y, **given)
    assert stacks == [1] * 4
    expected = sk.GridSearchCV(mlp(), {"alpha": [1e-4, 1.0]}, cv=2, refit=False)
    assert_same_results(search.cv_results_, expected.fit(X, y, **given).cv_results_)


def test_callbacks_of_scikit_learn_hear_of_fits_one_after_the_other(digits, stacks):
    base = pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 and later")
    estimator = mlp().set_callbacks(base.ScoringMonitor(scoring="accuracy"))
    ours.cross_val_score(estimator, *digits, cv=2)
    assert stacks == [1, 1]


def test_a_subclass_with_its_own_fit_is_another_estimator(digits, stacks):
    class Patient(MLPClassifier):
        def fit(self, X, y):
            return super().fit(X[:100], y[:100])

    estimator = Patient(hidden_layer_sizes=(12,), max_iter=3, random_state=0)
    scores = ours.cross_val_score(estimator, *digits, cv=3)
    assert stacks == [1, 1, 1]
    np.testing.assert_array_equal(scores, sk.cross_val_score(estimator, *digits, cv=3))
