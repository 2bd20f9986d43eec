"""Linear models of samples that stay as they are given: bytes, and arrays in Fortran's order."""

from __future__ import annotations

import tracemalloc
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from estimators import LogisticRegression, MLPClassifier, Perceptron
from estimators.linear import row_blocks
from estimators.model_selection import GridSearchCV
from estimators.neural import predictor
from estimators.shared import validation

SOLVERS = ["lbfgs", "newton-cg", "newton-cholesky", "liblinear", "sag", "saga"]


@pytest.fixture
def small(monkeypatch):
    """Blocks of 64 rows, and few samples that are large beside them."""
    monkeypatch.setattr(row_blocks, "BLOCK_BYTES", 64)
    monkeypatch.setattr(row_blocks, "_SMALL", 0)


def problem(n_samples=300, n_features=6, n_classes=3):
    rng = np.random.default_rng(0)
    X = rng.integers(256, size=(n_samples, n_features)).astype(np.uint8)
    weights = rng.standard_normal((n_features, n_classes))
    return X, ((X - 127.5) @ weights).argmax(axis=1)


def learned(model):
    return model.coef_, model.intercept_, model.n_iter_


def models():
    for solver in SOLVERS:
        yield LogisticRegression(solver=solver, max_iter=5), 2
    yield LogisticRegression(max_iter=5), 4
    yield LogisticRegression(solver="newton-cholesky", class_weight="balanced", max_iter=4), 3
    yield LogisticRegression(solver="saga", l1_ratio=0.5, max_iter=5), 3
    yield LogisticRegression(loss="squared_error", max_iter=5), 3
    rule = {"multi_class": "multinomial", "max_iter": 5, "tol": None}
    yield Perceptron(**rule), 3
    yield Perceptron(penalty="elasticnet", early_stopping=True, **rule), 3
    yield Perceptron(penalty="l2", **rule), 2


each_model = pytest.mark.parametrize(("model", "n_classes"), list(models()), ids=repr)
each_order = pytest.mark.parametrize("order", ["C", "F"])


@pytest.mark.filterwarnings("ignore")
@each_model
@each_order
def test_bytes_learn_what_their_floats_do(model, n_classes, order, small):
    """To the bit, and predict the same scores."""
    X, y = problem(n_classes=n_classes)
    bytes_, floats = np.asarray(X, order=order), X.astype(float)
    assert np.uint8 in row_blocks.kept_forms(bytes_)["dtype"]
    expected, scores = learned(model.fit(floats, y)), model.decision_function(floats)
    for found, wanted in zip(learned(model.fit(bytes_, y)), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
        assert np.asarray(found).dtype == np.asarray(wanted).dtype
    np.testing.assert_array_equal(model.decision_function(bytes_), scores)
    assert model.score(bytes_, y) == model.score(floats, y)


@pytest.mark.filterwarnings("ignore")
@each_model
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_columns_learn_what_rows_do(model, n_classes, dtype, small):
    """To rounding: a BLAS may add up the products of columns in another order."""
    X, y = problem(n_classes=n_classes)
    X = (X / 255).astype(dtype)
    rows = model.fit(X, y)
    expected, scores = learned(rows), rows.decision_function(X)
    tight = {"rtol": 1e-3, "atol": 1e-3} if dtype == "float32" else {"rtol": 1e-7, "atol": 1e-9}
    for columns in (np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2]):
        model.fit(columns, y)
        for found, wanted in zip(learned(model), expected, strict=True):
            np.testing.assert_allclose(found, wanted, **tight)
        np.testing.assert_allclose(model.decision_function(columns), scores, **tight)


@pytest.mark.filterwarnings("ignore")
def test_a_search_of_bytes_scores_as_one_of_floats(small):
    X, y = problem()
    grid = {"C": [0.001, 0.1], "fit_intercept": [False, True]}
    found = [
        GridSearchCV(LogisticRegression(max_iter=5), grid, cv=3).fit(given, y)
        for given in (X.astype(float), X, np.asfortranarray(X))
    ]
    for search in found[1:]:
        for name in ("split0_test_score", "split2_test_score"):
            np.testing.assert_array_equal(search.cv_results_[name], found[0].cv_results_[name])
        np.testing.assert_array_equal(search.best_estimator_.coef_, found[0].best_estimator_.coef_)


def test_what_is_kept_is_large_and_known(small):
    """Other dtypes, lists, and bytes that a GPU has, become rows of floats as ever."""
    X, _ = problem()
    kept, rows = {"order": None}, {"order": "C"}
    for given, expected in (
        (X, kept), (np.asfortranarray(X, float), kept), (pd.DataFrame(X), kept),
        (X.astype(np.int8), rows), (X.astype(np.float16), rows), (X.tolist(), rows),
        (X.astype(bool), rows), (X[0], rows), (pd.DataFrame(X).astype("Int64"), rows),
    ):  # fmt: skip
        assert row_blocks.kept_forms(given).items() >= expected.items(), type(given)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("order", ["C", "F"])
