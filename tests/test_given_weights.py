"""Networks whose weights are set by hand: gates, copies, and training that goes on from them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn import neural_network
from sklearn.datasets import load_digits
from sklearn.preprocessing import LabelBinarizer

from estimators import MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:400] / 16, y[:400]


INPUTS = [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_gates():
    gate = MLPClassifier.from_weights
    assert gate([[[20], [20]]], [[-30]]).predict(INPUTS).tolist() == [0, 0, 0, 1]
    assert gate([[[20], [20]]], [[-10]]).predict(INPUTS).tolist() == [0, 1, 1, 1]
    assert gate([[[-20]]], [[10]]).predict([[0], [1]]).tolist() == [1, 0]
    both, neither = [20, 20], [-20, -20]
    xnor = gate(
        [np.transpose([both, neither]), [[20], [20]]],
        [[-30, 10], [-10]],
        activation="logistic",
        classes=["no", "yes"],
    )
    assert xnor.predict(INPUTS).tolist() == ["yes", "no", "no", "yes"]
    assert xnor.predict_proba(INPUTS).round(3).tolist() == [[0, 1], [1, 0], [1, 0], [0, 1]]
    assert xnor.hidden_layer_sizes == (2,)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_network_of_the_weights_of_another_is_that_network(digits, n_classes):
    X, y = digits
    X, y = X[y < n_classes], y[y < n_classes]
    fitted = MLPClassifier((8, 6), activation=["tanh", "gelu"], max_iter=5, random_state=0)
    fitted.fit(X, y)
    copy = MLPClassifier.from_weights(
        fitted.coefs_, fitted.intercepts_, classes=fitted.classes_, activation=["tanh", "gelu"]
    )
    np.testing.assert_array_equal(copy.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(copy.predict(X), fitted.predict(X))
    assert pickle.loads(pickle.dumps(copy)).score(X, y) == fitted.score(X, y)
    for name in set(vars(fitted)) - {"feature_names_in_"}:
        assert hasattr(copy, name), name


def test_training_goes_on_from_given_weights(digits):
    X, y = digits
    start = MLPClassifier((8,), max_iter=30, random_state=0).fit(X, y)
    params = {"classes": start.classes_, "random_state": 0}
    copy = MLPClassifier.from_weights(start.coefs_, start.intercepts_, **params)
    before = copy.score(X, y)
    for _ in range(20):
        copy.partial_fit(X, y)
    assert copy.score(X, y) > before
    warm = MLPClassifier.from_weights(
        start.coefs_, start.intercepts_, **params, warm_start=True, max_iter=1
    ).fit(X, y)
    cold = MLPClassifier((8,), max_iter=1, random_state=0).fit(X, y)
    assert warm.loss_ < cold.loss_


def test_weights_that_do_not_fit():
    gate = MLPClassifier.from_weights
    for coefs, intercepts, message in (
        ([], [], "have an entry for each layer, got 0 and 0"),
        ([[[1.0]]], [], "have an entry for each layer, got 1 and 0"),
        ([[[1.0, 2.0]], [[1.0]]], [[0, 0], [0]], "layer 1: weights of shape"),
        ([[[1.0], [1.0]]], [[0, 0]], "layer 0: weights of shape"),
        ([[[1.0, 2.0]]], [[0, 0]], r"2 classes \[0 1\] need 1 output"),
    ):
        with pytest.raises(ValueError, match=message):
            gate(coefs, intercepts)
    with pytest.raises(ValueError, match="batch_norm=True has further parameters"):
        gate([[[1.0]]], [[0]], batch_norm=True)
    with pytest.raises(ValueError, match="'alpha' parameter"):
        gate([[[1.0]]], [[0]], alpha=-1)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix], ids=["dense", "sparse"])
def test_weights_assigned_to_an_unfitted_network(kind, n_outputs, activation):
    """What scikit-learn's network needs, and no more; `hidden_layer_sizes` may say otherwise."""
    rng = np.random.default_rng(0)
    X, sizes = rng.standard_normal((20, 4)), (4, 6, 5, n_outputs)
    models = [
        MLPClassifier(activation=activation, dtype="float64"),
        MLPClassifier(activation=activation),
        neural_network.MLPClassifier(activation=activation),
    ]
    weights = [rng.standard_normal(shape) for shape in zip(sizes, sizes[1:], strict=False)]
    biases = [rng.standard_normal(size) for size in sizes[1:]]
    for model in models:
        model.coefs_, model.intercepts_ = weights, biases
        model.n_layers_, model.n_outputs_ = 4, n_outputs
        model.out_activation_ = "logistic" if n_outputs == 1 else "softmax"
        model._label_binarizer = LabelBinarizer().fit(range(max(2, n_outputs)))
    *own, expected = [model.predict_proba(kind(X)) for model in models]
    np.testing.assert_allclose(own[0], expected, rtol=1e-12)
    np.testing.assert_allclose(own[1], expected, rtol=1e-4, atol=1e-6)
    for model in models:
        np.testing.assert_array_equal(model.predict(X), models[2].predict(X))
