"""Perceptron: scikit-learn's results sample for sample, and what is new."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Perceptron as ScikitLearns

from estimators import Perceptron
from estimators._online import OnlineStack
from estimators._online_order import fisher_yates

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RELEASE = tuple(map(int, sklearn.__version__.split(".")[:2]))
DATA = {
    "iris": load_iris(return_X_y=True),
    "digits": tuple(a[:600] for a in load_digits(return_X_y=True)),
    "cancer": load_breast_cancer(return_X_y=True),
}
SETTINGS = [
    {},
    {"tol": None, "max_iter": 7},
    {"fit_intercept": False},
    {"eta0": 0.25},
    {"class_weight": "balanced"},
    {"class_weight": {0: 3.0, 1: 0.5}},
    {"penalty": "l2"},
    {"penalty": "l1", "max_iter": 5},
    {"penalty": "elasticnet", "alpha": 1e-3, "max_iter": 5},
    {"early_stopping": True, "n_iter_no_change": 3},
]


def assert_same(ours, theirs, rtol=1e-9):
    scale = np.abs(theirs.coef_).max()
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=rtol, atol=rtol * scale)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=rtol, atol=rtol * scale)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.t_ == theirs.t_


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("data", DATA)
def test_equals_scikit_learn_in_a_given_order(data, settings):
    X, y = DATA[data]
    arguments = {"shuffle": False, "max_iter": 40} | settings
    if "penalty" in settings and RELEASE < (1, 9):
        arguments["tol"] = None  # older releases leave the penalty out of the loss they stop by
    assert_same(Perceptron(**arguments).fit(X, y), ScikitLearns(**arguments).fit(X, y))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("seed", [0, 5])
def test_equals_scikit_learn_on_two_classes_with_its_shuffles(settings, seed):
    X, y = DATA["cancer"]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    arguments = settings | {"random_state": seed}
    if "penalty" in settings and RELEASE < (1, 9):
        arguments |= {"tol": None, "max_iter": 8}
    assert_same(Perceptron(**arguments).fit(X, y), ScikitLearns(**arguments).fit(X, y))


@pytest.mark.parametrize("settings", [{}, {"class_weight": "balanced"}, {"penalty": "l1"}], ids=str)
def test_equals_scikit_learn_on_sparse_data(settings):
    X, y = DATA["iris"]
    X = sp.csr_matrix(np.where(X > 1, X, 0))
    arguments = {"shuffle": False, "max_iter": 20} | settings
    assert_same(Perceptron(**arguments).fit(X, y), ScikitLearns(**arguments).fit(X, y))


@pytest.mark.parametrize("penalty", [None, "l2", "l1"])
def test_an_entry_stored_in_two_parts_counts_as_their_sum(penalty):
    X, y = DATA["iris"]
    whole = sp.csr_matrix(X)
    parts = (np.repeat(whole.data / 2, 2), np.repeat(whole.indices, 2), 2 * whole.indptr)
    halves = sp.csr_matrix(parts, shape=X.shape)
    settings = {"penalty": penalty, "shuffle": False, "max_iter": 5, "tol": None}
    assert_same(Perceptron(**settings).fit(halves, y), Perceptron(**settings).fit(whole, y))
    assert halves.nnz == 2 * whole.nnz, "the caller's matrix was changed"


def test_equals_scikit_learn_with_sample_weight_and_start():
    X, y = DATA["iris"]
    rng = np.random.default_rng(0)
    start = {
        "coef_init": rng.standard_normal((3, 4)),
        "intercept_init": rng.standard_normal(3),
        "sample_weight": rng.random(len(y)).round(1),
    }
    before = {name: a.copy() for name, a in start.items()}
    ours = Perceptron(shuffle=False).fit(X, y, **start)
    assert all((start[name] == before[name]).all() for name in start)
    assert_same(ours, ScikitLearns(shuffle=False).fit(X, y, **start))


@pytest.mark.parametrize("seed", range(5))
def test_equals_scikit_learn_in_weighted_early_stopping(seed):
    X, y = DATA["cancer"]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    weight = np.random.default_rng(seed).random(len(y)) ** 6
    settings = {"early_stopping": True, "n_iter_no_change": 2, "random_state": seed}
    ours, theirs = (
        P(**settings).fit(X, y, sample_weight=weight) for P in (Perceptron, ScikitLearns)
    )
    assert_same(ours, theirs)


def test_equals_scikit_learn_call_after_call():
    X, y = DATA["iris"]
    ours, theirs = (P(shuffle=False) for P in (Perceptron, ScikitLearns))
    for start in range(0, 150, 50):
        part = slice(start, start + 70)
        for clf in (ours, theirs):
            clf.partial_fit(X[part], y[part], classes=[0, 1, 2])
        assert_same(ours, theirs)
    ours, theirs = (
        P(shuffle=False, warm_start=True, max_iter=3) for P in (Perceptron, ScikitLearns)
    )
    for _ in range(3):
        assert_same(ours.fit(X, y), theirs.fit(X, y))


def test_float32_stays_float32_and_near():
    X, y = DATA["digits"]
    ours = Perceptron(shuffle=False).fit(X.astype(np.float32), y)
    assert ours.coef_.dtype == ours.intercept_.dtype == np.float32
    assert ours.decision_function(X.astype(np.float32)).dtype == np.float32
    # pixels are whole numbers, so that float32 rounds nothing
    assert_same(ours, ScikitLearns(shuffle=False).fit(X, y))


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


def test_an_epoch_limit_warns_in_scikit_learns_words():
    X, y = DATA["digits"]
    with pytest.warns(ConvergenceWarning, match="Maximum number of iteration reached before conv"):
        Perceptron(max_iter=1).fit(X, y)


@pytest.mark.parametrize(
    ("parameters", "call", "message"),
    [
        ({"early_stopping": True}, "partial_fit", "early_stopping should be False with partial"),
        ({"class_weight": "balanced"}, "partial_fit", "class_weight 'balanced' is not supported"),
        ({}, "one class", "number of classes has to be greater than one; got 1 class"),
        ({}, "coef_init", "coef_init does not match dataset"),
        ({}, "large", "Floating-point under-/overflow occurred at epoch #1"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_refuses(parameters, call, message):
    X, y = DATA["iris"]
    clf = Perceptron(**parameters)
    calls = {
        "partial_fit": lambda: clf.partial_fit(X, y, classes=[0, 1, 2]),
        "one class": lambda: clf.fit(X, np.zeros(150)),
        "coef_init": lambda: clf.fit(X, y, coef_init=np.zeros((2, 4))),
        "large": lambda: clf.fit(np.full_like(X, 1e308) * np.sign(X - X.mean(axis=0)), y),
    }
    with pytest.raises(ValueError, match=message):
        calls[call]()
    assert clf.set_params(early_stopping=False, class_weight=None).fit(X, y).score(X, y) > 0.6


def test_ctrl_c_keeps_what_is_trained(monkeypatch):
    X, y = DATA["iris"]
    epoch = OnlineStack.epoch

    def interrupted(self):
        if self.n_iter == 3:
            raise KeyboardInterrupt
        return epoch(self)

    monkeypatch.setattr(OnlineStack, "epoch", interrupted)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        clf = Perceptron(shuffle=False).fit(X, y)
    monkeypatch.undo()
    assert_same(clf, Perceptron(shuffle=False, max_iter=3, tol=None).fit(X, y))
