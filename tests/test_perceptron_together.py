"""Fits of `Perceptron` that run together: each is the fit alone, to the bit.

One class against the rest runs in scikit-learn's loop, a fit a thread; classes that compete run as
a stack of models in our own sweeps.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import ParameterGrid, StratifiedKFold

from estimators import Perceptron
from estimators.linear.perceptron_compiled import CompiledFit
from estimators.linear.perceptron_stack import PerceptronStack
from estimators.linear.perceptron_swept import SweptFit
from estimators.shared.known_outputs import KnownOutputs
from estimators.shared.samples import Samples

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
}
each_rule = pytest.mark.parametrize("multi_class", ["ovr", "multinomial"])


def candidates(grid, multi_class="ovr"):
    shared = {"max_iter": 15, "multi_class": multi_class}
    return [Perceptron(**shared | p) for p in ParameterGrid(grid)]


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


def run_together(trainings):
    """Run trainings in as many stacks as their keys make; return how many these are."""
    stacks = {}
    for training in trainings:
        stacks.setdefault((type(training), training.key), []).append(training)
    for (kind, _), stack in stacks.items():
        kind.run(stack)
    return len(stacks)


def run_and_compare(estimators, X, y, rows=None, sample_weight=None, n_stacks=1):
    alone = [clone(e) for e in estimators]
    trainings = prepared(estimators, X, y, rows, sample_weight)
    assert run_together(trainings) == n_stacks
    own_X, own_y = (X, y) if rows is None else (X[rows], y[rows])
    for training, expected in zip(trainings, alone, strict=True):
        training.finish()
        expected.fit(own_X, own_y, sample_weight=sample_weight)
        assert_equal(training.estimator, expected)
        np.testing.assert_array_equal(training.estimator.predict(X), expected.predict(X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@each_rule
def test_each_is_the_fit_alone(multi_class, grid, data, dtype):
    X, y = DATA[data]
    run_and_compare(candidates(grid, multi_class), X.astype(dtype), y)


@pytest.mark.parametrize("name", ["penalties", "L1", "weights", "early stopping"])
@pytest.mark.parametrize("data", ["digits", "cancer"])
@each_rule
def test_folds_are_rows_of_shared_samples(multi_class, name, data):
    X, y = DATA[data]
    weight = np.random.default_rng(0).random(len(y)).round(1)
    for rows, _ in StratifiedKFold(3, shuffle=True, random_state=0).split(X, y):
        run_and_compare(candidates(GRIDS[name], multi_class), X, y, rows)
        run_and_compare(candidates(GRIDS[name], multi_class), X, y, rows, weight[rows])


@each_rule
def test_a_fold_may_lack_a_class_and_be_in_any_order(multi_class, rng):
    X, y = DATA["noisy"]
    rows = rng.permutation(np.flatnonzero(y != "c"))[:150]
    run_and_compare(candidates(GRIDS["weights"], multi_class), X, y, rows)
    two = np.flatnonzero((y == "b") | (y == "d"))
    run_and_compare(candidates(GRIDS["weights"], multi_class), X, y, two)


@each_rule
def test_a_row_may_come_twice_with_other_weights(multi_class, rng):
    X, y = DATA["noisy"]
    rows = rng.integers(len(y), size=160)
    estimators = candidates(GRIDS["rates"], multi_class)
    run_and_compare(estimators, X, y, rows)
    n_stacks = 1 if multi_class == "ovr" else len(estimators)
    run_and_compare(estimators, X, y, rows, rng.random(160), n_stacks=n_stacks)


@pytest.mark.parametrize("name", ["rates", "penalties", "L1", "early stopping"])
@each_rule
def test_sparse_samples(multi_class, name):
    X, y = DATA["digits"]
    rows = np.arange(20, 220)
    run_and_compare(candidates(GRIDS[name], multi_class), sp.csr_array(X), y, rows)


@each_rule
def test_random_candidates(multi_class, rng):
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
                multi_class=multi_class,
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
        {"learning_rate": ["constant", "invscaling"]},
        {"penalty": [None, "l1"]},
    ],
    ids=str,
)
def test_other_orders_and_rules_are_other_stacks(differing):
    """Of sweeps; scikit-learn's loop has one fit at a time."""
    X, y = DATA["noisy"]
    run_and_compare(candidates(differing, "multinomial"), X, y, n_stacks=2)
    run_and_compare(candidates(differing), X, y)


def test_each_rule_has_an_engine():
    X, y = DATA["noisy"]
    estimators = [Perceptron(multi_class=rule) for rule in ("ovr", "multinomial")]
    assert [type(t) for t in prepared(estimators, X, y)] == [CompiledFit, SweptFit]
    run_and_compare(estimators, X, y, n_stacks=2)


@each_rule
def test_other_rows_are_other_stacks(multi_class):
    X, y = DATA["noisy"]
    samples, folds = Samples(X, y), [np.arange(100), np.arange(100, 200)]
    model = Perceptron(multi_class=multi_class)
    trainings = [model._prepare(samples, rows=rows) for rows in folds]
    assert trainings[0].key != trainings[1].key


