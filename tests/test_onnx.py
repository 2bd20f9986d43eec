"""ONNX models against onnxruntime: every estimator, activation and layer."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import linear_model
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from _requirements import require
from cukernels.activations.activations import ACTIVATIONS
from estimators import (
    Activation,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    ConvNetClassifier,
    Dense,
    Dropout,
    LocallyConnected2D,
    LogisticRegression,
    MaxPool2D,
    MLPClassifier,
    Perceptron,
)
from estimators.convert import to_onnx

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
    got = outputs(to_onnx(estimator, dtype=dtype), np.asarray(X, dtype))
    expected = estimator.predict(X)
    assert got["label"].dtype.kind == expected.dtype.kind or expected.dtype.kind in "OU"
    np.testing.assert_array_equal(got["label"], expected)
    if "scores" in got:
        scores = estimator.decision_function(X)
        np.testing.assert_allclose(got["scores"], scores, rtol=1e-5, atol=1e-4)
    else:
        np.testing.assert_allclose(got["probabilities"], estimator.predict_proba(X), atol=atol)
        assert got["probabilities"].dtype == dtype


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


@pytest.mark.parametrize(
    "model", [Perceptron(), LogisticRegression()], ids=["perceptron", "logistic"]
)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_onnx_of_weights_set_by_hand(model, n_classes, digits):
    rng = np.random.default_rng(0)
    model = clone(model)
    model.coef_ = rng.standard_normal((1 if n_classes == 2 else 3, 64))
    model.intercept_, model.classes_ = rng.standard_normal(len(model.coef_)), np.arange(n_classes)
    assert_same_predictions(model, digits[0])


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


@pytest.mark.parametrize("layers", IMAGE_LAYERS, ids=range(len(IMAGE_LAYERS)))
def test_onnx_of_every_layer_in_float64(layers, digits):
    X, y = digits
    model = ConvNetClassifier(layers=layers, dtype="float64", max_iter=4, random_state=0)
    gelu = any(getattr(layer, "name", "") == "gelu" for layer in layers)  # float32 inside
    assert_same_predictions(model.fit(X.astype(float), y), X, "float64", 1e-6 if gelu else 1e-12)


@pytest.mark.parametrize("labels", [list("abcdefghij"), np.arange(2.0, 12.0), range(5, 15)])
def test_onnx_has_the_labels(labels, digits):
    X, y = digits
    names = np.array(list(labels))[y]
    assert_same_predictions(LogisticRegression().fit(X, names), X)
    assert_same_predictions(LogisticRegression().fit(X[y < 2], names[y < 2]), X)
    assert_same_predictions(MLPClassifier((5,), max_iter=3, random_state=0).fit(X, names), X)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int64", "uint64", "float16", "float64", "bool"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_onnx_has_labels_of_every_type(kind, dtype, digits):
    X, y = digits
    labels = (y % 2 if kind == "bool" else y).astype(kind)
    model = LogisticRegression().fit(X, labels)
    got = outputs(to_onnx(model, dtype=dtype), X.astype(dtype))["label"]
    np.testing.assert_array_equal(got, model.predict(X))
    assert got.dtype == {"b": "bool", "f": dtype}.get(labels.dtype.kind, "int64")


LOST = {
    "dates": (np.array(["2020-01-01", "2021-01-01"], "datetime64[D]"), TypeError, "datetime64"),
    "spans": (np.array([1, 2], "timedelta64[s]"), TypeError, "timedelta64"),
    "large": (np.array([1, 2**63 + 1], np.uint64), ValueError, "9223372036854775809.* as int64"),
    "large floats": (np.array([1.0, 2.0**24 + 1]), ValueError, "16777217.* as float32"),
    "infinite": (np.array([1.0, 1e300]), ValueError, "1e.300.* as float32"),
}


@pytest.mark.parametrize(("classes", "error", "message"), LOST.values(), ids=LOST)
def test_labels_that_onnx_does_not_have(classes, error, message, digits):
    X, y = digits
    model = LogisticRegression().fit(X, y % 2)
    model.classes_ = classes
    with pytest.raises(error, match=message + ".*y.astype"):
        to_onnx(model)


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
