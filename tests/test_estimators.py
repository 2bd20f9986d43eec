"""What scikit-learn's users take for granted of an estimator, on all four."""

from __future__ import annotations

import inspect
import pickle

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import sklearn
from sklearn import linear_model, neural_network
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier, Perceptron

RELEASE = tuple(map(int, sklearn.__version__.split(".")[:2]))
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

QUICK = {
    Perceptron: Perceptron(max_iter=20),
    LogisticRegression: LogisticRegression(),
    MLPClassifier: MLPClassifier((16,), max_iter=10, random_state=0),
    ConvNetClassifier: ConvNetClassifier(
        (4,), hidden_layer_sizes=(16,), max_iter=10, random_state=0
    ),
}
PEERS = {
    Perceptron: linear_model.Perceptron,
    LogisticRegression: linear_model.LogisticRegression,
    MLPClassifier: neural_network.MLPClassifier,
}
each = pytest.mark.parametrize("estimator", QUICK.values(), ids=lambda e: type(e).__name__)
each_peer = pytest.mark.parametrize("ours", PEERS, ids=lambda c: c.__name__)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:400] / 16, y[:400]


def online_rule_has_no_weights(estimator):
    """The two checks that scikit-learn excuses its own Perceptron from."""
    if not isinstance(estimator, Perceptron):
        return {}
    reason = "an online rule cannot make a weight of 2 equal to a sample seen twice"
    return {
        "check_sample_weight_equivalence_on_dense_data": reason,
        "check_sample_weight_equivalence_on_sparse_data": reason,
    }


# These compare probabilities to 1e-7, which is less than float32 rounds. So the networks are
# checked in the precision of their input, which is what scikit-learn's own computes in, and once
# more by the other checks in their default, float32.
WITHIN_1E_7 = {
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
    "check_methods_sample_order_invariance",
}


