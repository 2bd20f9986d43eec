"""What scikit-learn's users take for granted of an estimator, on all of them."""

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
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from _estimators import ESTIMATORS, LEARNERS, NETWORKS, one_each, with_known
from _requirements import RELEASE
from estimators import (
    ConvNetClassifier,
    FilterBankTransformer,
    LogisticRegression,
    MLPClassifier,
    NearestNeighborClassifier,
    Perceptron,
    VisualWordsTransformer,
)
from estimators.convert import to_sklearn
from estimators.training.optimizers import STEPPED

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_layer_sizes": (16,), "conv_layer_sizes": (4,), "max_iter": 10, "random_state": 0}
SMALL |= {"n_words": 5, "n_channels": 16}
QUICK = {cls: with_known(cls, **SMALL) for cls in ESTIMATORS}
PEERS = {
    Perceptron: linear_model.Perceptron,
    LogisticRegression: linear_model.LogisticRegression,
    MLPClassifier: neural_network.MLPClassifier,
}
each = one_each(list(QUICK.values()))
each_learner = one_each([QUICK[cls] for cls in LEARNERS])
each_network = pytest.mark.parametrize("network", NETWORKS, ids=lambda c: c.__name__)
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


CHECKED = [
    Perceptron(),
    LogisticRegression(),
    MLPClassifier(max_iter=100, dtype="auto"),
    ConvNetClassifier((4,), hidden_layer_sizes=(16,), max_iter=150, dtype="auto"),
    NearestNeighborClassifier(),
    FilterBankTransformer(),
    VisualWordsTransformer(4, n_channels=1, random_state=0),  # its data have no 38 channels
]
assert {type(estimator) for estimator in CHECKED} == set(ESTIMATORS)


@parametrize_with_checks(CHECKED, expected_failed_checks=online_rule_has_no_weights)
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


@pytest.mark.parametrize("solver", STEPPED)
@each_network
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


def answers(fitted, X):
    """What an estimator says of samples, in its finest numbers."""
    for method in ("transform", "predict_proba", "decision_function", "predict"):
        if hasattr(fitted, method):
            return getattr(fitted, method)(X)
    raise AssertionError(f"{fitted} says nothing")


@each
def test_refit_and_pickle_and_processes_give_the_same_bits(estimator, digits):
    X, y = digits
    fitted = clone(estimator).fit(X, y)
    expected = answers(fitted, X)
    copies = [clone(estimator).fit(X, y), pickle.loads(pickle.dumps(fitted))]
    for copy in copies:
        np.testing.assert_array_equal(answers(copy, X), expected)
    ask = fitted.predict if hasattr(fitted, "predict") else fitted.transform
    in_processes = joblib.Parallel(2)(joblib.delayed(ask)(X) for _ in range(2))
    for answered in in_processes:
        np.testing.assert_array_equal(answered, ask(X))


@each_network
def test_partial_fit_goes_on_after_a_pickle(network, digits):
    X, y = digits
    clf = clone(QUICK[network]).partial_fit(X, y, classes=range(10))
    copy = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(
        copy.partial_fit(X, y).predict_proba(X), clf.partial_fit(X, y).predict_proba(X)
    )


HANDS = {
    "two": ([[1.0, -2.0, 0.5]], [0.25], np.array(["no", "yes"])),
    "two, as numbers": (np.array([[1, -2, 3]]), 1.5, np.array([3, 7])),
    "three": ([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]], [0.0, 0.1, 0.2], np.array([0, 1, 2])),
    "float32, one row": (np.float32([0.5, 1, 2]), np.float32([0.5]), np.array(["a", "b"])),
    "sparse": (sp.csr_matrix([[1.0, 0, 2], [0, 3, 0], [0, 0, 1]]), np.zeros(3), np.arange(3)),
}


@pytest.mark.parametrize("hand", HANDS)
@pytest.mark.parametrize(
    "kind", [np.asarray, sp.csr_matrix, pd.DataFrame], ids=lambda k: k.__name__
)
@pytest.mark.parametrize("ours", [Perceptron, LogisticRegression], ids=lambda c: c.__name__)
def test_weights_set_by_hand_are_enough(ours, kind, hand):
    """An estimator that was never fitted, but for its weights and labels, works as there."""
    coef, intercept, classes = HANDS[hand]
    coef = coef if sp.issparse(coef) else np.array(coef)
    X = np.random.default_rng(0).standard_normal((20, 3))
    models = [cls() for cls in (ours, PEERS[ours])]
    for model in models:
        model.coef_, model.intercept_ = coef.copy(), intercept
        model.classes_ = classes
    X, y = kind(X), models[1].predict(X)
    models += [pickle.loads(pickle.dumps(models[0])), to_sklearn(models[0])]
    for own in models[:1] + models[2:]:
        for method in ("predict", "decision_function", "predict_proba", "predict_log_proba"):
            if hasattr(models[1], method):
                got, expected = (getattr(model, method)(X) for model in (own, models[1]))
                assert got.shape == expected.shape
                if method == "predict":
                    np.testing.assert_array_equal(got, expected)
                else:
                    rtol = 1e-5 if coef.dtype == np.float32 else 1e-12
                    np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol)
        assert own.score(X, y) == 1
    if coef.ndim == 2:
        for change in ("sparsify", "densify"):
            getattr(models[0], change)()
            assert sp.issparse(models[0].coef_) == (change == "sparsify")
            np.testing.assert_array_equal(models[0].predict(X), y)
    with pytest.raises(ValueError, match=f"X has 2 features, but {ours.__name__} is expecting 3"):
        models[0].predict(np.ones((2, 2)))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_perceptron_goes_on_from_weights_set_by_hand(n_classes, digits):
    X, y = digits[0], digits[1] % n_classes
    rows = 1 if n_classes == 2 else n_classes
    models = [cls() for cls in (Perceptron, linear_model.Perceptron)]
    for model in models:
        model.coef_, model.intercept_ = np.ones((rows, 64)), np.ones(rows)
        model.classes_ = np.arange(n_classes)
        model.partial_fit(X, y)
    np.testing.assert_array_equal(models[0].coef_, models[1].coef_)
    np.testing.assert_array_equal(models[0].intercept_, models[1].intercept_)
    assert models[0].t_ == models[1].t_


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
        answered = answers(clf, X)
    np.testing.assert_array_equal(answers(clone(estimator).fit(X, y), X), answered)
    with pytest.raises(ValueError, match="feature names should match"):
        answers(clf, frame(dict(zip(names[::-1], X.T, strict=True))))


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
    expected = answers(clone(estimator).fit(X, y), X)
    np.testing.assert_array_equal(answers(clf.set_params(device="cpu").fit(X, y), X), expected)


@pytest.mark.skipif(RELEASE < (1, 7), reason="pipelines did not route to score yet")
@each_learner
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


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_parameters_are_read_as_by_scikit_learn(cls):
    """Also those of a subclass, and of an estimator that is a parameter."""

    class Wider(cls):
        def __init__(self, a=1, inner=None, device="cpu"):
            super().__init__(device=device)
            self.a, self.inner = a, inner

    for model in (cls(), Wider(), cls(device="cuda"), Wider(inner=Perceptron()), Wider(2)):
        for deep in (True, False):
            expected = BaseEstimator.get_params(model, deep)
            assert list(model.get_params(deep)) == list(expected)
            assert all(model.get_params(deep)[name] is expected[name] for name in expected)
    assert Wider(inner=Perceptron()).set_params(inner__alpha=2.0).inner.alpha == 2.0
