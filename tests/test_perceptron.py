"""Perceptron: scikit-learn's results sample for sample, and what is new."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Perceptron as ScikitLearns

from estimators import Perceptron
from estimators.linear import perceptron_compiled
from estimators.linear.perceptron_order import fisher_yates
from estimators.linear.perceptron_stack import OnlineStack
from estimators.linear.perceptron_swept import SweptFit
from estimators.model_selection import GridSearchCV

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


NAMES = ("coef_", "intercept_", "n_iter_", "t_")


def assert_same(ours, theirs):
    """Every attribute that training sets, to the bit."""
    for name in NAMES:
        own, expected = getattr(ours, name), getattr(theirs, name)
        assert type(own) is type(expected), name
        np.testing.assert_array_equal(own, expected, err_msg=name)
        assert getattr(own, "dtype", None) == getattr(expected, "dtype", None), name


def assert_near(ours, theirs, rtol=1e-9):
    scale = np.abs(theirs.coef_).max()
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=rtol, atol=rtol * scale)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=rtol, atol=rtol * scale)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.t_ == theirs.t_


@pytest.fixture
def swept(monkeypatch):
    """Our own sweeps where scikit-learn's loop would run: as on a GPU, but by the reference."""
    monkeypatch.setattr(Perceptron, "_training", SweptFit)


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


@pytest.mark.parametrize("settings", [{}, {"class_weight": "balanced"}, {"penalty": "l1"}], ids=str)
def test_equals_scikit_learn_on_sparse_data(settings):
    X, y = DATA["iris"]
    X = sp.csr_matrix(np.where(X > 1, X, 0))
    arguments = {"shuffle": False, "max_iter": 20} | settings
    assert_same(Perceptron(**arguments).fit(X, y), ScikitLearns(**arguments).fit(X, y))


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


def without_times(text):
    return [line for line in text.splitlines() if "seconds" not in line and "[Parallel" not in line]


@pytest.mark.parametrize("verbose", [1, 2, 10, True])
@pytest.mark.parametrize("data", ["iris", "cancer"])
def test_prints_scikit_learns_lines(data, verbose, capsys):
    X, y = DATA[data]
    printed = []
    for P in (Perceptron, ScikitLearns):
        P(max_iter=3, verbose=verbose).fit(X, y)
        printed.append(without_times(capsys.readouterr().out))
    assert printed[0] == printed[1]
    assert sum(line.startswith("-- Epoch") for line in printed[0]) == 3 * (1 + 2 * (data == "iris"))


@pytest.mark.parametrize("multi_class", ["ovr", "multinomial"])
@pytest.mark.parametrize("labels", [["ant", "bee"], ["ant", "bee", "cow"]], ids=["two", "three"])
def test_a_class_of_one_member_is_named(labels, multi_class):
    y = np.array(labels * 8 + ["dog"])
    if len(labels) == 2:
        y[y == "ant"] = "bee"
    X = np.random.default_rng(0).standard_normal((len(y), 2))
    with pytest.raises(ValueError, match="[Tt]he least populated class") as error:
        Perceptron(early_stopping=True, multi_class=multi_class).fit(X, y)
    if RELEASE >= (1, 8):
        assert "dog" in str(error.value)


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
        ({"eta0": 100.0}, "large", "Floating-point under-/overflow occurred at epoch #1"),
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
        "large": lambda: clf.fit(np.full_like(X, 1e307) * np.sign(X - X.mean(axis=0)), y),
    }
    with pytest.raises(ValueError, match=message):
        calls[call]()
    clf.set_params(early_stopping=False, class_weight=None, eta0=1.0)
    assert_same(clf.fit(X, y), ScikitLearns().fit(X, y))


def test_ctrl_c_keeps_what_is_trained(monkeypatch):
    X, y = DATA["iris"]
    epoch = OnlineStack.epoch

    def interrupted(self):
        if self.n_iter == 3:
            raise KeyboardInterrupt
        return epoch(self)

    model = Perceptron(multi_class="multinomial")
    monkeypatch.setattr(OnlineStack, "epoch", interrupted)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        clf = clone(model).fit(X, y)
    monkeypatch.undo()
    assert_near(clf, model.set_params(max_iter=3, tol=None).fit(X, y))


def test_ctrl_c_in_scikit_learns_loop_is_raised(monkeypatch):
    """As there: nothing is learned before the loop has returned."""
    X, y = DATA["iris"]
    monkeypatch.setattr(perceptron_compiled.SGDClassifier, "fit", lambda *a: press_ctrl_c())
    clf = Perceptron()
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, y)
    monkeypatch.undo()
    assert_same(clf.fit(X, y), ScikitLearns().fit(X, y))


def press_ctrl_c():
    raise KeyboardInterrupt
