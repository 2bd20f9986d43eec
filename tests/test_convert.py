"""scikit-learn's classes and back, and skops files."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn import linear_model, neural_network
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from _requirements import require
from estimators import (
    Activation,
    AvgPool2D,
    ConvNetClassifier,
    FilterBankTransformer,
    LocallyConnected2D,
    LogisticRegression,
    MLPClassifier,
    NearestNeighborClassifier,
    Perceptron,
    VisualWordsTransformer,
    model_selection,
)
from estimators.convert import SKOPS_TRUSTED, from_sklearn, to_sklearn

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Maximum number of iteration"),
]


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X[:300] / 16).astype("float32"), y[:300]


# scikit-learn ------------------------------------------------------------------------------------

OURS = [
    Perceptron(max_iter=20, penalty="l2", alpha=1e-3),
    LogisticRegression(C=0.5),
    LogisticRegression(C=0.5, l1_ratio=0.3, solver="saga", max_iter=20),
    LogisticRegression(C=np.inf, max_iter=20, verbose="bar"),
    MLPClassifier((8, 6), "tanh", max_iter=8, random_state=0, dropout=0.1),
    MLPClassifier(
        (8,), ["relu"], dtype="float64", max_iter=8, learning_rate="cosine", verbose="bar"
    ),
]
THEIRS = [
    linear_model.Perceptron(max_iter=20, penalty="l1", alpha=1e-3),
    linear_model.LogisticRegression(C=0.5),
    neural_network.MLPClassifier((8, 6), "logistic", max_iter=8, random_state=0),
    neural_network.MLPClassifier((), solver="lbfgs", max_iter=8, random_state=0),
]


@pytest.mark.filterwarnings("error::FutureWarning", "ignore:X does not have valid feature names")
@pytest.mark.parametrize("n_classes", [2, 10])
@pytest.mark.parametrize("estimator", OURS, ids=lambda e: type(e).__name__)
def test_to_scikit_learn_and_back(estimator, n_classes, digits):
    X, y = digits
    X, y = X[y < n_classes], y[y < n_classes]
    estimator.fit(X, y)
    theirs = to_sklearn(estimator)
    assert type(theirs).__module__.startswith("sklearn.")
    np.testing.assert_array_equal(theirs.predict(X), estimator.predict(X))
    proba = [m.predict_proba(X) for m in (theirs, estimator) if hasattr(m, "predict_proba")]
    if proba:
        np.testing.assert_allclose(*proba, atol=1e-5)
    theirs = pickle.loads(pickle.dumps(theirs))
    back = from_sklearn(theirs)
    assert type(back) is type(estimator)
    np.testing.assert_array_equal(back.predict(X), estimator.predict(X))
    theirs.fit(X, y)  # its parameters are valid there
    if hasattr(back, "partial_fit"):
        back.partial_fit(X, y)
    assert set(back.fit(X, y).predict(X)) <= set(y)


@pytest.mark.parametrize("n_classes", [2, 10])
@pytest.mark.parametrize("estimator", THEIRS, ids=lambda e: type(e).__name__)
def test_from_scikit_learn(estimator, n_classes, digits):
    X, y = digits
    X, y = X[y < n_classes].astype(float), y[y < n_classes]
    estimator.fit(X, y)
    ours = from_sklearn(estimator)
    np.testing.assert_array_equal(ours.predict(X), estimator.predict(X))
    if hasattr(estimator, "predict_proba"):
        np.testing.assert_allclose(ours.predict_proba(X), estimator.predict_proba(X), atol=1e-12)
    assert ours.n_iter_ == estimator.n_iter_
    if hasattr(estimator, "coefs_"):
        assert ours.coefs_[0].dtype == np.float64
        assert from_sklearn(estimator, dtype="float32").coefs_[0].dtype == np.float32
    assert from_sklearn(estimator, device="cpu").device == "cpu"


def test_a_network_goes_on_training_on_both_sides(digits):
    X, y = digits
    ours = MLPClassifier((8,), max_iter=10, random_state=0).fit(X, y)
    there = to_sklearn(ours)
    loss = there.loss_
    for _ in range(5):
        there.partial_fit(X, y)
    assert there.loss_ < loss
    here = from_sklearn(there)
    for _ in range(5):
        here.partial_fit(X, y)
    assert here.loss_ < there.loss_


def test_labels_of_every_kind_survive(digits):
    X, y = digits
    names = np.array(list("abcdefghij"))[y]
    many = np.stack([y % 2, y > 4, y == 3], axis=1).astype(int)
    for target in (names, many):
        ours = MLPClassifier((8,), max_iter=10, random_state=0).fit(X, target)
        back = from_sklearn(to_sklearn(ours))
        np.testing.assert_array_equal(back.predict(X), ours.predict(X))
        np.testing.assert_allclose(back.predict_proba(X), ours.predict_proba(X), atol=1e-6)


def test_a_copy_shares_no_array(digits):
    ours = MLPClassifier((8,), max_iter=2, random_state=0).fit(*digits)
    theirs = to_sklearn(ours)
    assert not any(np.shares_memory(a, b) for a, b in zip(ours.coefs_, theirs.coefs_, strict=True))
    line = LogisticRegression().fit(*digits)
    assert not np.shares_memory(line.coef_, to_sklearn(line).coef_)


def test_what_scikit_learn_does_not_have(digits):
    X, y = digits
    for params, message in (
        ({"activation": "gelu"}, "one activation for all layers, out of"),
        ({"activation": ["relu", "tanh"], "hidden_layer_sizes": (3, 3)}, "one activation for all"),
        ({"batch_norm": True}, "no batch normalisation"),
    ):
        with pytest.raises(ValueError, match=message):
            to_sklearn(MLPClassifier(max_iter=1).set_params(**params).fit(X, y))
    with pytest.raises(TypeError, match="to_sklearn takes a Perceptron.*got estimators.convnet"):
        to_sklearn(ConvNetClassifier((2,), max_iter=1).fit(X, y))
    with pytest.raises(TypeError, match="from_sklearn takes scikit-learn's.*got estimators.mlp"):
        from_sklearn(MLPClassifier(max_iter=1).fit(X, y))


# skops -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "estimator",
    [
        Perceptron(max_iter=5),
        LogisticRegression(),
        MLPClassifier((5,), batch_norm=True, dropout=0.1, max_iter=3, random_state=0),
        ConvNetClassifier((3,), hidden_layer_sizes=(5,), max_iter=2, random_state=0),
        ConvNetClassifier(
            layers=[LocallyConnected2D(2), AvgPool2D(), Activation("tanh")], max_iter=2
        ),
        NearestNeighborClassifier(),
        FilterBankTransformer(),
        VisualWordsTransformer(4, n_channels=1, random_state=0),
    ],
    ids=lambda e: type(e).__name__,
)
def test_skops_files(estimator, digits):
    io = require("skops.io", "test")
    X, y = digits
    data = io.dumps(estimator.fit(X, y))
    unknown = set(io.get_untrusted_types(data=data)) - set(SKOPS_TRUSTED)
    assert not unknown
    loaded = io.loads(data, trusted=SKOPS_TRUSTED)
    method = "predict_proba" if hasattr(estimator, "predict_proba") else "predict"
    method = method if hasattr(estimator, "predict") else "transform"
    np.testing.assert_array_equal(getattr(loaded, method)(X), getattr(estimator, method)(X))
    if hasattr(loaded, "partial_fit"):
        loaded.partial_fit(X, y)


@pytest.mark.parametrize("name", ["GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV"])
def test_skops_files_of_searches_and_pipelines(name, digits):
    """Ours are trusted; of scikit-learn's own parts skops asks what it asks elsewhere."""
    io = require("skops.io", "test")
    X, y = digits
    pipeline = make_pipeline(MinMaxScaler(), PCA(8), LogisticRegression())
    options = {"n_iter": 2} if name == "RandomizedSearchCV" else {}
    grid = {"logisticregression__C": [0.1, 1.0]}
    search = getattr(model_selection, name)(pipeline, grid, cv=2, **options).fit(X, y)
    data = io.dumps(search)
    asked = io.get_untrusted_types(data=data)
    assert [known for known in asked if known.startswith("estimators.")] != []
    assert all(known.startswith("sklearn.") for known in set(asked) - set(SKOPS_TRUSTED))
    loaded = io.loads(data, trusted=[*SKOPS_TRUSTED, *asked])
    np.testing.assert_array_equal(loaded.predict_proba(X), search.predict_proba(X))


@pytest.mark.parametrize("convert", [to_sklearn, from_sklearn])
def test_a_pipeline_loses_no_step_in_silence(convert, digits):
    theirs = linear_model.LogisticRegression()
    last = LogisticRegression() if convert is to_sklearn else theirs
    model = make_pipeline(MinMaxScaler(), last).fit(*digits)
    search = model_selection.GridSearchCV(model, {}, cv=2).fit(*digits)
    for estimator, kind in ((model, "Pipeline"), (search, "GridSearchCV")):
        with pytest.raises(TypeError, match=f"got .*{kind}"):
            convert(estimator)
