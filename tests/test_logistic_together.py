"""Fits of LogisticRegression that run together, against each of them alone."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning

from estimators import LogisticRegression
from estimators.linear import row_blocks
from estimators.shared.samples import Samples

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CANDIDATES = [
    {"C": 1e-3},
    {"C": 1.0, "tol": 1e-8},
    {"C": 1e3, "max_iter": 7},
    {"C": 10.0, "max_iter": 2000, "tol": 1e-9},
    {"C": np.inf, "max_iter": 30},
]
WEIGHTS = [
    {"class_weight": "balanced"},
    {"class_weight": {0: 3.0}, "C": 0.1},
    {"class_weight": {1: 0.5}, "tol": 1e-7},
]


def samples(n_classes=3, dtype=np.float64, sparse=False, n_samples=150):
    X, y = make_classification(
        n_samples, 12, n_informative=6, n_classes=n_classes, random_state=0, class_sep=0.6
    )
    X = X.astype(dtype)
    return (sp.csr_matrix(np.where(abs(X) < 0.5, 0, X)) if sparse else X), y


def together(estimators, X, y, folds, weight=None):
    """Fit each estimator on each fold, all in one run; returns them fold by fold."""
    shared = Samples(X, y)
    fits = [[clone(e) for e in estimators] for _ in folds]
    trainings = [
        e._prepare(shared, None if weight is None else weight[rows], rows)
        for fold, rows in zip(fits, folds, strict=True)
        for e in fold
    ]
    assert len({t.key for t in trainings}) == 1
    trainings[0].run(trainings)
    for training in trainings:
        training.finish()
    return fits


def assert_equal_alone(fits, X, y, folds, weight=None):
    for fold, rows in zip(fits, folds, strict=True):
        for fitted in fold:
            alone = clone(fitted).fit(X[rows], y[rows], None if weight is None else weight[rows])
            if fitted.tol >= 1e-4:  # nearer to the optimum rounding decides on the last steps
                assert fitted.n_iter_ == alone.n_iter_
            np.testing.assert_array_equal(fitted.classes_, alone.classes_)
            assert fitted.coef_.dtype == alone.coef_.dtype
            # products with more columns at once may round otherwise
            bound = {"rtol": 1e-6, "atol": 1e-9} if X.dtype == np.float64 else {"rtol": 1e-3}
            np.testing.assert_allclose(fitted.coef_, alone.coef_, **bound)
            np.testing.assert_allclose(fitted.intercept_, alone.intercept_, **bound)
            np.testing.assert_array_equal(fitted.predict(X), alone.predict(X))


FOLDS = [np.arange(100), np.arange(50, 150), np.arange(0, 150, 2)]


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("loss", ["log_loss", "squared_error"])
def test_candidates_of_several_folds(n_classes, sparse, fit_intercept, loss):
    X, y = samples(n_classes, sparse=sparse)
    base = LogisticRegression(fit_intercept=fit_intercept, loss=loss)
    estimators = [clone(base).set_params(**c) for c in CANDIDATES]
    assert_equal_alone(together(estimators, X, y, FOLDS), X, y, FOLDS)


@pytest.mark.parametrize("weighted", [False, True])
def test_weights_of_classes_and_samples(weighted):
    X, y = samples()
    weight = np.random.default_rng(0).uniform(0, 2, len(y)) if weighted else None
    estimators = [LogisticRegression(**w) for w in WEIGHTS]
    assert_equal_alone(together(estimators, X, y, FOLDS, weight), X, y, FOLDS, weight)


@pytest.mark.parametrize("n_blocks", [1, 4])
def test_single_precision(monkeypatch, n_blocks):
    monkeypatch.setattr("estimators.linear.row_blocks.BLOCK_BYTES", 12 * 4 * 400 // n_blocks)
    X, y = samples(dtype=np.float32, n_samples=400)
    estimators = [LogisticRegression(C=C, max_iter=15) for C in (1e-3, 1e-2, 0.1)]
    folds = [np.arange(300), np.arange(100, 400)]
    assert_equal_alone(together(estimators, X, y, folds), X, y, folds)


@pytest.mark.parametrize(
    ("solver", "n_classes"),
    [("newton-cg", 3), ("newton-cholesky", 3), ("liblinear", 2), ("sag", 3), ("saga", 3)],
)
def test_other_solvers_run_one_after_the_other(solver, n_classes):
    X, y = samples(n_classes)
    estimators = [LogisticRegression(C=C, solver=solver) for C in (0.1, 10.0)]
    if solver == "saga":
        estimators += [clone(estimators[0]).set_params(l1_ratio=r) for r in (0.5, 1.0)]
    assert_equal_alone(together(estimators, X, y, FOLDS), X, y, FOLDS)


def test_folds_that_lack_a_class():
    X, y = samples()
    folds = [np.flatnonzero(y != missing) for missing in range(3)]
    assert_equal_alone(together([LogisticRegression(C=0.5)], X, y, folds), X, y, folds)


def test_complaints_are_those_of_each():
    X, y = samples()
    estimators = [LogisticRegression(max_iter=3), LogisticRegression(), LogisticRegression(C=1e-4)]

    def heard(run):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run()
        return [str(w.message) for w in caught if w.category is ConvergenceWarning]

    rows = np.arange(120)
    of_stack = heard(lambda: together(estimators, X, y, [rows]))
    assert len(of_stack) == 1
    assert "lbfgs failed to converge after 3 iteration(s) (status=1)" in of_stack[0]
    assert of_stack == heard(lambda: [clone(e).fit(X[rows], y[rows]) for e in estimators])


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg"])
def test_an_interrupt_leaves_each_as_far_as_it_got(solver):
    X, y = samples()
    shared = Samples(X, y)
    estimators = [LogisticRegression(C=C, solver=solver, tol=1e-10) for C in (1e-4, 1e3)]
    rows = np.arange(100)
    trainings = [e._prepare(shared, rows=rows) for e in estimators]
    heard = []

    def watch(n_models, loss):
        heard.append((n_models, loss))
        if len(heard) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainings[0].run(trainings, watch)
    trainings[0].finish()
    assert estimators[0].coef_.any()
    assert heard[0][0] in (1, 2)
    if solver == "newton-cg":  # its first had not come to an end
        with pytest.raises(RuntimeError, match="interrupted before it began"):
            trainings[1].finish()
    else:
        trainings[1].finish()
        assert estimators[1].n_iter_ == 5 or estimators[0].n_iter_ < 5


@pytest.mark.parametrize(
    ("n_threads", "n_bytes", "parts"),
    [
        (1, 2**30, [20]),
        (2, 2**30, [20]),  # of one fold of two: one for each thread
        (4, 2**30, [10, 10]),
        (99, 2**30, [4, 4, 4, 4, 4]),  # not fewer
        (1, 2 * 150 * 3 * 8 * 7, [5, 5, 5, 5]),  # seven would fit the cache: an even number
        (1, 1, [4, 4, 4, 4, 4]),
    ],
)
def test_models_of_a_fold_are_cut_for_the_cache_and_the_cores(
    monkeypatch, n_threads, n_bytes, parts
):
    monkeypatch.setattr(row_blocks, "threads", lambda: n_threads)
    monkeypatch.setattr(row_blocks, "_CACHE", n_bytes)
    X, y = samples()
    cut = row_blocks.stack_shares(20, 2, X, len(y), n_classes=3)
    models = np.arange(20)
    assert [len(models[part]) for part in cut] == parts
    assert np.concatenate([models[part] for part in cut]).tolist() == models.tolist()
