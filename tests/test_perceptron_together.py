"""Fits of `Perceptron` that run as a stack: each is the fit alone, to the bit."""

from __future__ import annotations

import warnings
from itertools import groupby

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import ParameterGrid, StratifiedKFold

from estimators import Perceptron
from estimators._online import OnlineStack
from estimators._online_training import PerceptronTraining
from estimators._samples import Samples

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def digits():
    X, y = load_digits(return_X_y=True)
    return X[:260] / 16, y[:260]


def noisy():
    """Five classes that overlap, of features of very different size."""
    X, y = make_classification(
        230, 13, n_informative=6, n_classes=5, flip_y=0.1, shift=None, scale=None, random_state=3
    )
    return X, np.array(list("abcde"))[y]


def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return (X[:300] - X.mean(axis=0)) / X.std(axis=0), y[:300]


DATA = {"digits": digits(), "noisy": noisy(), "cancer": cancer()}

GRIDS = {
    "rates": {"eta0": [0.013, 0.3, 1.0, 7.0], "fit_intercept": [True]},
    "penalties": [
        {"penalty": ["l2"], "alpha": [0, 1e-5, 1e-2], "eta0": [0.1, 1.0]},
        {"penalty": [None]},
    ],
    "L1": {"penalty": ["l1", "elasticnet"], "alpha": [1e-4, 1e-2], "l1_ratio": [0.2, 0.7]},
    "weights": {"class_weight": [None, "balanced"], "eta0": [0.1, 1.0]},
    "stops": {"tol": [None, 1e-3, 0.1], "n_iter_no_change": [1, 3], "max_iter": [1, 4, 12]},
    "early stopping": {
        "early_stopping": [True],
        "n_iter_no_change": [1, 4],
        "eta0": [0.2, 1.0],
        "class_weight": [None, "balanced"],
    },
    "rates that decay": {
        "learning_rate": ["invscaling"],
        "power_t": [0.2, 0.5],
        "eta0": [0.1, 1.0],
        "penalty": ["l2"],
        "alpha": [1e-4, 1e-2],
    },
    "given order": {"shuffle": [False], "fit_intercept": [False], "eta0": [0.1, 0.7]},
    "multinomial": {
        "multi_class": ["multinomial"],
        "eta0": [0.1, 1.0],
        "penalty": [None, "l2"],
        "alpha": [1e-3],
    },
    "multinomial, early stopping": {
        "multi_class": ["multinomial"],
        "early_stopping": [True],
        "eta0": [0.1, 0.7],
        "random_state": [4],
    },
}


def candidates(grid):
    return [Perceptron(**{"max_iter": 15, **p}) for p in ParameterGrid(grid)]


def prepared(estimators, X, y, rows=None, sample_weight=None):
    samples = Samples(X, y)
    return [e._prepare(samples, rows=rows, sample_weight=sample_weight) for e in estimators]


def assert_equal(one, other):
    """Every fitted attribute, to the bit."""
    assert vars(one).keys() == vars(other).keys()
    for name, value in vars(other).items():
        own = getattr(one, name)
        assert type(own) is type(value), name
        if isinstance(value, np.ndarray):
            assert own.dtype == value.dtype, name
            np.testing.assert_array_equal(own, value, err_msg=name)
        elif name.endswith("_"):
            assert own == value, name


