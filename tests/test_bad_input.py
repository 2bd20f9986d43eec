"""Bad input is named, and the estimator can be used afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.utils._param_validation import StrOptions

from _estimators import LEARNERS, NETWORKS, one_each, with_known
from cukernels.activations.activations import ACTIVATIONS
from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier, Perceptron
from estimators.training.optimizers import SOLVERS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SHORT = {"max_iter": 5, "random_state": 0, "conv_layer_sizes": (2,), "hidden_layer_sizes": (8,)}
ESTIMATORS = [with_known(cls, **SHORT) for cls in LEARNERS]
each = one_each(ESTIMATORS)
each_linear = one_each([e for e in ESTIMATORS if type(e) not in NETWORKS])
each_network = one_each([e for e in ESTIMATORS if type(e) in NETWORKS])

X, Y = (a[:120] for a in load_digits(return_X_y=True))
X = X / 16


def with_one(value):
    changed = X.copy()
    changed[3, 5] = value
    return changed


def assert_refuses(estimator, message, X=X, y=Y, error=ValueError, **arguments):
    """A new estimator refuses, and so does a fitted one; both fit good data afterwards."""
    expected = clone(estimator).fit(globals()["X"], Y).predict(globals()["X"])
    for clf in (clone(estimator), clone(estimator).fit(globals()["X"], Y)):
        with pytest.raises(error, match=message):
            clf.fit(X, y, **arguments)
        again = clf.fit(globals()["X"], Y).predict(globals()["X"])
        np.testing.assert_array_equal(again, expected)


@each
@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "Input X contains NaN"), (np.inf, "Input X contains infinity")],
)
def test_not_finite(estimator, value, message):
    assert_refuses(estimator, message, with_one(value))
    fitted = clone(estimator).fit(X, Y)
    with pytest.raises(ValueError, match=message):
        fitted.predict(with_one(value))
    assert fitted.predict(X).shape == Y.shape


@each_network
def test_too_large_for_float32(estimator):
    message = r"Input X contains infinity or a value too large for dtype\('float32'\)"
    with np.errstate(over="ignore"):
        assert_refuses(estimator, message, with_one(1e300))


@each
@pytest.mark.parametrize("columns", [63, 1])
def test_another_number_of_features(estimator, columns):
    fitted = clone(estimator).fit(X, Y)
    with pytest.raises(ValueError, match=f"X has {columns} features, but .* is expecting 64"):
        fitted.predict(X[:, :columns])
    assert fitted.predict(X).shape == Y.shape


@each
@pytest.mark.parametrize(
    ("samples", "labels", "message"),
    [
        (X[:0], Y[:0], r"Found array with 0 sample\(s\)"),
        (X[:, :0], Y, r"Found array with 0 feature\(s\)"),
        (X, Y[:-1], "inconsistent numbers of samples"),
        (X[0], Y[:64], "Expected 2D array, got 1D array instead"),
        (X, np.linspace(0, 1, len(Y)), "Unknown label type: continuous"),
        (X, None, "requires y to be passed"),
        (np.full(X.shape, "pixel"), Y, "could not convert string to float|dtype='numeric'"),
        (np.full(X.shape, {}, dtype=object), Y, r"float\(\) argument must be"),
    ],
    ids=["no sample", "no feature", "lengths", "1-D", "numbers as labels", "no y",
         "strings", "objects"],
)  # fmt: skip
def test_samples_and_labels(estimator, samples, labels, message):
    error = (ValueError, TypeError)
    assert_refuses(estimator, message, samples, labels, error)


@each_linear
def test_one_class(estimator):
    assert_refuses(estimator, "class", y=np.zeros(len(Y)))


@each
def test_weights(estimator):
    assert_refuses(estimator, "sample_weight", sample_weight=np.ones(3))
    assert_refuses(estimator, "[Ss]ample.weight", sample_weight=np.zeros(len(Y)))


@each
def test_objects_that_are_numbers_and_string_labels_are_fine(estimator):
    names = np.char.add("digit ", Y.astype(str))
    expected = np.char.add("digit ", clone(estimator).fit(X, Y).predict(X).astype(str))
    for labels in (names, names.astype(object)):
        clf = clone(estimator).fit(X.astype(object), labels)
        assert list(clf.classes_) == sorted(set(names))
        np.testing.assert_array_equal(clf.predict(X), expected)


NAMES = {
    Perceptron: {
        "penalty": ["elasticnet", "l1", "l2"],
        "multi_class": ["multinomial", "ovr"],
        "learning_rate": ["constant", "invscaling"],
        "class_weight": ["balanced"],
    },
    LogisticRegression: {
        "solver": ["lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga"],
        "loss": ["log_loss", "squared_error"],
        "class_weight": ["balanced"],
        "verbose": ["bar"],
    },
    MLPClassifier: {
        "activation": list(ACTIVATIONS),
        "solver": sorted(SOLVERS),
        "learning_rate": ["adaptive", "constant", "cosine", "invscaling", "one_cycle"],
        "loss": ["log_loss", "squared_error"],
        "class_weight": ["balanced"],
        "verbose": ["bar"],
        "dtype": ["auto", "float32", "float64"],
        "batch_size": ["auto"],
    },
}
NAMES[ConvNetClassifier] = NAMES[MLPClassifier] | {
    "pooling": ["avg", "max"],
    "padding": ["same", "valid"],
}


@each
def test_every_parameter_of_names_is_tried(estimator):
    takes_names = {
        name
        for name, constraints in estimator._parameter_constraints.items()
        if any(isinstance(c, StrOptions) for c in constraints)
    }
    # "device" is not one of a list; scikit-learn has deprecated `penalty` of LogisticRegression
    assert takes_names == set(NAMES[type(estimator)]) | (
        {"penalty"} if isinstance(estimator, LogisticRegression) else set()
    )


@pytest.mark.parametrize(
    ("estimator", "name", "known"),
    [
        pytest.param(e, name, known, id=f"{type(e).__name__}-{name}")
        for e in ESTIMATORS
        for name, known in NAMES[type(e)].items()
    ],
)
def test_an_unknown_name_lists_the_known_ones(estimator, name, known):
    clf = clone(estimator).set_params(**{name: "unheard-of"})
    with pytest.raises(ValueError, match=f"The '{name}' parameter of .*'unheard-of'") as error:
        clf.fit(X, Y)
    assert all(f"'{word}'" in str(error.value) for word in known)
    assert clf.set_params(**{name: getattr(estimator, name)}).fit(X, Y).score(X, Y) > 0


@each_network
def test_an_unknown_activation_in_a_list_lists_the_known_ones(estimator):
    n_layers = 1 if isinstance(estimator, MLPClassifier) else 2
    clf = clone(estimator).set_params(activation=["relu"] * (n_layers - 1) + ["rely"])
    with pytest.raises(ValueError, match="Unknown activation 'rely': expected one of .*'relu'"):
        clf.fit(X, Y)
    with pytest.raises(ValueError, match="activation names 3 functions for"):
        clf.set_params(activation=["relu"] * 3).fit(X, Y)


@pytest.mark.parametrize(
    ("estimator", "name", "value"),
    [
        pytest.param(e, name, value, id=f"{type(e).__name__}-{name}")
        for e in ESTIMATORS
        for name, value in {
            "max_iter": -1, "tol": -1e-3, "alpha": -1.0, "eta0": 0.0, "C": -1.0, "verbose": -1,
            "batch_size": 0, "learning_rate_init": 0.0, "momentum": 1.5, "beta_1": 1.0,
            "epsilon": 0.0, "validation_fraction": 1.5, "n_iter_no_change": 0, "max_fun": 0,
            "dropout": 1.0, "power_t": -0.5, "kernel_size": -3, "pool_size": 0, "stride": 0,
            "padding": -1, "batch_norm": "yes", "shuffle": "yes",
        }.items()
        if name in e.get_params()
    ],
)  # fmt: skip
def test_a_number_out_of_range(estimator, name, value):
    clf = clone(estimator).set_params(**{name: value})
    with pytest.raises(ValueError, match=f"The '{name}' parameter of {type(estimator).__name__}"):
        clf.fit(X, Y)
    assert clf.set_params(**{name: getattr(estimator, name)}).fit(X, Y).score(X, Y) > 0


@each_network
def test_negative_layer_sizes(estimator):
    assert_refuses_parameters(
        estimator, "hidden_layer_sizes must be > 0", hidden_layer_sizes=(4, -4)
    )


def assert_refuses_parameters(estimator, message, **parameters):
    clf = clone(estimator).set_params(**parameters)
    with pytest.raises(ValueError, match=message):
        clf.fit(X, Y)
    usual = {name: getattr(estimator, name) for name in parameters}
    assert clf.set_params(**usual).fit(X, Y).score(X, Y) > 0


@each_network
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_learning_rate_that_diverges(estimator, solver, dtype):
    assert_refuses_parameters(
        estimator,
        "Solver produced non-finite parameter weights.*or learning_rate_init is too high",
        solver=solver,
        learning_rate_init=1e200 if dtype == "float64" else 1e30,
        activation="identity",
        dtype=dtype,
        max_iter=50,
    )


@each_network
@pytest.mark.parametrize("method", ["partial_fit", "fit"])
def test_a_batch_that_diverges_leaves_what_was_trained(estimator, method):
    settings = {"solver": "sgd", "activation": "identity", "warm_start": True, "batch_size": 20}
    clf, expected = (clone(estimator).set_params(**settings).fit(X, Y) for _ in range(2))
    with pytest.raises(ValueError, match="non-finite"):
        getattr(clf, method)(X * 1e30, Y)
    np.testing.assert_array_equal(clf.predict(X), expected.predict(X))
    for each in (clf, expected):
        getattr(each, method)(X, Y)
    assert clf.loss_curve_ == expected.loss_curve_
    np.testing.assert_array_equal(clf.predict_proba(X), expected.predict_proba(X))


@each_network
def test_a_validation_set_is_checked_too(estimator):
    assert_refuses(estimator, "X_val and y_val belong together", X_val=X)
    assert_refuses(estimator, "features", X_val=X[:, :60], y_val=Y)
    assert_refuses(estimator, "NaN", X_val=with_one(np.nan), y_val=Y)


@each_network
def test_partial_fit_needs_its_classes(estimator):
    clf = clone(estimator)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        clf.partial_fit(X, Y)
    clf.partial_fit(X, Y % 3, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="`y` has classes not in `self.classes_`"):
        clf.partial_fit(X, Y)
    with pytest.raises(AttributeError, match="partial_fit"):
        clf.set_params(solver="lbfgs").partial_fit  # noqa: B018


@one_each([e for e in ESTIMATORS if hasattr(e, "partial_fit")])
def test_partial_fit_cannot_balance_what_it_has_not_seen(estimator):
    clf = clone(estimator).set_params(class_weight="balanced")
    with pytest.raises(
        ValueError, match="class_weight 'balanced' is not supported for partial_fit"
    ):
        clf.partial_fit(X, Y, classes=range(10))
    assert clf.set_params(class_weight=None).partial_fit(X, Y, classes=range(10)).score(X, Y) > 0
