"""Perceptron: the rules by hand, small values, and what scikit-learn's does not have."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import make_blobs
from sklearn.linear_model import Perceptron as ScikitLearns

from _perceptrons import DATA, assert_near
from estimators import Perceptron
from estimators.linear.perceptron_order import fisher_yates
from estimators.model_selection import GridSearchCV

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


SMALL = [(np.float32, 1e-6), (np.float64, 1e-10)]


@pytest.mark.parametrize(("dtype", "size"), SMALL, ids=str)
@pytest.mark.parametrize("engine", ["loop", "sweeps"])
def test_small_values_count_beside_the_intercept(dtype, size, engine, request):
    if engine == "sweeps":
        request.getfixturevalue("swept")
    X = np.random.default_rng(0).standard_normal((300, 4))
    y = X[:, 0] > 0
    X = (X * size).astype(dtype)
    ours, theirs = (P().fit(X, y) for P in (Perceptron, ScikitLearns))
    assert ours.score(X, y) == theirs.score(X, y) > 0.95
    assert_near(ours, theirs, 1e-5 if dtype is np.float32 else 1e-9)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix], ids=["dense", "sparse"])
@pytest.mark.parametrize("penalty", [None, "l2", "l1"])
@pytest.mark.parametrize(("dtype", "size"), SMALL, ids=str)
def test_small_values_count_where_classes_compete(dtype, size, penalty, kind):
    X = np.random.default_rng(0).standard_normal((300, 4))
    y = (X @ np.random.default_rng(1).standard_normal((4, 3))).argmax(axis=1)
    X = kind((X * size).astype(dtype))
    settings = {"penalty": penalty, "alpha": 1e-3 * size**2, "max_iter": 9, "tol": None}
    grid = {"eta0": [1.0, 2.0], "fit_intercept": [True, False]}
    model = Perceptron(**settings, multi_class="multinomial")
    scores = GridSearchCV(model, grid, cv=[(range(300), range(300))], refit=False).fit(X, y)
    assert scores.cv_results_["mean_test_score"].min() > 0.9
    assert model.fit(X, y).score(X, y) > 0.9


@pytest.mark.parametrize("penalty", [None, "l2", "l1"])
@pytest.mark.parametrize("multi_class", ["ovr", "multinomial"])
def test_an_entry_stored_in_two_parts_counts_as_their_sum(multi_class, penalty):
    X, y = DATA["iris"]
    whole = sp.csr_matrix(X)
    parts = (np.repeat(whole.data / 2, 2), np.repeat(whole.indices, 2), 2 * whole.indptr)
    halves = sp.csr_matrix(parts, shape=X.shape)
    settings = {"penalty": penalty, "shuffle": False, "max_iter": 5, "tol": None}
    settings["multi_class"] = multi_class
    assert_near(Perceptron(**settings).fit(halves, y), Perceptron(**settings).fit(whole, y))
    assert halves.nnz == 2 * whole.nnz, "the caller's matrix was changed"


def test_the_shuffle_is_a_permutation_that_its_seed_decides():
    order = fisher_yates(1000, 7)
    assert sorted(order) == list(range(1000))
    assert (order == fisher_yates(1000, 7)).all()
    assert (order != fisher_yates(1000, 8)).any()


def test_multinomial_rule_by_hand():
    """Raise the right class, lower the guess; the first class wins a tie."""
    X, y = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), np.array([1, 2, 0])
    clf = Perceptron(multi_class="multinomial", shuffle=False, max_iter=1, tol=None).fit(X, y)
    # Sample 0 ties at 0: class 0 is guessed, 1 is right. Sample 1 has scores -1, 1, 0 from the
    # biases: class 1 is guessed, 2 is right. Sample 2 has scores -2, -1, 3: 2 is guessed, 0 right.
    np.testing.assert_array_equal(clf.coef_, [[0, 1], [1, -2], [-1, 1]])
    np.testing.assert_array_equal(clf.intercept_, [0, 0, 0])


def test_multinomial_of_two_classes_is_one_row():
    X, y = make_blobs(200, centers=[[0, 0], [2, 2]], random_state=0)
    clf = Perceptron(multi_class="multinomial").fit(X, y)
    assert clf.coef_.shape == (1, 2)
    assert clf.score(X, y) > 0.8
    again = Perceptron(multi_class="multinomial", warm_start=True, max_iter=1, tol=None)
    once = again.fit(X, y).coef_.copy()
    assert (again.fit(X, y).coef_ != once).any()


def test_a_rate_that_decays():
    X, y = DATA["cancer"]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    w, b, t = np.zeros(X.shape[1]), 0.0, 1
    for _ in range(3):
        for x, sign in zip(X, 2 * y - 1, strict=True):
            if sign * (w @ x + b) <= 0:
                w, b = w + sign * 2.0 / t**0.7 * x, b + sign * 2.0 / t**0.7
            t += 1
    decaying = {"learning_rate": "invscaling", "power_t": 0.7, "eta0": 2.0}
    clf = Perceptron(**decaying, shuffle=False, max_iter=3, tol=None).fit(X, y)
    np.testing.assert_allclose(clf.coef_[0], w, rtol=1e-9)
    np.testing.assert_allclose(clf.intercept_, b, rtol=1e-9)


@pytest.mark.parametrize("multi_class", ["ovr", "multinomial"])
def test_learns_without_mistake_what_lines_can_separate(multi_class):
    X, y = make_blobs(200, centers=[[0, 8], [8, 0], [-8, -8]], random_state=0)
    labels = np.array(["north", "east", "south"])[y]
    clf = Perceptron(multi_class=multi_class).fit(X, labels)
    assert clf.score(X, labels) == 1
    assert list(clf.classes_) == ["east", "north", "south"]
