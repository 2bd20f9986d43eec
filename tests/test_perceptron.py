"""Perceptron: scikit-learn's results sample for sample."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.linear_model import Perceptron as ScikitLearns

from _perceptrons import DATA, NAMES, assert_near, assert_same
from _requirements import RELEASE
from estimators import Perceptron
from estimators.linear import perceptron_compiled

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
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


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("data", DATA)
def test_equals_scikit_learn(data, settings, shuffle):
    X, y = DATA[data]
    arguments = {"shuffle": shuffle, "max_iter": 40} | settings
    assert_same(Perceptron(**arguments).fit(X, y), ScikitLearns(**arguments).fit(X, y))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("data", ["iris", "cancer"])
@pytest.mark.usefixtures("swept")
def test_our_sweeps_equal_scikit_learn(data, settings, shuffle):
    """What a GPU runs: the same draws, an order for each class, the same end; to rounding."""
    X, y = DATA[data]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    arguments = {"shuffle": shuffle, "max_iter": 12, "random_state": 5} | settings
    if "penalty" in settings and RELEASE < (1, 9):
        arguments["tol"] = None  # older releases leave the penalty out of the loss they stop by
    assert_near(Perceptron(**arguments).fit(X, y), ScikitLearns(**arguments).fit(X, y))


def random_case(seed):
    """Samples, labels, weights and parameters of any kind."""
    rng = np.random.default_rng(seed)
    n, d, k = (int(rng.integers(*span)) for span in ((20, 120), (1, 30), (2, 7)))
    X = rng.standard_normal((n, d))
    X = np.round(3 * X) if rng.random() < 0.3 else X
    X = X.astype([np.float32, np.float64][rng.integers(2)])
    if rng.random() < 0.4:
        X = sp.csr_matrix(np.where(rng.random(X.shape) < 0.4, X, 0))
    y = np.concatenate([np.tile(np.arange(k), 3), rng.integers(k, size=n)])[:n]
    y = np.array(list("abcdefg"))[y] if rng.random() < 0.3 else y
    weight = [None, rng.random(n), rng.integers(3, size=n)][rng.integers(3)]
    settings = {
        "penalty": [None, "l1", "l2", "elasticnet"][rng.integers(4)],
        "alpha": 10.0 ** int(rng.integers(-6, -1)),
        "l1_ratio": rng.random(),
        "fit_intercept": bool(rng.integers(2)),
        "max_iter": int(rng.integers(1, 12)),
        "tol": [None, 1e-3, 0.1][rng.integers(3)],
        "shuffle": bool(rng.random() < 0.8),
        "eta0": [1.0, 0.1, 0.3, 2][rng.integers(4)],
        "random_state": [0, seed, None, np.random.RandomState(seed)][rng.integers(4)],
        "early_stopping": bool(rng.random() < 0.3),
        "validation_fraction": 0.3,
        "n_iter_no_change": int(rng.integers(1, 6)),
        "class_weight": [None, "balanced"][rng.integers(2)],
        "warm_start": bool(rng.integers(2)),
        "n_jobs": [None, 2][rng.integers(2)],
    }
    return X, y, weight, settings


def history(model, X, y, weight):
    """What a model is after each of some calls, or the error that one raises."""
    states = []
    np.random.seed(0)  # noqa: NPY002 - what random_state=None draws from
    try:
        for _ in range(2):
            states.append(clone_of(model.fit(X, y, sample_weight=weight)))
        model.set_params(early_stopping=False, class_weight=None)
        for part in (slice(0, 12), slice(12, 20)):
            states.append(clone_of(model.partial_fit(X[part], y[part])))
        model = clone(model)
        for _ in range(2):
            model.partial_fit(X, y, np.unique(y), weight)
            states.append(clone_of(model))
    except ValueError as error:
        states.append(str(error))
    return states


def clone_of(fitted):
    return SimpleNamespace(**{name: np.copy(getattr(fitted, name)) for name in NAMES})


@pytest.mark.parametrize("seed", range(120))
def test_any_configuration_equals_scikit_learn(seed):
    ours, theirs = (
        history(P(**settings), X, y, weight)
        for P in (Perceptron, ScikitLearns)
        for X, y, weight, settings in [random_case(seed)]
    )
    assert len(ours) == len(theirs)
    for own, expected in zip(ours, theirs, strict=True):
        if isinstance(expected, str):
            assert own == expected
        else:
            assert_same(own, expected)


def test_whole_numbers_and_a_rate_that_rounds():
    """Scores tie at 0, and rounding decides: as it does in scikit-learn's loop."""
    for seed in range(200):
        rng = np.random.default_rng(seed)
        X, y = rng.integers(-3, 4, (60, 4)).astype(float), rng.integers(3, size=60)
        arguments = {"eta0": 0.1, "max_iter": 6, "tol": None, "random_state": seed}
        assert_same(Perceptron(**arguments).fit(X, y), ScikitLearns(**arguments).fit(X, y))


