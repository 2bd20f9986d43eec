"""ONNX models of whole pipelines, and of searches over them, against onnxruntime."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)

from _requirements import require
from estimators import (
    ConvNetClassifier,
    FilterBankTransformer,
    LogisticRegression,
    MLPClassifier,
    Perceptron,
)
from estimators.convert import to_onnx
from estimators.model_selection import GridSearchCV, HalvingGridSearchCV
from test_onnx import assert_same_predictions

require("onnxruntime", "test")
require("skl2onnx", "test")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

HEADS = {
    "standard": [StandardScaler()],
    "without a mean": [StandardScaler(with_mean=False)],
    "min and max": [MinMaxScaler((-1, 1), clip=True)],
    "norm": [Normalizer()],
    "l1 norm": [Normalizer("l1")],
    "largest": [MaxAbsScaler(), RobustScaler()],
    "pca": [StandardScaler(), PCA(2)],
    "white pca": [PCA(3, whiten=True)],
    "columns": [
        ColumnTransformer(
            [("a", StandardScaler(), [0, 2]), ("b", MinMaxScaler(), slice(3, 4))],
            remainder="passthrough",
        )
    ],
    "dropped columns": [ColumnTransformer([("a", "passthrough", [3, 1]), ("b", "drop", [0])])],
    "union": [FeatureUnion([("a", PCA(2)), ("b", MinMaxScaler())])],
    "chosen": [VarianceThreshold(), SelectKBest(k=3)],
    "nested": [StandardScaler(), make_pipeline(MinMaxScaler(), "passthrough", PCA(2))],
    "passthrough": ["passthrough", StandardScaler(), None],
    "nothing": ["passthrough"],
}
LASTS = [
    LogisticRegression(),
    Perceptron(),
    MLPClassifier((8,), max_iter=30, random_state=0),
]


def pipeline_of(head, last):
    return Pipeline([*((f"step{i}", step) for i, step in enumerate(head)), ("last", last)])


@pytest.fixture(params=["iris", "digits"])
def samples(request):
    if request.param == "iris":
        return load_iris(return_X_y=True)
    X, y = load_digits(return_X_y=True)
    return X[:400], y[:400]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_pipeline_predicts_the_same(samples, head, dtype):
    X, y = samples
    X = X.astype(dtype)
    model = pipeline_of(head, LogisticRegression(max_iter=200)).fit(X, y)
    assert_same_predictions(model, X, dtype, 1e-4 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("last", LASTS, ids=lambda last: type(last).__name__)
@pytest.mark.parametrize("n_classes", [2, 10])
def test_every_classifier_at_the_end(samples, last, n_classes):
    X, y = samples
    X, y = X[y < n_classes].astype("float32"), y[y < n_classes]
    # a shift that its own weights cannot know: without the step nearly all labels are wrong
    assert_same_predictions(make_pipeline(StandardScaler(), PCA(4), last).fit(X + 50, y), X + 50)


def test_images_at_the_end():
    X, y = load_digits(return_X_y=True)
    X, y = X[:300].astype("float32"), y[:300]
    last = ConvNetClassifier((3,), hidden_layer_sizes=(8,), max_iter=3, random_state=0)
    assert_same_predictions(make_pipeline(MinMaxScaler(), last).fit(X, y), X)


@pytest.mark.parametrize("search", [GridSearchCV, HalvingGridSearchCV])
def test_a_search_over_a_pipeline_is_written_whole(search):
    X, y = load_iris(return_X_y=True)
    X = X.astype("float32")
    model = make_pipeline(StandardScaler(), PCA(), LogisticRegression())
    found = search(model, {"pca__n_components": [2, 3]}, cv=3).fit(X, y)
    assert_same_predictions(found, X, atol=1e-5)
    outer = make_pipeline(MinMaxScaler(), search(model, {"pca__n_components": [2]}, cv=3))
    assert_same_predictions(outer.fit(X, y), X, atol=1e-5)


def test_a_pipeline_with_a_memory_and_frames(tmp_path):
    X, y = load_iris(return_X_y=True)
    X = X.astype("float32")
    model = make_pipeline(StandardScaler(), PCA(2), LogisticRegression(), memory=str(tmp_path))
    assert_same_predictions(model.set_output(transform="pandas").fit(X, y), X)


def test_the_model_says_what_it_takes_and_is():
    X, y = load_iris(return_X_y=True)
    model = to_onnx(make_pipeline(StandardScaler(), PCA(2), LogisticRegression()).fit(X, y))
    (given,) = model.graph.input
    assert [d.dim_value for d in given.type.tensor_type.shape.dim] == [0, 4]
    assert given.name == "X"
    assert "PCA(n_components=2)" in model.doc_string


class Own(TransformerMixin, BaseEstimator):
    """A transformer that nobody else knows."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return np.asarray(X) - 3