@parametrize_with_checks(
    [
        Perceptron(),
        LogisticRegression(),
        MLPClassifier(max_iter=100, dtype="auto"),
        ConvNetClassifier((4,), hidden_layer_sizes=(16,), max_iter=150, dtype="auto"),
    ],
    expected_failed_checks=online_rule_has_no_weights,
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@parametrize_with_checks(
    [
        MLPClassifier(max_iter=100),
        ConvNetClassifier((4,), hidden_layer_sizes=(16,), max_iter=150),
        ConvNetClassifier(max_iter=15),
    ]
)
def test_scikit_learns_checks_in_float32(estimator, check):
    if check.func.__name__ in WITHIN_1E_7:
        pytest.skip("compares to 1e-7, less than float32 rounds; done with dtype='auto'")
    check(estimator)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("network", [MLPClassifier, ConvNetClassifier], ids=lambda c: c.__name__)
def test_a_weight_is_a_repetition_in_float32(network, solver, digits):
    X, y = digits[0][:60], digits[1][:60]
    weight = np.arange(60) % 3
    clf = clone(QUICK[network]).set_params(solver=solver, batch_size=60, tol=0)
    weighted = clone(clf).fit(X, y, sample_weight=weight).predict_proba(X)
    repeated = clf.set_params(batch_size=int(weight.sum()))
    repeated.fit(X.repeat(weight, axis=0), y.repeat(weight))
    np.testing.assert_allclose(repeated.predict_proba(X), weighted, rtol=1e-4)


def parameters_of(function):
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@each_peer
def test_signatures_begin_as_scikit_learns(ours):
    """Constructor and methods: names, defaults, their order, and what may be given by position."""
    if RELEASE >= (1, 9):
        theirs = parameters_of(PEERS[ours])
        assert parameters_of(ours)[: len(theirs)] == theirs
    names = set(inspect.signature(PEERS[ours]).parameters) - set(inspect.signature(ours).parameters)
    assert names <= {"multi_class"}  # gone from LogisticRegression since 1.8
    # before 1.7 scikit-learn's networks knew no weights
    methods = {"predict", "score"} | ({"fit", "partial_fit"} if RELEASE >= (1, 7) else set())
    for method in methods & set(dir(PEERS[ours])):
        theirs = parameters_of(getattr(PEERS[ours], method))
        assert parameters_of(getattr(ours, method))[: len(theirs)] == theirs, method


@each_peer
def test_fitted_attributes_and_methods_are_scikit_learns(ours, digits):
    X, y = digits
    fitted = {name for name in dir(PEERS[ours](max_iter=3).fit(X, y)) if name[0] != "_"}
    beyond = {
        "average", "epsilon", "loss", "loss_function_", "multi_class",  # SGD's, or gone
        "loss_functions", "C",
    }  # fmt: skip
    missing = fitted - set(dir(clone(QUICK[ours]).fit(X, y))) - beyond
    assert not missing


@each
def test_refit_and_pickle_and_processes_give_the_same_bits(estimator, digits):
    X, y = digits
    fitted = clone(estimator).fit(X, y)
    expected = fitted.predict(X)
    scores = "predict_proba" if hasattr(fitted, "predict_proba") else "decision_function"
    copies = [clone(estimator).fit(X, y), pickle.loads(pickle.dumps(fitted))]
    for copy in copies:
        np.testing.assert_array_equal(getattr(copy, scores)(X), getattr(fitted, scores)(X))
    in_processes = joblib.Parallel(2)(joblib.delayed(fitted.predict)(X) for _ in range(2))
    for predicted in in_processes:
        np.testing.assert_array_equal(predicted, expected)


@pytest.mark.parametrize("network", [MLPClassifier, ConvNetClassifier], ids=lambda c: c.__name__)
def test_partial_fit_goes_on_after_a_pickle(network, digits):
    X, y = digits
    clf = clone(QUICK[network]).partial_fit(X, y, classes=range(10))
    copy = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(
        copy.partial_fit(X, y).predict_proba(X), clf.partial_fit(X, y).predict_proba(X)
    )


@each
@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_data_frames_have_names(estimator, frame, digits):
    X, y = digits
    names = [f"pixel {i}" for i in range(64)]
    if RELEASE < (1, 7) and frame is pl.DataFrame:
        pytest.skip("feature names of polars came later")
    clf = clone(estimator).fit(frame(dict(zip(names, X.T, strict=True))), y)
    assert list(clf.feature_names_in_) == names
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        predicted = clf.predict(X)
    np.testing.assert_array_equal(clone(estimator).fit(X, y).predict(X), predicted)
    with pytest.raises(ValueError, match="feature names should match"):
        clf.predict(frame(dict(zip(names[::-1], X.T, strict=True))))


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csc_array, sp.coo_array])
@pytest.mark.parametrize("ours", PEERS, ids=lambda c: c.__name__)
def test_sparse_input_gives_what_dense_gives(ours, kind, digits):
    X, y = digits
    # with an intercept the perceptron's rule is another one for sparse data, as in scikit-learn
    options = {"fit_intercept": False} if ours is Perceptron else {}
    clf = clone(QUICK[ours]).set_params(**options)
    if ours is MLPClassifier:
        clf.set_params(dtype="float64")
    dense, sparse = clone(clf).fit(X, y), clone(clf).fit(kind(X), y)
    np.testing.assert_array_equal(sparse.predict(kind(X)), dense.predict(X))
    np.testing.assert_array_equal(sparse.predict(X), dense.predict(X))


def test_images_are_not_sparse(digits):
    X, y = digits
    with pytest.raises(TypeError, match="Sparse data was passed"):
        ConvNetClassifier().fit(sp.csr_matrix(X), y)


@each
def test_device_says_what_to_install(estimator, digits):
    X, y = digits
    clf = clone(estimator)
    with pytest.raises(ValueError, match="Unknown device 'gpu': expected 'auto', 'cpu', 'cuda'"):
        clf.set_params(device="gpu").fit(X, y)
    with pytest.raises((ImportError, RuntimeError), match="pip install 'cukernels|no NVIDIA GPU"):
        clf.set_params(device="cuda:7").fit(X, y)
    expected = clone(estimator).fit(X, y).predict(X)
    np.testing.assert_array_equal(clf.set_params(device="cpu").fit(X, y).predict(X), expected)


@pytest.mark.skipif(RELEASE < (1, 7), reason="pipelines did not route to score yet")
@each
def test_weights_are_routed(estimator, digits):
    X, y = digits
    weight = np.where(y == 0, 0.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        clf = clone(estimator).set_fit_request(sample_weight=True)
        clf.set_score_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        model = make_pipeline(scaler, clf)
        search = GridSearchCV(model, {}, cv=2, error_score="raise")
        search.fit(X, y, sample_weight=weight)
    assert (search.predict(X) == 0).mean() < 0.05  # the zeros weigh nothing: they are not learned


@each
def test_summary_of_parameters(estimator):
    assert type(estimator).__name__ in repr(estimator)
    assert type(estimator).__name__ in estimator._repr_html_()
