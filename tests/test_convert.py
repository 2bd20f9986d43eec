"""ONNX against onnxruntime, scikit-learn's classes and back, and skops files."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn import linear_model, neural_network
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from _requirements import require
from cukernels.activations import ACTIVATIONS
from estimators import (
    Activation,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    ConvNetClassifier,
    Dense,
    Dropout,
    FilterBankTransformer,
    LocallyConnected2D,
    LogisticRegression,
    MaxPool2D,
    MLPClassifier,
    NearestNeighborClassifier,
    Perceptron,
    VisualWordsTransformer,
)
from estimators.convert import SKOPS_TRUSTED, from_sklearn, to_onnx, to_sklearn

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Maximum number of iteration"),
]


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X[:300] / 16).astype("float32"), y[:300]


def outputs(model, X):
    """Named outputs of a session of onnxruntime."""
    runtime = require("onnxruntime", "test")
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"X": X}), strict=True))


def assert_same_predictions(estimator, X, dtype="float32", atol=1e-5):
    got = outputs(to_onnx(estimator, dtype=dtype), X.astype(dtype))
    expected = estimator.predict(X)
    assert got["label"].dtype.kind == expected.dtype.kind or expected.dtype.kind in "OU"
    np.testing.assert_array_equal(got["label"], expected)
    if "scores" in got:
        scores = estimator.decision_function(X)
        np.testing.assert_allclose(got["scores"], scores, rtol=1e-5, atol=1e-4)
    else:
        np.testing.assert_allclose(got["probabilities"], estimator.predict_proba(X), atol=atol)
        assert got["probabilities"].dtype == dtype


# ONNX --------------------------------------------------------------------------------------------

IMAGE_LAYERS = [
    [Conv2D(3, (3, 2), stride=(2, 1), padding="same"), MaxPool2D(2)],
    [Conv2D(3, 2, dilation=2, padding=(1, 0)), AvgPool2D(3, stride=2, padding=1)],
    [Conv2D(2, 3, stride=2, padding=1), MaxPool2D((2, 3), stride=1, padding="same"), Dense(5)],
    [LocallyConnected2D(3, (3, 2), stride=(2, 1), padding="same"), MaxPool2D(2)],
    [LocallyConnected2D(2, 2, dilation=2, padding=1), Conv2D(3, 3)],
    [Conv2D(4, 3, activation="identity"), BatchNorm(), Activation("gelu"), Dropout(0.3)],
]


@pytest.mark.parametrize("n_classes", [2, 10])
@pytest.mark.parametrize(
    "estimator",
    [
        Perceptron(max_iter=20),
        LogisticRegression(),
        MLPClassifier((12, 8), max_iter=8, random_state=0),
        MLPClassifier((), max_iter=8, random_state=0),
        MLPClassifier((12,), batch_norm=True, dropout=0.2, max_iter=8, random_state=0),
        ConvNetClassifier((4, 5), hidden_layer_sizes=(12,), max_iter=5, random_state=0),
        ConvNetClassifier((4,), batch_norm=True, pooling="avg", max_iter=5, random_state=0),
    ],
    ids=["perceptron", "logistic", "mlp", "one layer", "norm", "conv", "conv norm"],
)
def test_onnx_predicts_the_same(estimator, n_classes, digits):
    X, y = digits
    chosen = y < n_classes
    assert_same_predictions(estimator.fit(X[chosen], y[chosen]), X)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_onnx_of_every_activation(activation, digits):
    X, y = digits
    model = MLPClassifier((9,), activation=activation, max_iter=20, random_state=0).fit(X, y)
    assert_same_predictions(model, X)
    maps = ConvNetClassifier(layers=[Conv2D(3, activation=activation)], max_iter=3, random_state=0)
    assert_same_predictions(maps.fit(X, y), X)


@pytest.mark.parametrize("layers", IMAGE_LAYERS, ids=range(len(IMAGE_LAYERS)))
def test_onnx_of_every_layer(layers, digits):
    X, y = digits
    model = ConvNetClassifier(layers=layers, max_iter=4, random_state=0).fit(X, y)
    assert_same_predictions(model, X)
    wide = ConvNetClassifier(layers=layers, image_shape=(4, 8, 2), max_iter=4, random_state=0)
    assert_same_predictions(wide.fit(X, y), X)


@pytest.mark.parametrize("labels", [list("abcdefghij"), np.arange(2.0, 12.0), range(5, 15)])
def test_onnx_has_the_labels(labels, digits):
    X, y = digits
    names = np.array(list(labels))[y]
    assert_same_predictions(LogisticRegression().fit(X, names), X)
    assert_same_predictions(LogisticRegression().fit(X[y < 2], names[y < 2]), X)
    assert_same_predictions(MLPClassifier((5,), max_iter=3, random_state=0).fit(X, names), X)


def test_onnx_of_several_labels_a_sample(digits):
    X, y = digits
    many = np.stack([y % 2, y > 4, y == 3], axis=1).astype(int)
    model = MLPClassifier((8,), max_iter=20, random_state=0).fit(X, many)
    got = outputs(to_onnx(model), X)
    np.testing.assert_array_equal(got["label"], model.predict(X))
    np.testing.assert_allclose(got["probabilities"], model.predict_proba(X), atol=1e-5)


def test_onnx_in_float64_of_sparse_weights_and_of_searches(digits):
    X, y = digits
    X = X.astype(float)
    model = LogisticRegression(fit_intercept=False).fit(X, y)
    assert_same_predictions(model, X, "float64", 1e-12)
    assert_same_predictions(
        MLPClassifier(max_iter=3, dtype="float64").fit(X, y), X, "float64", 1e-12
    )
    assert_same_predictions(model.sparsify(), X)
    search = GridSearchCV(Perceptron(max_iter=5, fit_intercept=False), {"eta0": [1]}, cv=2)
    assert_same_predictions(search.fit(X, y).best_estimator_, X)
    assert to_onnx(search).graph.name == "cukernels"


def test_onnx_of_anything_else(digits):
    with pytest.raises(TypeError, match="to_onnx takes a Perceptron.*got sklearn.linear_model"):
        to_onnx(linear_model.LogisticRegression().fit(*digits))
    with pytest.raises(ValueError, match="dtype must be 'float32' or 'float64'"):
        to_onnx(LogisticRegression().fit(*digits), dtype="float16")


def test_without_onnx_it_says_what_to_install(digits, monkeypatch):
    import sys

    model = LogisticRegression().fit(*digits)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'cukernels\[onnx\]'"):
        to_onnx(model)


# scikit-learn ------------------------------------------------------------------------------------

OURS = [
    Perceptron(max_iter=20, penalty="l2", alpha=1e-3),
    LogisticRegression(C=0.5),
    LogisticRegression(C=0.5, l1_ratio=0.3, solver="saga", max_iter=20),
    LogisticRegression(C=np.inf, max_iter=20),
    MLPClassifier((8, 6), "tanh", max_iter=8, random_state=0, dropout=0.1),
    MLPClassifier((8,), ["relu"], dtype="float64", max_iter=8, learning_rate="cosine"),
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