@pytest.mark.parametrize(
    ("step", "dtype"),
    [
        (Own(), "float32"),
        (FunctionTransformer(np.log1p), "float32"),
        (FilterBankTransformer(image_shape=(2, 2)), "float32"),
        (PolynomialFeatures(2), "float64"),  # skl2onnx mixes float32 into it
    ],
    ids=lambda step: getattr(type(step), "__name__", step),
)
def test_a_step_that_cannot_be_written_is_named(step, dtype):
    X, y = load_iris(return_X_y=True)
    model = Pipeline([("scale", MinMaxScaler()), ("odd", step), ("last", LogisticRegression())])
    expected = f"the step 'odd' of the pipeline, a .*{type(step).__name__}, cannot be written"
    with pytest.raises(NotImplementedError, match=expected):
        to_onnx(model.fit(np.abs(X), y), dtype=dtype)
    inner = make_pipeline(Pipeline([("odd", step)]), LogisticRegression()).fit(np.abs(X), y)
    with pytest.raises(NotImplementedError, match="the step 'pipeline__odd' of the pipeline"):
        to_onnx(inner, dtype=dtype)


@pytest.mark.parametrize(
    "columns",
    [
        ["a", "c"],
        np.array(["d", "a"]),
        slice("b", "c"),
        slice(None, "b"),
        slice(-2, None),
        [-1, 0],
        [False, True, True, False],
        np.array([True, False, False, True]),
        make_column_selector("[bd]"),
        [],
    ],
    ids=lambda columns: "selector" if callable(columns) else str(columns),
)
@pytest.mark.parametrize("remainder", ["drop", "passthrough", MinMaxScaler()], ids=str)
def test_columns_however_they_are_told(columns, remainder):
    X, y = load_iris(return_X_y=True)
    frame = pd.DataFrame(X.astype("float32"), columns=list("abcd"))
    head = ColumnTransformer(
        [("left", StandardScaler(), columns), ("right", "passthrough", ["b"])], remainder=remainder
    )
    model = make_pipeline(head, LogisticRegression(max_iter=300)).fit(frame, y)
    assert_same_predictions(model, frame)


def test_a_classifier_in_another_is_refused():
    X, y = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), CalibratedClassifierCV(LogisticRegression(), cv=2))
    with pytest.raises(TypeError, match="to_onnx takes .*got sklearn.calibration"):
        to_onnx(model.fit(X, y))


def test_without_skl2onnx_only_steps_are_missing(monkeypatch):
    X, y = load_iris(return_X_y=True)
    X = X.astype("float32")
    alone = LogisticRegression(max_iter=200).fit(X, y)
    model = Pipeline([("scale", StandardScaler()), ("last", LogisticRegression())]).fit(X, y)
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    assert_same_predictions(alone, X)
    assert_same_predictions(pipeline_of(["passthrough"], alone), X)
    with pytest.raises(ImportError, match=r"'scale', by .*pip install 'cukernels\[onnx\]'"):
        to_onnx(model)