def run_and_compare(estimators, X, y, rows=None, sample_weight=None, n_stacks=1):
    alone = [clone(e) for e in estimators]
    trainings = prepared(estimators, X, y, rows, sample_weight)
    stacks = [list(g) for _, g in groupby(trainings, key=lambda t: t.key)]
    assert len(stacks) == len({t.key for t in trainings}) == n_stacks
    for stack in stacks:
        PerceptronTraining.run(stack)
    own_X, own_y = (X, y) if rows is None else (X[rows], y[rows])
    for training, expected in zip(trainings, alone, strict=True):
        training.finish()
        expected.fit(own_X, own_y, sample_weight=sample_weight)
        assert_equal(training.estimator, expected)
        np.testing.assert_array_equal(training.estimator.predict(X), expected.predict(X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_each_is_the_fit_alone(grid, data, dtype):
    X, y = DATA[data]
    run_and_compare(candidates(grid), X.astype(dtype), y)


@pytest.mark.parametrize("name", ["penalties", "L1", "weights", "early stopping", "multinomial"])
@pytest.mark.parametrize("data", ["digits", "cancer"])
def test_folds_are_rows_of_shared_samples(name, data):
    X, y = DATA[data]
    weight = np.random.default_rng(0).random(len(y)).round(1)
    for rows, _ in StratifiedKFold(3, shuffle=True, random_state=0).split(X, y):
        run_and_compare(candidates(GRIDS[name]), X, y, rows)
        run_and_compare(candidates(GRIDS[name]), X, y, rows, weight[rows])


def test_a_fold_may_lack_a_class_and_be_in_any_order(rng):
    X, y = DATA["noisy"]
    rows = rng.permutation(np.flatnonzero(y != "c"))[:150]
    run_and_compare(candidates(GRIDS["weights"]), X, y, rows)
    two = np.flatnonzero((y == "b") | (y == "d"))
    run_and_compare(candidates(GRIDS["weights"]), X, y, two)


def test_a_row_may_come_twice_with_other_weights(rng):
    X, y = DATA["noisy"]
    rows = rng.integers(len(y), size=160)
    run_and_compare(candidates(GRIDS["rates"]), X, y, rows)
    estimators = candidates(GRIDS["rates"])
    run_and_compare(estimators, X, y, rows, rng.random(160), n_stacks=len(estimators))


@pytest.mark.parametrize("name", ["rates", "penalties", "L1", "multinomial", "early stopping"])
def test_sparse_samples(name):
    X, y = DATA["digits"]
    rows = np.arange(20, 220)
    run_and_compare(candidates(GRIDS[name]), sp.csr_array(X), y, rows)


def test_random_candidates(rng):
    """Whatever may differ in a stack, differs."""
    X, y = DATA["noisy"]
    for seed in range(8):
        rows = rng.choice(len(y), 170, replace=False)
        estimators = [
            Perceptron(
                eta0=10 ** rng.uniform(-2, 1),
                penalty=[None, "l2"][rng.integers(2)],
                alpha=10 ** rng.uniform(-6, -1),
                class_weight=[None, "balanced", {"a": 2.0, "d": 0.3}][rng.integers(3)],
                tol=[None, 1e-3, 0.1][rng.integers(3)],
                max_iter=int(rng.integers(1, 15)),
                n_iter_no_change=int(rng.integers(1, 6)),
                random_state=seed,
            )
            for _ in range(9)
        ]
        run_and_compare(estimators, X, y, rows)


@pytest.mark.parametrize(
    "differing",
    [
        {"random_state": [0, 1]},
        {"shuffle": [False, True]},
        {"early_stopping": [False, True]},
        {"early_stopping": [True], "validation_fraction": [0.1, 0.3]},
        {"fit_intercept": [False, True]},
        {"multi_class": ["ovr", "multinomial"]},
        {"learning_rate": ["constant", "invscaling"]},
        {"penalty": [None, "l1"]},
    ],
    ids=str,
)
def test_other_orders_and_rules_are_other_stacks(differing):
    X, y = DATA["noisy"]
    run_and_compare(candidates(differing), X, y, n_stacks=2)


def test_other_rows_are_other_stacks():
    X, y = DATA["noisy"]
    samples, folds = Samples(X, y), [np.arange(100), np.arange(100, 200)]
    trainings = [Perceptron()._prepare(samples, rows=rows) for rows in folds]
    assert trainings[0].key != trainings[1].key


def test_sample_weights_of_their_own(rng):
    """In the updates, and in the scores that stop a training."""
    X, y = DATA["noisy"]
    samples, rows = Samples(X, y), rng.permutation(len(y))[:200]
    weights = [None, 5 * rng.random(200), rng.integers(2, size=200), rng.random(200) ** 8]
    for settings in ({"early_stopping": True}, {"class_weight": "balanced", "max_iter": 6}):
        trainings = [
            Perceptron(**settings)._prepare(samples, rows=rows, sample_weight=weight)
            for weight in weights
        ]
        PerceptronTraining.run(trainings)
        for training, weight in zip(trainings, weights, strict=True):
            training.finish()
            alone = Perceptron(**settings).fit(X[rows], y[rows], sample_weight=weight)
            assert_equal(training.estimator, alone)


def test_starts_of_their_own(rng):
    X, y = DATA["cancer"]
    samples = Samples(X, y)
    starts = [(rng.standard_normal((1, X.shape[1])), rng.standard_normal(1)) for _ in range(3)]
    trainings = [Perceptron(max_iter=4)._prepare(samples, *start) for start in starts]
    PerceptronTraining.run(trainings)
    for training, start in zip(trainings, starts, strict=True):
        training.finish()
        assert_equal(training.estimator, Perceptron(max_iter=4).fit(X, y, *start))


def test_warm_start_goes_on():
    X, y = DATA["digits"]
    estimators = [Perceptron(warm_start=True, max_iter=2, eta0=eta) for eta in (0.1, 1.0)]
    alone = [clone(e).fit(X, y).fit(X, y) for e in estimators]
    for _ in range(2):
        trainings = prepared(estimators, X, y)
        PerceptronTraining.run(trainings)
        for training in trainings:
            training.finish()
    for one, other in zip(estimators, alone, strict=True):
        assert_equal(one, other)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("multi_class", ["ovr", "multinomial"])
@pytest.mark.parametrize("penalty", [None, "l2", "l1"])
def test_one_that_overflows_takes_no_other_down(multi_class, penalty):
    X, y = DATA["noisy"]
    X = X * 1e10
    etas = [0.1, 1e299, 1.0]
    settings = {"multi_class": multi_class, "penalty": penalty, "alpha": 1e-30, "max_iter": 6}
    estimators = [Perceptron(eta0=eta, **settings) for eta in etas]
    trainings = prepared(estimators, X, y)
    PerceptronTraining.run(trainings)
    for training, eta in zip(trainings, etas, strict=True):
        alone = Perceptron(eta0=eta, **settings)
        if eta == 1e299:
            with pytest.raises(ValueError, match="under-/overflow occurred at epoch #") as own:
                training.finish()
            with pytest.raises(ValueError, match="under-/overflow") as expected:
                alone.fit(X, y)
            assert str(own.value) == str(expected.value)
        else:
            training.finish()
            assert_equal(training.estimator, alone.fit(X, y))


def test_ctrl_c_leaves_each_as_far_as_it_got(monkeypatch):
    X, y = DATA["digits"]
    epoch = OnlineStack.epoch

    def interrupted(self):
        if self.n_iter == 3:
            raise KeyboardInterrupt
        return epoch(self)

    estimators = [Perceptron(eta0=eta, max_iter=m) for eta, m in ((0.1, 9), (1.0, 2), (2.0, 9))]
    trainings = prepared(estimators, X, y)
    with monkeypatch.context() as patch:
        patch.setattr(OnlineStack, "epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            PerceptronTraining.run(trainings)
    for training, epochs in zip(trainings, (3, 2, 3), strict=True):
        training.finish()
        own = training.estimator
        assert own.n_iter_ == epochs
        expected = Perceptron(eta0=own.eta0, max_iter=epochs).fit(X, y)
        np.testing.assert_array_equal(own.coef_, expected.coef_)


def test_watch_is_told_of_each_epoch(capsys):
    X, y = DATA["digits"]
    told = []
    estimators = [Perceptron(max_iter=m, tol=None, verbose=1) for m in (2, 5, 3)]
    trainings = prepared(estimators, X, y)
    PerceptronTraining.run(trainings, lambda n, loss: told.append((n, loss)))
    assert [n for n, _ in told] == [3, 2, 1, 1, 0]
    assert not capsys.readouterr().out
    Perceptron(max_iter=5, tol=None, verbose=1).fit(X, y)
    losses = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    np.testing.assert_allclose([loss for _, loss in told], losses, atol=1e-8)


def test_the_warning_comes_with_the_end_and_points_at_the_caller():
    X, y = DATA["digits"]
    training = prepared([Perceptron(max_iter=1)], X, y)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PerceptronTraining.run([training])
    with pytest.warns(ConvergenceWarning, match="Maximum number of iteration"):
        training.finish()
    with pytest.warns(ConvergenceWarning) as record:
        Perceptron(max_iter=1).fit(X, y)
    assert record[0].filename == __file__


@pytest.mark.parametrize("multi_class", ["ovr", "multinomial"])
@pytest.mark.parametrize("data", ["digits", "cancer"])
def test_scores_are_foreseen(data, multi_class):
    X, y = DATA[data]
    estimators = [Perceptron(eta0=eta, multi_class=multi_class) for eta in (0.1, 1.0)]
    trainings = prepared(estimators, X, y)
    PerceptronTraining.run(trainings)
    PerceptronTraining.foresee(trainings, X)
    for training in trainings:
        training.finish()
        seen = training.estimator.decision_function(X)
        del training.estimator._foreseen
        np.testing.assert_allclose(seen, training.estimator.decision_function(X), rtol=1e-9)


def test_samples_are_validated_once_and_not_copied():
    X, y = DATA["digits"]
    rows = np.arange(0, 260, 2)
    trainings = prepared([Perceptron(eta0=eta) for eta in (0.1, 1.0)], X, y, rows)
    assert trainings[0].X is trainings[1].X
    assert np.shares_memory(trainings[0].X, X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"device": "tpu"}, "device"), ({}, "number of classes has to be greater than one")],
)
def test_what_fit_refuses_preparing_refuses(parameters, message):
    X, y = DATA["noisy"]
    rows = np.flatnonzero(y == "a") if not parameters else None
    with pytest.raises(ValueError, match=message):
        prepared([Perceptron(**parameters)], X, y, rows)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