@each_rule
def test_sample_weights_of_their_own(multi_class, rng):
    """In the updates, and in the scores that stop a training."""
    X, y = DATA["noisy"]
    samples, rows = Samples(X, y), rng.permutation(len(y))[:200]
    weights = [None, 5 * rng.random(200), rng.integers(2, size=200), rng.random(200) ** 8]
    for settings in ({"early_stopping": True}, {"class_weight": "balanced", "max_iter": 6}):
        settings = settings | {"multi_class": multi_class}
        trainings = [
            Perceptron(**settings)._prepare(samples, rows=rows, sample_weight=weight)
            for weight in weights
        ]
        assert run_together(trainings) == 1
        for training, weight in zip(trainings, weights, strict=True):
            training.finish()
            alone = Perceptron(**settings).fit(X[rows], y[rows], sample_weight=weight)
            assert_equal(training.estimator, alone)


@each_rule
def test_starts_of_their_own(multi_class, rng):
    X, y = DATA["cancer"]
    samples, model = Samples(X, y), Perceptron(max_iter=4, multi_class=multi_class)
    starts = [(rng.standard_normal((1, X.shape[1])), rng.standard_normal(1)) for _ in range(3)]
    trainings = [clone(model)._prepare(samples, *start) for start in starts]
    assert run_together(trainings) == 1
    for training, start in zip(trainings, starts, strict=True):
        training.finish()
        assert_equal(training.estimator, clone(model).fit(X, y, *start))


@each_rule
def test_warm_start_goes_on(multi_class):
    X, y = DATA["digits"]
    settings = {"warm_start": True, "max_iter": 2, "multi_class": multi_class}
    estimators = [Perceptron(eta0=eta, **settings) for eta in (0.1, 1.0)]
    alone = [clone(e).fit(X, y).fit(X, y) for e in estimators]
    for _ in range(2):
        trainings = prepared(estimators, X, y)
        assert run_together(trainings) == 1
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
    assert run_together(trainings) == 1
    for training, eta in zip(trainings, etas, strict=True):
        alone = Perceptron(eta0=eta, **settings)
        # in scikit-learn's loop an L1 penalty makes zeros of weights that are infinite
        if eta == 1e299 and (multi_class, penalty) != ("ovr", "l1"):
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
    epoch = PerceptronStack.epoch

    def interrupted(self):
        if self.n_iter == 3:
            raise KeyboardInterrupt
        return epoch(self)

    estimators = [
        Perceptron(eta0=eta, max_iter=m, multi_class="multinomial")
        for eta, m in ((0.1, 9), (1.0, 2), (2.0, 9))
    ]
    trainings = prepared(estimators, X, y)
    with monkeypatch.context() as patch:
        patch.setattr(PerceptronStack, "epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            SweptFit.run(trainings)
    for training, epochs in zip(trainings, (3, 2, 3), strict=True):
        assert training.has_begun
        training.finish()
        own = training.estimator
        assert own.n_iter_ == epochs
        expected = clone(own).set_params(max_iter=epochs).fit(X, y)
        np.testing.assert_array_equal(own.coef_, expected.coef_)


def test_watch_is_told_of_each_epoch(capsys):
    X, y = DATA["digits"]
    told = []
    settings = {"tol": None, "verbose": 1, "multi_class": "multinomial"}
    estimators = [Perceptron(max_iter=m, **settings) for m in (2, 5, 3)]
    trainings = prepared(estimators, X, y)
    SweptFit.run(trainings, lambda n, loss: told.append((n, loss)))
    assert [n for n, _ in told] == [3, 2, 1, 1, 0]
    assert not capsys.readouterr().out
    Perceptron(max_iter=5, **settings).fit(X, y)
    losses = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    np.testing.assert_allclose([loss for _, loss in told], losses, atol=1e-8)


@each_rule
def test_the_warning_comes_with_the_end_and_points_at_the_caller(multi_class):
    X, y = DATA["digits"]
    model = Perceptron(max_iter=1, multi_class=multi_class)
    training = prepared([model], X, y)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        training.run([training])
    with pytest.warns(ConvergenceWarning, match="Maximum number of iteration"):
        training.finish()
    with pytest.warns(ConvergenceWarning) as record:
        model.fit(X, y)
    assert len(record) == 1
    assert record[0].filename == __file__


@pytest.mark.parametrize("multi_class", ["ovr", "multinomial"])
@pytest.mark.parametrize("data", ["digits", "cancer"])
def test_scores_are_computed_together(data, multi_class):
    X, y = DATA[data]
    estimators = [Perceptron(eta0=eta, multi_class=multi_class) for eta in (0.1, 1.0)]
    trainings = prepared(estimators, X, y)
    assert run_together(trainings) == 1
    outputs = trainings[0].outputs_of(trainings, X)
    for training, together in zip(trainings, outputs, strict=True):
        training.finish()
        known = KnownOutputs()
        known.add(training.estimator, X, together)
        seen = known.during(training.estimator.decision_function, X)
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
