"""Estimators with parameters and data that are not what they should be.

Every call works, or raises a ValueError or TypeError in words, and the estimator can be used
afterwards. Values are tried for every parameter that has constraints, so a new one is tried too.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval

from _estimators import LEARNERS, NETWORKS, one_each, with_known
from _malformed import complaint
from estimators import MLPClassifier
from estimators.training.optimizers import SOLVERS

pytestmark = pytest.mark.filterwarnings("ignore")

SHORT = {"max_iter": 2, "random_state": 0, "conv_layer_sizes": (2,), "hidden_layer_sizes": (3,)}
ESTIMATORS = [with_known(cls, **SHORT) for cls in LEARNERS]
each = one_each(ESTIMATORS)
each_network = one_each([e for e in ESTIMATORS if type(e) in NETWORKS])

X = np.random.default_rng(0).random((24, 16))
Y = np.arange(24) % 3

THINGS: list[Any] = [
    None, True, False, np.True_, -1, 0, 1, 2.5, -0.0, 1e-300, 1e300, 10**20, 10**30, 10**400,
    -(10**400), np.nan, np.inf, -np.inf, 1j, np.float32(0.5), np.int64(3), np.uint8(2),
    np.array(3), np.array(2.5), np.array([2.5]), np.array(["a"]), np.array(None), np.array([]),
    "", "x", b"x", "relu", "nan", (), [], {}, set(), frozenset({1}), {1}, (None,), ("a",), (1, "a"),
    (1, (2, 3)), [[1, 2]], [[]], [np.array([1, 2])], (1, 2, 3), (-1,), (0,), (2.5,), (True,),
    (np.nan,), (10**20,), (10**400,), {"a": 1}, {0: -1}, {0: "a"}, {0: np.nan}, {0: None}, {7: 1},
    {0: [1]}, {None: 1}, object(), NotImplemented, range(2), slice(2), pd.NA,
    np.datetime64("2020"), pd.Series([1, 2]), sp.eye(2, format="csr"),
]  # fmt: skip
ZERO_OR_CANCELLING = [dict.fromkeys(range(3), 0), {0: 1, 1: -1, 2: 0}, {0: -1, 1: -1, 2: -1}]
LONG = ("max_iter", "max_fun", "n_iter_no_change")  # a large number of these is fine, and slow


def values_of(estimator, name: str) -> Iterator[Any]:
    """What to set a parameter to: all kinds of things, and numbers around its limits."""
    yield from THINGS
    if name == "class_weight":
        yield from ZERO_OR_CANCELLING
    for constraint in estimator._parameter_constraints[name]:
        if isinstance(constraint, Interval):
            for limit in (constraint.left, constraint.right):
                if limit is not None:
                    yield from (limit, limit - 1, limit + 1, limit + 1e-9, np.float16(limit))


def told(calls: Iterator[tuple[Any, Any]]) -> list[str]:
    return [f"{what!r:.60}: {why}" for what, call in calls if (why := complaint(call))]


@pytest.mark.parametrize(
    ("estimator", "name"),
    [
        pytest.param(estimator, name, id=f"{type(estimator).__name__}-{name}")
        for estimator in ESTIMATORS
        for name in estimator._parameter_constraints
        if name != "verbose"
    ],
)
def test_parameters(estimator, name):
    clf = clone(estimator)

    def calls() -> Iterator[tuple[Any, Any]]:
        for value in values_of(estimator, name):
            if not (name in LONG and isinstance(value, int | float) and value > 100):
                clf.set_params(**{name: value})
                yield value, lambda: clf.fit(X, Y)

    assert not (why := told(calls())), "\n".join(why)
    clf.set_params(**{name: getattr(estimator, name)})
    assert_usable(estimator, clf)


SAMPLES: dict[str, Any] = {
    "nothing": None,
    "a number": 3,
    "text": "pixels",
    "numbers as text": X.astype(str).tolist(),
    "words": [["a"] * 16] * 24,
    "a dictionary": {"X": X},
    "a set": set(range(24)),
    "0-d": np.array(2.0),
    "1-D": X[0],
    "3-D": X.reshape(24, 4, 4),
    "5-D": X.reshape(24, 2, 2, 2, 2),
    "no rows": X[:0],
    "no columns": X[:, :0],
    "one row": X[:1],
    "a column less": X[:, :15],
    "a row less": X[:-1],
    "ragged": [[1.0] * (i + 1) for i in range(24)],
    "NaN": np.where(X < 0.9, X, np.nan),
    "infinity": np.where(X < 0.9, X, np.inf),
    "complex": X * 1j,
    "objects": np.full(X.shape, object()),
    "None in it": np.where(X < 0.9, X, None),
    "dates": np.full(X.shape, np.datetime64("2020")),
    "structured": np.zeros(24, [("a", float)]),
    "booleans": X > 0.5,
    "bytes": (255 * X).astype(np.uint8),
    "half": X.astype(np.float16),
    "1e30": X * 1e30,
    "1e160": X * 1e160,
    "1e308": X * 1e308,
    "1e-310": X * 1e-310,
    "masked": np.ma.masked_array(X, X > 0.9),
    "read-only": np.broadcast_to(X[:1], X.shape),
    "sparse": sp.csr_array(X),
    "sparse COO": sp.coo_array(X),
    "sparse of NaN": sp.csr_array(np.where(X < 0.9, X, np.nan)),
    "sparse that points outside": sp.csr_array(X),
    "frame with NA": pd.DataFrame(X).astype("Float64").mask(X > 0.9),
    "frame of categories": pd.DataFrame(X).astype("category"),
    "frame of mixed names": pd.DataFrame(X, columns=["a", *range(15)]),
}
LABELS: dict[str, Any] = {
    "nothing": None,
    "a number": 3,
    "text": "labels",
    "a dictionary": {"y": Y},
    "a set": {0, 1, 2},
    "0-d": np.array(1),
    "one column": Y[:, None],
    "two columns": np.stack([Y, Y], axis=1),
    "3-D": Y[:, None, None],
    "none": Y[:0],
    "one less": Y[:-1],
    "one class": np.zeros(24),
    "indicators": np.eye(3, dtype=int)[Y],
    "indicators of nothing": np.zeros((24, 3), int),
    "fractions": X[:, 0],
    "NaN": np.where(Y == 0, np.nan, Y),
    "infinity": np.where(Y == 0, np.inf, Y),
    "complex": Y * 1j,
    "None in it": np.where(Y == 0, None, Y),
    "mixed": np.where(Y == 0, "a", Y.astype(object)),
    "objects": np.array([object() for _ in Y]),
    "lists": [[0]] * 12 + [[0, 1]] * 12,
    "tuples": [(0, 1)] * 24,
    "bytes": Y.astype("S"),
    "dates": np.datetime64("2020") + Y,
    "booleans": Y > 0,
    "large": Y.astype(object) * 10**400,
    "unsigned": Y.astype(np.uint64) + 2**63,
    "categories": pd.Series(Y).astype("category"),
    "NA": pd.Series(Y).astype("Int64").mask(Y == 0),
    "sparse": sp.csr_array(Y[:, None]),
    "sparse indicators": sp.csr_array(np.eye(3, dtype=int)[Y]),
    "masked": np.ma.masked_array(Y, Y > 1),
}
try:
    np.isin(LABELS["unsigned"], LABELS["unsigned"])  # as scikit-learn does
except OverflowError:
    del LABELS["unsigned"]  # NumPy 2.0 cannot
WEIGHTS: dict[str, Any] = {
    "a number": 2.0,
    "zero": 0,
    "text": "weights",
    "words": ["a"] * 24,
    "a dictionary": {0: 1},
    "a set": {1},
    "0-d": np.array(2.0),
    "2-D": np.ones((24, 1)),
    "one less": np.ones(23),
    "none": [],
    "NaN": np.where(Y == 0, np.nan, 1),
    "infinity": np.where(Y == 0, np.inf, 1),
    "complex": np.full(24, 1j),
    "objects": np.full(24, object()),
    "None in it": np.where(Y == 0, None, 1),
    "zeros": np.zeros(24),
    "negative": -np.ones(24),
    "cancelling": np.where(np.arange(24) < 12, 1, -1),
    "cancelling to rounding": np.where(np.arange(24) < 12, 0.1, -0.1) + 0.3 - 0.3,
    "one": np.eye(24)[0],
    "subnormal": np.full(24, 1e-310),
    "small": np.full(24, 1e-60),
    "1e30": np.full(24, 1e30),
    "1e300": np.full(24, 1e300),
    "booleans": Y > 0,
    "half": np.ones(24, np.float16),
    "sparse": sp.csr_array(np.ones((24, 1))),
}
CLASSES: dict[str, Any] = {
    "nested": [[0, 1]],
    "columns": [[0], [1], [2]],
    "none": [],
    "one": [0],
    "two of three": [0, 1],
    "twice": [0, 1, 1, 2],
    "a number": 3,
    "text": "abc",
    "a set": {0, 1, 2},
    "a dictionary": {0: 1},
    "0-d": np.array(3),
    "NaN": [np.nan, 0, 1],
    "None in it": [None, 0, 1],
    "mixed": ["a", 1, 2],
    "words": ["a", "b", "c"],
    "fractions": [0.5, 1.5],
    "complex": [0, 1, 2j],
    "objects": [object(), object()],
    "dates": np.datetime64("2020") + np.arange(3),
    "unsorted": [2, 0, 1],
    "nothing": None,
    "ragged": [[0], [1, 2]],
    "sparse": sp.csr_array(np.eye(3)),
}


def assert_usable(estimator, clf) -> None:
    """A model that has refused learns what a new one learns."""
    expected = clone(estimator).fit(X, Y).predict(X)
    np.testing.assert_array_equal(clf.fit(X, Y).predict(X), expected)


def cases(estimator, method: str, values: dict[str, Any], give) -> None:
    """Call a method of a new and of a fitted model with one value after the other."""
    if not hasattr(estimator, method):
        return
    more = {"classes": [0, 1, 2]} if method == "partial_fit" else {}
    for clf in (clone(estimator), clone(estimator).fit(X, Y)):

        def calls(clf=clf) -> Iterator[tuple[Any, Any]]:
            for what, value in values.items():
                arguments = give(value)
                fitted = hasattr(clf, "classes_")
                again = more if "classes" not in arguments and not fitted else {}
                yield what, lambda a=arguments, m=again: getattr(clf, method)(**a, **m)

        assert not (why := told(calls())), "\n".join(why)
        assert_usable(estimator, clf)


@each
@pytest.mark.parametrize("method", ["fit", "partial_fit", "predict", "predict_proba", "score"])
def test_samples(estimator, method):
    learns = {"y": Y} if method in ("fit", "partial_fit", "score") else {}
    values = dict(SAMPLES)
    values["a generator"] = (row for row in X)
    values["sparse that points outside"].indices[0] = 99
    cases(estimator, method, values, lambda x: {"X": x, **learns})


@each
@pytest.mark.parametrize("method", ["fit", "partial_fit", "predict"])
def test_sparse_rows_that_point_outside(estimator, method):
    """Compiled code would read, and write, whatever lies there."""
    if not (hasattr(estimator, method) and estimator.__sklearn_tags__().input_tags.sparse):
        return
    model = clone(estimator).fit(X, Y)
    for column in (99, -1):
        outside = sp.csr_array(X)
        outside.indices[5] = column
        with pytest.raises(ValueError, match=f"holds {column}, which is none of the 16 columns"):
            getattr(model, method)(outside, *([Y] if method != "predict" else []))


@each
@pytest.mark.parametrize("method", ["fit", "partial_fit", "score"])
def test_labels(estimator, method):
    cases(estimator, method, LABELS, lambda y: {"X": X, "y": y})


@each
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_weights(estimator, method):
    values = dict(WEIGHTS)
    cases(estimator, method, values, lambda w: {"X": X, "y": Y, "sample_weight": w})


@each
@pytest.mark.parametrize("labels", [Y, Y % 2], ids=["three", "two"])
def test_classes(estimator, labels):
    if not hasattr(estimator, "partial_fit"):
        return
    for what, classes in CLASSES.items():
        clf = clone(estimator)
        why = complaint(lambda c=clf, k=classes: c.partial_fit(X, labels, classes=k))
        assert not why, f"{what}: {why}"
        assert_usable(estimator, clf)


@each_network
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("loss", ["log_loss", "squared_error"])
def test_very_large_values(estimator, solver, loss):
    """In words as scikit-learn's: the largest of float64 that can be squared is 1e154."""
    clf = clone(estimator).set_params(solver=solver, loss=loss)
    for dtype in ("float32", "float64", "auto"):
        clf.set_params(dtype=dtype)
        for scale in (1e30, 1e150, 1e160, 1e200, 1e308):
            assert not (why := complaint(lambda s=scale: clf.fit(X * s, Y))), f"{scale}: {why}"
    if solver == "lbfgs" and isinstance(estimator, MLPClassifier):
        with pytest.warns(ConvergenceWarning, match="input data may contain large values"):
            clf.set_params(dtype="float64", loss="log_loss").fit(X * 1e308, Y)
    assert_usable(estimator, clf.set_params(**estimator.get_params()))


