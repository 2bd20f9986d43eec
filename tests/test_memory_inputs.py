"""`estimate_memory` takes what `fit` takes, refuses in its words what that refuses, without a copy.

That holds for all that shows in shape and type; NaN is found by `fit` alone.
"""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone

from _estimators import LEARNERS, NETWORKS, with_known
from estimators import LogisticRegression, MLPClassifier, Perceptron
from estimators.model_selection import GridSearchCV

pytestmark = pytest.mark.filterwarnings("ignore")

SHORT = {"max_iter": 1, "random_state": 0, "conv_layer_sizes": (2,), "hidden_layer_sizes": (3,)}
ESTIMATORS = {cls.__name__: with_known(cls, **SHORT) for cls in LEARNERS}
ESTIMATORS |= {
    f"{cls.__name__} {dtype}": with_known(cls, **SHORT).set_params(dtype=dtype)
    for cls in NETWORKS
    for dtype in ("auto", "float64")
}
ESTIMATORS["saga"] = LogisticRegression(solver="saga", max_iter=1)
ESTIMATORS["liblinear"] = LogisticRegression(solver="liblinear", max_iter=1)

X = np.random.default_rng(0).random((24, 16))
X[X < 0.5] = 0
Y = np.arange(24) % 3
FRAME = pd.DataFrame(X).rename(columns=lambda i: f"c{i}")
WIDE = sp.csr_matrix(X)
WIDE.indices, WIDE.indptr = WIDE.indices.astype("int64"), WIDE.indptr.astype("int64")
WIDE_COO = sp.coo_matrix(X)
WIDE_COO.row, WIDE_COO.col = WIDE_COO.row.astype("int64"), WIDE_COO.col.astype("int64")
FORMATS = ("csr", "csc", "coo", "bsr", "lil", "dok", "dia")

KINDS = {
    **{f"{name} matrix": getattr(sp, f"{name}_matrix")(X) for name in FORMATS},
    **{f"{name} array": getattr(sp, f"{name}_array")(X) for name in FORMATS},
    **{f"csr {t}": sp.csr_matrix((9 * X).astype(t)) for t in ("float32", "int64", "uint8", "bool")},
    **{f"coo {t}": sp.coo_matrix((9 * X).astype(t)) for t in ("float32", "int8", "complex64")},
    "wide indices": WIDE, "wide coordinates": WIDE_COO, "no rows, sparse": sp.csr_matrix((0, 16)),
    "no columns, sparse": sp.csr_matrix((24, 0)), "nothing stored": sp.coo_matrix((24, 16)),
    "one axis, sparse": sp.coo_array(np.arange(24.0)), "other rows, sparse": sp.lil_matrix(X[:23]),
    **{
        f"of {t}": (9 * X).astype(t)
        for t in ("float16", "float32", "longdouble", "int8", "uint8", "int64", "uint64", "bool",
                  "complex64", "object", "str", "S8")
    },
    "words": np.full((24, 16), "word"), "words as objects": np.full((24, 16), "word", object),
    "dates": np.zeros((24, 16), "datetime64[s]"), "structured": np.zeros((24, 16), "i4,f4"),
    "columns first": np.asfortranarray(X), "strided": np.repeat(X, 2, axis=1)[:, ::2],
    "backwards": X[::-1, ::-1], "read only": np.broadcast_to(X[0], X.shape),
    "a matrix": np.matrix(X), "masked": np.ma.masked_array(X), "a list": X.tolist(),
    "a tuple": tuple(map(tuple, X)), "ragged": [[1.0], [1.0, 2.0]], "of arrays": list(X),
    "a frame": FRAME, "a frame of float32": FRAME.astype("float32"),
    "a frame of bytes": FRAME.astype("uint8"), "a frame of bool": FRAME > 0.5,
    "a frame of objects": FRAME.astype(object), "a nullable frame": FRAME.convert_dtypes(),
    "a frame of several types": FRAME.astype({"c0": "float32", "c1": "int8", "c2": bool}),
    "a frame of float32 and bytes": FRAME.astype("float32").astype({"c1": "int8"}),
    "a frame with a word": FRAME.assign(c0="word"), "a frame of complex": FRAME.astype(complex),
    "a frame of categories": FRAME.astype({"c3": "category"}),
    "names of several types": FRAME.rename(columns={"c0": 0}), "unnamed": pd.DataFrame(X),
    "a frame without rows": FRAME[:0], "a frame without columns": FRAME[[]],
    "a series": FRAME["c1"],
    "one axis": X[0], "no axis": np.array(3.0), "a number": 3.0, "none": None, "text": "abc",
    "a dictionary": {"a": [1]}, "a set": {1, 2}, "an object": object(), "a generator": iter(X),
    "images": X.reshape(24, 4, 4), "images with channels": X.reshape(24, 2, 4, 2),
    "five axes": X.reshape(24, 2, 2, 2, 2),
    "images of bytes": (9 * X).astype("u1").reshape(24, 4, 4),
    "one image": X[:1].reshape(4, 4), "images of no rows": np.zeros((0, 4, 4)),
    "no rows": X[:0], "no columns": X[:, :0], "no list": [], "one row": X[:1],
    "fewer rows": X[:23], "more rows": np.tile(X, (2, 1)),
    "complex images": 1j * X.reshape(24, 4, 4),
}  # fmt: skip
LABELS = {
    "continuous": X[:, 0], "two columns": np.stack([Y, Y]).T,
    "indicators": np.eye(3, dtype=int)[Y],
    "one column": Y[:, None], "shorter": Y[:20], "no axis": 3,
    "words": np.array(["a", "b", "c"])[Y], "a list": Y.tolist(), "none inside": [None] * 24,
    "NaN": np.where(Y == 0, np.nan, Y),
    "three axes": Y[:, None, None], "sparse": sp.csr_matrix(np.eye(3)[Y]), "complex": 1j * Y,
    "a series": pd.Series(Y), "two classes": Y > 0, "empty": Y[:0],
    "one class": np.ones(24, int),
}  # fmt: skip


