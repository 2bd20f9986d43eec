"""What `LogisticRegression` refuses and warns of, in scikit-learn's words."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
import sklearn.linear_model
from sklearn.exceptions import ConvergenceWarning

from _logistic import peer, same_wording, samples, takes
from estimators.logistic import LogisticRegression

BAD = {
    "unknown solver": ({"solver": "adam"}, {}),
    "C of 0": ({"C": 0}, {}),
    "negative tol": ({"tol": -1.0}, {}),
    "l1_ratio beyond 1": ({"l1_ratio": 1.5}, {}),
    "max_iter no number": ({"max_iter": "many"}, {}),
    "class_weight no dict": ({"class_weight": "fair"}, {}),
    "class_weight of strangers": ({"class_weight": {7: 1.0}}, {}),
    "l1 with lbfgs": ({"l1_ratio": 1}, {}),
    "elastic net with lbfgs": ({"l1_ratio": 0.5}, {}),
    "elastic net with liblinear": ({"l1_ratio": 0.5, "solver": "liblinear"}, {}),
    "no penalty with liblinear": ({"C": np.inf, "solver": "liblinear"}, {}),
    "dual with sag": ({"dual": True, "solver": "sag"}, {}),
    "dual with l1": ({"dual": True, "solver": "liblinear", "l1_ratio": 1}, {}),
    "penalty=l1": ({"penalty": "l1", "solver": "saga"}, {}),
    "penalty=l2": ({"penalty": "l2", "l1_ratio": 1}, {}),
    "penalty=None": ({"penalty": None, "C": 2.0}, {}),
    "penalty=elasticnet": ({"penalty": "elasticnet", "solver": "saga", "l1_ratio": None}, {}),
    "l1_ratio=None": ({"l1_ratio": None}, {}),
    "n_jobs": ({"n_jobs": 2}, {}),
    "NaN": ({}, {"X": [[np.nan], [1.0], [2.0]]}),
    "infinity": ({}, {"X": [[np.inf], [1.0], [2.0]]}),
    "one class": ({}, {"y": [1, 1, 1]}),
    "empty": ({}, {"X": np.empty((0, 2)), "y": []}),
    "no features": ({}, {"X": np.empty((3, 0))}),
    "one dimension": ({}, {"X": [1.0, 2.0, 3.0]}),
    "fewer labels": ({}, {"y": [0, 1]}),
    "continuous labels": ({}, {"y": [0.1, 0.2, 0.3]}),
    "weights of another length": ({}, {"sample_weight": [1.0, 2.0]}),
    "text": ({}, {"X": [["a"], ["b"], ["c"]]}),
    "huge, liblinear": ({"solver": "liblinear"}, {"X": [[1e31], [1.0], [2.0]], "y": [0, 1, 1]}),
}


def outcome(estimator, data):
    """The types and texts of all warnings, and of the error if there is one."""
    inputs = {"X": [[0.0], [1.0], [2.0]], "y": [0, 1, 0]} | data
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator.fit(**inputs)
            error = None
        except Exception as raised:
            # a message lists the known names in any order
            error = type(raised), sorted(re.findall(r"[\w'-]+", str(raised)))
    seen = [(w.category, str(w.message)) for w in caught]
    return [w for w in seen if w[0] is not ConvergenceWarning], error


@same_wording
@pytest.mark.parametrize("case", BAD)
def test_errors_and_warnings_are_those_of_scikit_learn(case):
    parameters, data = BAD[case]
    model = LogisticRegression(**parameters)
    ours, theirs = outcome(model, data), outcome(peer(**parameters), data)
    assert ours[0] or ours[1]
    assert ours == theirs
    X, y, _ = samples(2)
    model.set_params(**LogisticRegression().get_params()).fit(X, y)  # none the worse for it


@pytest.mark.filterwarnings("ignore:.*penalty")
def test_the_deprecated_penalty_still_decides():
    X, y, _ = samples(2)
    for old, new in (
        ({"penalty": None, "C": 2.0}, {"C": np.inf}),
        ({"penalty": "l1", "l1_ratio": 1}, {"l1_ratio": 1}),
        ({"penalty": "l2"}, {"l1_ratio": 0}),
        ({"penalty": "elasticnet", "l1_ratio": 0.3}, {"l1_ratio": 0.3}),
    ):
        expected = LogisticRegression(solver="saga", **new).fit(X, y).coef_
        found = LogisticRegression(solver="saga", **old).fit(X, y).coef_
        np.testing.assert_array_equal(found, expected)


LOGISTIC = [
    *({"solver": solver} for solver in ("lbfgs", "newton-cg", "newton-cholesky", "sag", "saga")),
    {"solver": "saga", "l1_ratio": 1.0},
    {"solver": "saga", "l1_ratio": 0.5},
    {"solver": "liblinear"},
    {"solver": "liblinear", "l1_ratio": 1.0},
    {"loss": "squared_error"},
]


@pytest.mark.parametrize("parameters", LOGISTIC, ids=str)
def test_weights_without_a_positive_sum(parameters):
    X, y, _ = samples(2)
    nothing = "Sample weights must contain at least one non-zero number"  # scikit-learn's words
    one = np.bincount(y)
    for class_weight, sample_weight, message in (
        (None, np.zeros(80), nothing),
        ("balanced", np.zeros(80), nothing),
        ({0: 0, 1: 0}, None, nothing),
        ({0: 1, 1: 0}, (y == 1) * 1.0, nothing),
        ({0: one[1], 1: -one[0]}, None, "sum to 0"),
        (None, np.where(y == 0, one[1], -one[0]) * 0.1, "sum to 0"),
        ({0: -1, 1: -1}, None, "sum to a negative number"),
        ({0: 1e300, 1: 1e300}, np.full(80, 1e300), "too large for dtype"),
        (None, np.full(80, 1e-320), "not finite for C=1 and weights that sum to"),
    ):
        model = LogisticRegression(class_weight=class_weight, **parameters)
        with pytest.raises(ValueError, match=message):
            model.fit(X, y, sample_weight)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "dtype, scale", [("float64", 1e160), ("float64", 1e308), ("float32", 1e38)]
)
@pytest.mark.parametrize("parameters", LOGISTIC, ids=str)
def test_values_that_cannot_be_squared(parameters, dtype, scale, n_classes, kind):
    """A warning in words, or an error, and none of floating-point arithmetic."""
    if not takes(parameters.get("solver"), n_classes):
        return
    X, y, _ = samples(n_classes)
    X = (X / abs(X).max() * scale).astype(dtype)
    X = sp.csr_matrix(X) if kind == "sparse" else X
    model = LogisticRegression(**parameters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if parameters.get("solver") == "liblinear":
            with pytest.raises(ValueError, match="X contains a maximum value > 1e30"):
                model.fit(X, y)
            return
        model.fit(X, y)
        model.predict_proba(X)
        model.predict_log_proba(X)
    texts = [str(w.message) for w in caught if issubclass(w.category, ConvergenceWarning)]
    assert not [w for w in caught if issubclass(w.category, RuntimeWarning)]
    assert np.isfinite(model.coef_).all()
    # where float32 can be multiplied by its inverse, some solvers find the minimum all the same
    assert texts or model.score(X, y) > 0.5
    if texts and parameters.get("solver", "lbfgs") != "lbfgs":
        assert "Floating-point under-/overflow occurred at iteration #1. Scaling" in texts[0]
    LogisticRegression(**parameters).fit(*samples(n_classes)[:2])


@same_wording
def test_three_classes_with_liblinear():
    X, y, _ = samples(3)
    with pytest.raises(ValueError) as theirs:
        peer(solver="liblinear").fit(X, y)
    with pytest.raises(ValueError) as ours:
        LogisticRegression(solver="liblinear").fit(X, y)
    assert str(ours.value).startswith(str(theirs.value))


@same_wording
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "newton-cholesky", "liblinear", "saga"])
def test_too_few_iterations_warn_in_the_words_of_scikit_learn(solver):
    X, y, _ = samples(2)
    texts = []
    for model in (LogisticRegression, sklearn.linear_model.LogisticRegression):
        with pytest.warns(ConvergenceWarning) as caught:
            model(solver=solver, max_iter=1, tol=1e-12).fit(X, y)
        texts.append(str(caught[0].message))
    ours, theirs = texts
    if solver == "newton-cg":  # names the loss, which depends on the path
        ours, theirs = (text.replace(text.split()[7], "") for text in texts)
    assert ours == theirs


def test_parameters_that_scikit_learn_does_not_have():
    X, y, _ = samples(2)
    with pytest.raises(ValueError, match="'squared_error'"):
        LogisticRegression(loss="hinge").fit(X, y)
    with pytest.raises(ValueError, match="only by solver='lbfgs', got solver='sag'"):
        LogisticRegression(loss="squared_error", solver="sag").fit(X, y)
    with pytest.raises(ValueError, match="Unknown device 'tpu'"):
        LogisticRegression(device="tpu").fit(X, y)
    model = LogisticRegression().fit(X, y)
    with pytest.raises(ValueError, match="X has 3 features, but LogisticRegression is expecting 4"):
        model.predict(X[:, :3])