@each_network
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("name", ["adam", "lbfgs"])
def test_weights_that_leave_nothing_to_learn_from(estimator, early_stopping, name):
    clf = clone(estimator).set_params(early_stopping=early_stopping, solver=name)
    nothing = "must contain at least one non-zero number"
    for weight, message in (
        (np.zeros(24), nothing),
        (np.full(24, 1e-60), nothing),  # in float32
        (np.where(np.arange(24) < 12, 0.1, -0.1), "sum to 0"),
        (np.full(24, 1e300), "too large for dtype"),
    ):
        with pytest.raises(ValueError, match=message):
            clf.fit(X, Y, sample_weight=weight)
    for weights, message in (
        (dict.fromkeys(range(3), 0), nothing),
        ({0: 1, 1: -1, 2: 0}, "sum to 0"),
        ({0: np.nan}, "hold NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            clf.set_params(class_weight=weights).fit(X, Y)
    with pytest.raises(ValueError, match=nothing):  # the only class with a weight has no samples
        clf.set_params(class_weight={0: 0, 1: 0}).fit(X[Y < 2], Y[Y < 2])


@pytest.mark.parametrize(
    ("coefs", "intercepts", "message"),
    [
        ([[[np.nan], [1]]], [[0]], r"Input coefs\[0\] contains NaN"),
        ([[[np.inf], [1]]], [[0]], r"Input coefs\[0\] contains infinity"),
        ([[[1], [1]]], [[np.nan]], r"Input intercepts\[0\] contains NaN"),
        ([[[1j], [1]]], [[0]], "Complex data not supported"),
        ([[["a"], [1]]], [[0]], "dtype='numeric'|could not convert"),
        ([[[1], [1, 2]]], [[0]], "inhomogeneous|setting an array element"),
        ([[[[1]]]], [[0]], "2 axes at the most"),
        (None, [[0]], "coefs must be a sequence of arrays"),
        ("ab", [[0]], "coefs must be a sequence of arrays"),
        ([[[1], [1]]], 3, "intercepts must be a sequence of arrays"),
        ([], [], "an entry for each layer"),
    ],
)
def test_weights_that_are_given(coefs, intercepts, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier.from_weights(coefs, intercepts)


@pytest.mark.parametrize("name", ["coefs", "intercepts"])
def test_weights_that_the_dtype_does_not_hold(name):
    given = {"coefs": [np.ones((2, 3)), np.ones((3, 1))], "intercepts": [np.zeros(3), np.zeros(1)]}
    given[name][1][-1] = 1e300
    message = rf"Input {name}\[1\] contains infinity or a value too large for dtype\('float32'\)"
    with warnings.catch_warnings(), pytest.raises(ValueError, match=message):
        warnings.simplefilter("error")
        MLPClassifier.from_weights(**given, dtype="float32")
    wide = MLPClassifier.from_weights(**given, dtype="float64")
    assert getattr(wide, f"{name}_")[1].max() == 1e300