def test_bits_do_not_depend_on_the_number_of_cores(order):
    """Nor does what is kept, which a file to resume from tells of."""
    rng = np.random.default_rng(0)
    X = np.asarray(rng.standard_normal((50_000, 180)), order=order)
    y = X[:, :3].sum(axis=1) > rng.standard_normal(len(X))
    assert row_blocks.kept_forms(X)["order"] is None
    found = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads):
            assert row_blocks.kept_forms(X)["order"] is None
            model = LogisticRegression(max_iter=3).fit(X, y)
            found.append([model.coef_, model.decision_function(X)])
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.filterwarnings("ignore")
def test_columns_of_the_other_byte_order_stay_floats(small):
    X, y = problem()
    frame = pd.DataFrame((X / 255).astype(">f4"))
    native = (X / 255).astype(np.float32)
    for model in (LogisticRegression(max_iter=3), Perceptron(multi_class="multinomial")):
        coef = model.fit(native, y).coef_
        assert model.fit(frame, y).coef_.dtype == np.float32
        np.testing.assert_allclose(model.coef_, coef, rtol=1e-4)


@pytest.mark.parametrize("order", ["C", "F"])
def test_scores_are_made_in_their_place(order):
    n, k = 100_000, 50
    model = LogisticRegression()
    rng = np.random.default_rng(0)
    X = np.asarray(rng.standard_normal((n, 8)), order=order)
    model.classes_, model.coef_ = np.arange(k), rng.standard_normal((k, 8))
    model.intercept_, model.n_features_in_ = np.zeros(k), 8
    scores = np.empty((n, k))
    with no_more_than(1.3, scores):
        model.decision_function(X)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "options",
    [{}, {"early_stopping": True}, {"multi_class": "multinomial"},
     {"multi_class": "multinomial", "early_stopping": True}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("n_classes", [2, 5])
def test_what_a_perceptron_takes_is_known(options, n_classes):
    X, y = problem(45_000, 200, n_classes)  # bytes that stay so
    if "multi_class" not in options:
        X = X / 255
    model = Perceptron(max_iter=2, tol=None, **options)
    with threadpool_limits(1):
        estimated = model.estimate_memory(X, y).total
        model.fit(X, y)
        tracemalloc.start()
        model.fit(X, y)
        peak = tracemalloc.get_traced_memory()[1] + X.nbytes
        tracemalloc.stop()
    assert 0.8 * peak < estimated < 1.2 * peak


def test_few_samples_become_rows_at_once():
    X, _ = problem()
    assert row_blocks.kept_forms(np.asfortranarray(X))["order"] == "C"


@contextmanager
def no_more_than(share, X):
    """Hold the memory that is taken in the block to a share of that of X."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < share * X.nbytes, peak / X.nbytes


LARGE = {
    # with the float64 blocks of two threads, and labels and scores of samples
    "bytes": (lambda X: X, 0.8),
    "columns of bytes": (np.asfortranarray, 0.8),
    "columns": (lambda X: np.asfortranarray(X, np.float32), 0.2),
    "a frame": (lambda X: pd.DataFrame(np.asfortranarray(X, np.float64)), 0.2),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", LARGE)
def test_large_samples_are_not_copied(form):
    """Of 24 MB of bytes, a fit once made 188 MB of float64."""
    X, y = problem(30_000, 784, 2)
    made, share = LARGE[form]
    X = made(X)
    memory = X.to_numpy() if form == "a frame" else X
    model = LogisticRegression(max_iter=2)
    with no_more_than(share, memory):
        model.fit(X, y)
    with no_more_than(share, memory):
        model.predict(X)


@pytest.mark.filterwarnings("ignore")
def test_a_perceptron_takes_bytes_some_at_a_time():
    X, y = problem(20_000, 784, 3)
    model = Perceptron(multi_class="multinomial", max_iter=2, tol=None)
    with no_more_than(0.7, X):
        model.fit(X, y)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["float32", "auto"])
def test_a_network_predicts_columns_some_rows_at_a_time(dtype, monkeypatch):
    monkeypatch.setattr(predictor, "_VALUES_AT_ONCE", 2**20)
    X, y = problem(20_000, 400, 2)
    rows = X / 255
    model = MLPClassifier((256,), max_iter=1, dtype=dtype).fit(rows[:100], y[:100])
    expected = model.predict_proba(rows)
    X = np.asfortranarray(rows)
    with no_more_than(0.45, X):
        found = model.predict_proba(X)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("wrong", [1e39, -1e300, np.inf, np.nan])
@each_order
def test_a_network_refuses_what_it_cannot_hold(wrong, order, monkeypatch):
    monkeypatch.setattr(validation, "_MANY", 1)  # that all samples are many
    X, y = problem()
    model = MLPClassifier((4,), max_iter=1).fit(X / 255, y)
    X = np.asarray(X / 255, order=order)
    X[200, 3] = wrong
    with pytest.raises(ValueError, match="Input X contains"):
        model.predict(X)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(max_iter=3),
        LogisticRegression(solver="newton-cg", max_iter=3),
        Perceptron(multi_class="multinomial", max_iter=2),
        Perceptron(max_iter=2),
    ],
    ids=repr,
)
@each_order
def test_bytes_learn_what_their_floats_do_on_a_gpu(model, order, small, cupy):
    X, y = problem(150)
    model.set_params(device="cuda")
    expected = learned(model.fit(X.astype(float), y))
    for given in (np.asarray(X, order=order), cupy.asarray(X, order=order)):
        for found, wanted in zip(learned(model.fit(given, y)), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    scores = model.decision_function(X.astype(float))
    np.testing.assert_array_equal(model.decision_function(np.asarray(X, order=order)), scores)