def labels_of(model, n=24):
    """Labels that a model takes: "liblinear" learns two classes."""
    return np.arange(n) % (2 if getattr(model, "solver", "") == "liblinear" else 3)


def outcome(function, *arguments):
    """What a call says, or that it is done."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            function(*arguments)
        except Exception as error:  # whatever it is, it is to be the same
            return f"{type(error).__name__}: {error}"
    return "done"


@pytest.mark.parametrize("name", ESTIMATORS)
def test_samples_are_taken_as_by_fit(name):
    differ = {}
    for kind, samples in KINDS.items():
        model = clone(ESTIMATORS[name])
        told = [
            outcome(f, samples, labels_of(model)) for f in (clone(model).fit, model.estimate_memory)
        ]
        if told[0] != told[1]:
            differ[kind] = told
        assert vars(model) == vars(clone(model))
    assert not differ


@pytest.mark.parametrize("name", ESTIMATORS)
def test_labels_are_taken_as_by_fit(name):
    differ = {}
    for samples in (X, sp.coo_matrix(X)):
        for kind, labels in LABELS.items():
            model = clone(ESTIMATORS[name])
            told = [outcome(f, samples, labels) for f in (clone(model).fit, model.estimate_memory)]
            if told[0] != told[1]:
                differ[kind] = told
    assert not differ


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimate_is_that_of_the_samples_as_fit_converts_them(name):
    model, labels = ESTIMATORS[name], labels_of(ESTIMATORS[name])
    for kind, samples in KINDS.items():
        if outcome(clone(model).fit, samples, labels) != "done":
            continue
        fit = clone(model)
        own, y = fit._check_X_y(samples, labels, reset=True)
        if np.ndim(samples) > 2:
            own = own.reshape(np.shape(samples))
        assert model.estimate_memory(samples, labels) == model.estimate_memory(own, y), kind
        of_list = model.estimate_memory(samples, labels.tolist())
        assert of_list == model.estimate_memory(samples, labels)
        model.estimate_memory(samples)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_nothing_is_copied(name):
    large = np.zeros((4000, 400), np.float32)
    large[:, ::3] = 1
    labels = labels_of(ESTIMATORS[name], 4000)
    kinds = [
        large, large.astype("float64"), large.astype("uint8"), large.astype("int64"),
        large.astype(bool), np.asfortranarray(large), pd.DataFrame(large),
        pd.DataFrame(large).astype("int64"),
        *(sp.coo_matrix(large).asformat(format) for format in ("coo", "csr", "csc", "bsr", "dia")),
        sp.csr_matrix(large.astype("int64")),
    ]  # fmt: skip
    model = ESTIMATORS[name]
    if "ConvNet" in name:
        kinds = [x for x in kinds if not sp.issparse(x)] + [large.reshape(4000, 20, 20)]
    model.estimate_memory(X, labels[:24])  # what is made once in a process
    for samples in kinds:
        tracemalloc.start()
        model.estimate_memory(samples, labels)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < large.nbytes / 4 / 4, type(samples)  # a fourth of it in bytes


def test_values_are_not_looked_at():
    for model in ESTIMATORS.values():
        y = labels_of(model)
        assert model.estimate_memory(np.full_like(X, np.nan), y) == model.estimate_memory(X, y)


@pytest.mark.parametrize("bad", [{"max_iter": "many"}, {"device": "gpu"}, {"tol": -1}])
def test_parameters_are_checked_as_by_fit(bad):
    for model in ESTIMATORS.values():
        model = clone(model).set_params(**bad)
        assert outcome(model.estimate_memory, X, Y) == outcome(clone(model).fit, X, Y) != "done"


@pytest.mark.parametrize(
    "model", [MLPClassifier((3,), max_iter=1), LogisticRegression(), Perceptron(max_iter=2)]
)
def test_a_search_says_why_nothing_can_be_prepared(model):
    search = GridSearchCV(model, {"max_iter": [1, 2]}, cv=2)
    for fused in (True, False):
        search.set_params(fused=fused)
        with pytest.raises(ValueError, match="Found array with dim 3|images"):
            search.estimate_memory(X.reshape(24, 4, 4), Y)
    for value, words in ((np.nan, "Input X contains NaN"), (np.inf, "Input X contains infinity")):
        samples = np.where(X[3, 5] == X, value, X)
        with pytest.raises(ValueError, match=rf"for a stack \(ValueError: {words}"):
            search.set_params(fused=True).estimate_memory(samples, Y)
    some, one = (GridSearchCV(model, {"max_iter": n}, cv=2) for n in ([1, "many"], [1]))
    assert some.estimate_memory(X, Y) == one.estimate_memory(X, Y)  # of the others
    assert one.estimate_memory(X.tolist(), Y.tolist()).device == "cpu"


@pytest.mark.parametrize("device", ["auto", "cuda", "cpu"])
def test_samples_on_a_device_are_taken_as_by_fit(device, cupy):
    x = X.astype("float32")
    kinds = [
        x, X, x.astype("uint8"), x.astype("float16"), x.astype("complex64"), x[0], x[:0], x[:, :0],
        x[:23], x.reshape(24, 4, 4), x.reshape(24, 2, 4, 2), np.array(1.0),
        x.reshape(24, 2, 2, 2, 2), np.asfortranarray(x),
    ]  # fmt: skip
    for name, model in ESTIMATORS.items():
        model = clone(model).set_params(device=device)
        for samples in map(cupy.asarray, kinds):
            for labels in (labels_of(model), cupy.asarray(labels_of(model))):
                told = [
                    outcome(f, samples, labels) for f in (clone(model).fit, model.estimate_memory)
                ]
                assert told[0] == told[1], (name, samples.shape, samples.dtype)
        if device != "cpu":
            assert model.estimate_memory(cupy.asarray(x), labels).device == "cuda:0"
