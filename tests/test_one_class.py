"""Networks take y of one class, as scikit-learn's does: every sample is then of that class."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neural_network import MLPClassifier as TheirMLPClassifier

from _requirements import require
from estimators import ConvNetClassifier, MLPClassifier
from estimators.convert import from_sklearn, to_onnx, to_sklearn
from estimators.model_selection import (
    GridSearchCV,
    cross_val_predict,
    cross_val_score,
    learning_curve,
)
from estimators.training.optimizers import SOLVERS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_digits(return_X_y=True)
X, Y = X[:120] / 16, Y[:120]
NETWORKS = [
    MLPClassifier((8,), max_iter=4, random_state=0),
    ConvNetClassifier((2,), hidden_layer_sizes=(8,), max_iter=4, random_state=0),
]
each = pytest.mark.parametrize("network", NETWORKS, ids=lambda e: type(e).__name__)
LABELS = [np.zeros(120, int), np.full(120, "seven"), np.ones(120, bool), np.full((120, 1), 3.0)]


def assert_always(clf, label, X=X):
    assert list(clf.classes_) == [label]
    np.testing.assert_array_equal(clf.predict(X), np.full(len(X), label))
    np.testing.assert_array_equal(clf.predict_proba(X), np.ones((len(X), 1)))
    np.testing.assert_array_equal(clf.predict_log_proba(X), np.zeros((len(X), 1)))
    assert clf.predict_proba(X.astype(np.float32)).dtype == np.float32
    assert clf.score(X, np.full(len(X), label)) == 1.0


@each
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("labels", LABELS, ids=["int", "str", "bool", "column"])
@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
def test_one_class(network, solver, early_stopping, labels):
    clf = clone(network).set_params(solver=solver, early_stopping=early_stopping)
    clf.fit(X, labels)
    assert_always(clf, labels.ravel()[0])
    if early_stopping and solver != "lbfgs":
        assert set(clf.validation_scores_) == {1.0}


@pytest.mark.parametrize(
    ("call", "solver", "early_stopping"),
    [
        *(("fit", s, early) for s in ("adam", "sgd", "lbfgs") for early in (False, True)),
        *(("partial_fit", s, False) for s in ("adam", "sgd")),
    ],
)
def test_it_trains_as_scikit_learns(call, solver, early_stopping):
    settings = {"max_iter": 4, "random_state": 0, "early_stopping": early_stopping}
    settings |= {"hidden_layer_sizes": (8,), "solver": solver}
    ours, theirs = MLPClassifier(**settings, dtype="float64"), TheirMLPClassifier(**settings)
    labels = np.full(120, 7)  # scikit-learn 1.6 stops at strings here
    for clf in (ours, theirs):
        if call == "fit":
            clf.fit(X, labels)
        else:
            clf.partial_fit(X, labels, classes=[7]).partial_fit(X, labels)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    for own, other in zip(
        ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True
    ):
        np.testing.assert_allclose(own, other, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=1e-9)
    if solver != "lbfgs":
        assert ours.validation_scores_ == theirs.validation_scores_


@each
def test_calls_after_the_first(network):
    labels = np.full(120, 5)
    clf = clone(network).partial_fit(X, labels, classes=[5])
    assert_always(clf.partial_fit(X, labels), 5)
    with pytest.raises(ValueError, match="`y` has classes not in `self.classes_`"):
        clf.partial_fit(X, Y)
    clf = clone(network).set_params(warm_start=True).fit(X, labels)
    assert_always(clf.fit(X, labels), 5)
    with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same"):
        clf.fit(X, Y)
    assert clf.set_params(warm_start=False).fit(X, Y).predict_proba(X).shape == (120, 10)


@each
def test_an_own_validation_set_with_another_class(network):
    labels = np.where(np.arange(30) < 24, 5, 6)  # the sixes are never right
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clf = clone(network).fit(X, np.full(120, 5), X_val=X[:30], y_val=labels)
    assert set(clf.validation_scores_) == {0.8}


@each
def test_weights_of_one_class(network):
    clf = clone(network).set_params(class_weight="balanced")
    assert_always(clf.fit(X, np.full(120, 5), sample_weight=np.arange(120)), 5)


@each
def test_outputs_that_are_constant(network):
    outputs = np.stack([Y % 2, np.ones(120, int)], axis=1)
    model = MultiOutputClassifier(clone(network)).fit(X, outputs)
    assert [p.shape for p in model.predict_proba(X)] == [(120, 2), (120, 1)]
    assert (model.predict(X)[:, 1] == 1).all()
    chain = ClassifierChain(clone(network)).fit(X.reshape(120, -1), outputs)
    assert (chain.predict(X)[:, 1] == 1).all()


@pytest.mark.filterwarnings("ignore:Number of classes in training fold")
@each
def test_searches_over_sorted_labels(network):
    """Each fit sees only one of two classes, or both of them, and is as it is alone."""
    labels = np.repeat([4, 7], 60)
    for folds, expected in ((2, [0.0, 0.0]), (3, None)):
        scores = [
            cross_val_score(clone(network), X, labels, cv=KFold(folds), fused=fused)
            for fused in (True, False)
        ]
        np.testing.assert_array_equal(*scores)
        assert expected is None or list(scores[0]) == expected
    search = GridSearchCV(network, {"alpha": [0.1, 1.0]}, cv=KFold(2)).fit(X, labels)
    assert list(search.cv_results_["mean_test_score"]) == [0.0, 0.0]
    p = [
        cross_val_predict(network, X, labels == 7, cv=KFold(2), method="predict_proba", fused=fused)
        for fused in (True, False)
    ]
    np.testing.assert_array_equal(*p)


@each
def test_small_learning_curves(network):
    labels = np.repeat([4, 7], 60)
    curves = [
        learning_curve(network, X, labels, train_sizes=[20, 80], cv=KFold(3), fused=fused)
        for fused in (True, False)
    ]
    for own, other in zip(*curves, strict=True):
        np.testing.assert_array_equal(own, other)


def test_scikit_learns_model_and_back():
    ours = MLPClassifier((8,), max_iter=4, random_state=0).fit(X, np.full(120, "seven"))
    back = from_sklearn(to_sklearn(ours))
    np.testing.assert_array_equal(to_sklearn(ours).predict(X), ours.predict(X))
    assert_always(back, "seven")


@each
@pytest.mark.parametrize("labels", LABELS[:2], ids=["int", "str"])
def test_onnx(network, labels):
    require("onnx", "onnx")
    runtime = require("onnxruntime", "test")
    clf = clone(network).fit(X, labels)
    model = to_onnx(clf).SerializeToString()
    session = runtime.InferenceSession(model, providers=["CPUExecutionProvider"])
    label, probabilities = session.run(None, {"X": X.astype("float32")})
    np.testing.assert_array_equal(label, labels)
    np.testing.assert_array_equal(probabilities, np.ones((120, 1)))


def test_an_epoch_limit_still_warns():
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        clone(NETWORKS[0]).fit(X, np.zeros(120))