@pytest.mark.parametrize("settings", [{}, {"class_weight": "balanced"}, {"penalty": "l1"}], ids=str)
def test_equals_scikit_learn_on_sparse_data(settings):
    X, y = DATA["iris"]
    X = sp.csr_matrix(np.where(X > 1, X, 0))
    arguments = {"shuffle": False, "max_iter": 20} | settings
    assert_same(Perceptron(**arguments).fit(X, y), ScikitLearns(**arguments).fit(X, y))


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
@pytest.mark.parametrize("data", ["iris", "cancer"])
@pytest.mark.parametrize("engine", ["loop", "sweeps"])
def test_equals_scikit_learn_in_weighted_early_stopping(seed, data, engine, request):
    if engine == "sweeps":
        request.getfixturevalue("swept")
    X, y = DATA[data]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    weight = np.random.default_rng(seed).random(len(y)) ** 6
    settings = {"early_stopping": True, "n_iter_no_change": 2, "random_state": seed}
    ours, theirs = (
        P(**settings).fit(X, y, sample_weight=weight) for P in (Perceptron, ScikitLearns)
    )
    (assert_same if engine == "loop" else assert_near)(ours, theirs)


@pytest.mark.parametrize("engine", ["loop", "sweeps"])
def test_equals_scikit_learn_call_after_call(engine, request):
    if engine == "sweeps":
        request.getfixturevalue("swept")
    check = assert_same if engine == "loop" else assert_near
    X, y = DATA["iris"]
    ours, theirs = (P() for P in (Perceptron, ScikitLearns))
    for start in range(0, 150, 50):
        part = slice(start, start + 70)
        for clf in (ours, theirs):
            clf.partial_fit(X[part], y[part], classes=[0, 1, 2])
        check(ours, theirs)
    ours, theirs = (P(warm_start=True, max_iter=3) for P in (Perceptron, ScikitLearns))
    for _ in range(3):
        check(ours.fit(X, y), theirs.fit(X, y))


def test_float32_stays_float32():
    X, y = DATA["digits"]
    X = X.astype(np.float32)
    ours = Perceptron().fit(X, y)
    assert ours.coef_.dtype == ours.intercept_.dtype == np.float32
    assert ours.decision_function(X).dtype == np.float32
    assert_same(ours, ScikitLearns().fit(X, y))


@pytest.mark.parametrize("early_stopping", [False, True])
def test_classes_on_several_threads_are_classes_on_one(early_stopping, monkeypatch):
    X, y = DATA["digits"]
    models = [Perceptron(early_stopping=early_stopping, n_jobs=n) for n in (None, 1, 3)]
    for model in models:
        model.fit(X, y)
    monkeypatch.setattr(perceptron_compiled, "_WORTH_OF_JOBLIB", 0)
    monkeypatch.setattr(perceptron_compiled, "threads", lambda: 4)
    models.append(clone(models[0]).fit(X, y))
    for model in models[1:]:
        assert_same(model, models[0])
