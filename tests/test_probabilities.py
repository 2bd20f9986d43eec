"""Probabilities are in the precision of the X that is asked about, and sum to 1 in it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression as TheirLogisticRegression
from sklearn.neural_network import MLPClassifier as TheirMLPClassifier

from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier
from estimators.model_selection import GridSearchCV, cross_val_predict

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_digits(return_X_y=True)
X = X / 16
MODELS = {
    "logistic": LogisticRegression(max_iter=20),
    "network": MLPClassifier((16,), max_iter=12, random_state=0),
    "network in float64": MLPClassifier((16,), max_iter=5, dtype="float64", random_state=0),
    "network as X": MLPClassifier((16,), max_iter=5, dtype="auto", random_state=0),
    "squared error": MLPClassifier((16,), max_iter=5, loss="squared_error", random_state=0),
    "images": ConvNetClassifier((4,), max_iter=2, random_state=0),
}
each = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
METHODS = ["predict_proba", "predict_log_proba"]


@each
@pytest.mark.parametrize("n_classes", [2, 10])
@pytest.mark.parametrize("fitted_in", [np.float32, np.float64])
def test_rows_are_distributions_in_the_precision_of_x(model, n_classes, fitted_in):
    own = n_classes > Y
    clf = clone(model).fit(X[own][:300].astype(fitted_in), Y[own][:300])
    weights = clf.coefs_[0].dtype if hasattr(clf, "coefs_") else clf.coef_.dtype
    for dtype in (np.float32, np.float64, np.int64, np.uint8):
        rows = (16 * X).astype(dtype) if np.issubdtype(dtype, np.integer) else X.astype(dtype)
        asked = np.float32 if dtype == np.float32 else np.float64
        expected = np.result_type(asked, weights)
        p = clf.predict_proba(rows)
        assert p.dtype == expected
        assert np.abs(p.sum(axis=1) - 1).max() <= n_classes * np.finfo(expected).eps
        assert clf.predict_log_proba(rows).dtype == expected
        scores = clf.predict_proba(rows[:1])
        np.testing.assert_array_equal(clf.predict(rows), p.argmax(axis=1))
        assert scores.dtype == expected


@pytest.mark.parametrize("n_classes", [2, 10])
def test_the_precision_is_scikit_learns(n_classes):
    own = n_classes > Y
    rows, labels = X[own][:200], Y[own][:200]
    pairs = [
        (LogisticRegression(max_iter=5), TheirLogisticRegression(max_iter=5)),
        (MLPClassifier((4,), max_iter=2, dtype="auto"), TheirMLPClassifier((4,), max_iter=2)),
    ]
    for ours, theirs in pairs:
        for fitted_in in (np.float32, np.float64):
            for clf in (ours, theirs):
                clf.fit(rows.astype(fitted_in), labels)
            if getattr(theirs, "coef_", rows.astype(fitted_in)).dtype != fitted_in:
                continue  # before 1.9 its L-BFGS computes in double precision
            for dtype in (np.float32, np.float64, np.int64):
                for method in [*METHODS, "decision_function"]:
                    if hasattr(ours, method):
                        asked = rows.astype(dtype)
                        own, other = (getattr(clf, method)(asked) for clf in (ours, theirs))
                        assert own.dtype == other.dtype, (ours, fitted_in, dtype, method)


@each
def test_digits_can_be_drawn_by_them(model):
    clf = clone(model).fit(X, Y)
    rng = np.random.RandomState(0)
    for row in clf.predict_proba(X):
        assert rng.choice(10, p=row) in clf.classes_
    assert rng.multinomial(5, clf.predict_proba(X)[0]).sum() == 5
    assert json.loads(json.dumps(clf.predict_proba(X[:1])[0, 3])) > 0


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("name", ["network", "images"])
def test_every_container_tells_its_precision(name):
    clf = clone(MODELS[name]).fit(X, Y)
    frames = [pd.DataFrame, lambda a: pl.DataFrame(dict(zip(map(str, range(64)), a.T)))]  # noqa: B905
    if name == "network":
        frames += [sp.csr_matrix, sp.csc_array]
    else:
        frames += [lambda a: a.reshape(-1, 8, 8), lambda a: a.reshape(-1, 8, 8, 1)]
    for make in frames:
        for dtype in (np.float32, np.float64):
            p = clf.predict_proba(make(X[:20].astype(dtype)))
            assert p.dtype == dtype
    mixed = pd.DataFrame(X[:20].astype("float32")).astype({3: "float64"})
    assert clf.predict_proba(mixed).dtype == np.float64
    assert clf.predict_proba(pd.DataFrame(X[:20]).astype("Float32")).dtype == np.float32
    assert clf.predict_proba(X[:20].tolist()).dtype == np.float64


def test_several_labels_a_sample():
    labels = np.stack([Y % 2, Y > 4], axis=1).astype(int)
    clf = MLPClassifier((16,), max_iter=5, random_state=0).fit(X, labels)
    for dtype in (np.float32, np.float64):
        assert clf.predict_proba(X.astype(dtype)).dtype == dtype


@each
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", METHODS)
def test_searches_compute_them_in_that_precision(model, dtype, method):
    rows, labels = X[:300].astype(dtype), Y[:300]
    options = {"cv": 3, "method": method}
    stacked = cross_val_predict(model, rows, labels, **options)
    alone = cross_val_predict(model, rows, labels, **options, fused=False)
    assert stacked.dtype == alone.dtype == np.result_type(dtype, alone.dtype)
    np.testing.assert_allclose(stacked, alone, rtol=1e-4 if dtype == np.float32 else 1e-9)


def test_scorers_see_them_in_that_precision():
    seen = []

    def scorer(clf, rows, labels):
        p = clf.predict_proba(rows)
        seen.append((p.dtype, np.abs(p.sum(axis=1) - 1).max()))
        return 0.0

    GridSearchCV(MODELS["network"], {"alpha": [0.1, 1.0]}, cv=2, scoring=scorer).fit(X, Y)
    assert {dtype for dtype, _ in seen} == {np.dtype("float64")}
    assert max(error for _, error in seen) < 1e-14
