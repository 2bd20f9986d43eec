"""How far scikit-learn goes with samples on a GPU: scorers, splits, pipelines and searches.

What works is asserted, and so is the error of what does not. Without its array API dispatch
scikit-learn turns arrays into NumPy's, which CuPy refuses; with the dispatch it computes there.
"""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import sklearn
from sklearn import model_selection
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression as TheirLogisticRegression
from sklearn.linear_model import Perceptron as TheirPerceptron
from sklearn.metrics import make_scorer
from sklearn.neural_network import MLPClassifier as TheirMLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import get_tags

import _gpu
from estimators import (
    ConvNetClassifier,
    LogisticRegression,
    MLPClassifier,
    Perceptron,
)
from estimators import model_selection as stacked

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
Y = np.arange(36) % 3
X = (RNG.integers(0, 9, (36, 16)) / 8 + Y[:, None] / 4).astype("float32")
MLP = MLPClassifier((5,), max_iter=2, random_state=0)
MODELS = {
    "mlp": (MLP, {"alpha": [1e-4, 1.0]}),
    "logistic": (LogisticRegression(max_iter=5), {"C": [0.1, 1.0]}),
    "perceptron": (Perceptron(max_iter=3), {"eta0": [0.5, 1.0]}),
    "pipeline": (
        make_pipeline(FunctionTransformer(np.negative), clone(MLP)),
        {"mlpclassifier__alpha": [1e-4, 1.0]},
    ),
}
each_model = pytest.mark.parametrize("name", MODELS)
each_face = pytest.mark.parametrize("face", [model_selection, stacked], ids=["theirs", "ours"])
NO_NUMPY = "Implicit conversion to a NumPy array is not allowed"


def on_device(model):
    """The same model, whose samples come from the host."""
    name = next(p for p in model.get_params() if p.split("__")[-1] == "device")
    return clone(model).set_params(**{name: "cuda"})


@pytest.fixture
def dispatch(monkeypatch):
    """scikit-learn's array API dispatch, which asks for SciPy's as well."""
    if sklearn.__version__ < "1.8":
        pytest.skip("older releases dispatch less")
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    with sklearn.config_context(array_api_dispatch=True):
        yield


# Without dispatch ---------------------------------------------------------------------------------


@each_model
@each_face
def test_cross_validation_by_score(face, name, cupy):
    model, _ = MODELS[name]
    here = face.cross_val_score(on_device(model), X, Y, cv=2, error_score="raise")
    there = face.cross_val_score(model, cupy.asarray(X), Y, cv=2, error_score="raise")
    np.testing.assert_array_equal(there, here)
    predicted = face.cross_val_predict(model, cupy.asarray(X), Y, cv=2)
    assert type(predicted) is cupy.ndarray


@each_model
@each_face
def test_a_search_by_score(face, name, cupy):
    model, grid = MODELS[name]
    how = {"cv": 2, "error_score": "raise", "return_train_score": True}
    here = face.GridSearchCV(on_device(model), grid, **how).fit(X, Y)
    there = face.GridSearchCV(model, grid, **how).fit(cupy.asarray(X), Y)
    for column in ("mean_test_score", "mean_train_score"):
        np.testing.assert_array_equal(there.cv_results_[column], here.cv_results_[column])
    found = there.predict(cupy.asarray(X))
    assert type(found) is cupy.ndarray
    np.testing.assert_array_equal(found.get(), here.predict(X))
    assert there.score(cupy.asarray(X), Y) == here.score(X, Y)


def test_the_models_of_a_search_train_as_a_stack(stacks, cupy, monkeypatch):
    """And in the memory of the device that the samples are on."""
    asked = []
    monkeypatch.setattr(
        "estimators.search.run.free_memory", lambda device: asked.append(device) or 2**30
    )
    model, grid = MODELS["mlp"]
    stacked.GridSearchCV(model, grid, cv=2).fit(cupy.asarray(X), Y)
    assert stacks == [4, 1]  # two candidates and two folds, then the best of them
    assert asked == ["cuda:0"]


@each_face
@pytest.mark.parametrize(
    ("name", "response"), [("mlp", "predict_proba"), ("logistic", "decision_function")]
)
def test_a_scorer_of_ones_own(name, response, face, cupy):
    """It is given what the method returns: an array of CuPy's, also by models of a stack."""
    model, grid = MODELS[name]
    kinds = set()

    def right(y, scores):
        kinds.add(type(scores))
        return np.mean(y == cupy.asnumpy(scores).argmax(axis=1))

    how = {"cv": 2, "scoring": make_scorer(right, response_method=response)}
    here = face.GridSearchCV(on_device(model), grid, **how).fit(X, Y)
    assert kinds == {np.ndarray}
    kinds.clear()
    there = face.GridSearchCV(model, grid, **how).fit(cupy.asarray(X), Y)
    assert kinds == {cupy.ndarray}
    assert not np.isnan(here.cv_results_["mean_test_score"]).any()
    np.testing.assert_array_equal(*(s.cv_results_["mean_test_score"] for s in (here, there)))


@each_face
@pytest.mark.parametrize("what", ["labels", "accuracy", "neg_log_loss", "scaler"])
def test_what_scikit_learn_would_do_on_the_host_it_refuses(face, what, cupy):
    """Labels on the device are not split, scorers but `score` compare with NumPy."""
    model = make_pipeline(StandardScaler(), clone(MLP)) if what == "scaler" else MLP
    labels = cupy.asarray(Y) if what == "labels" else Y
    scoring = what if what in ("accuracy", "neg_log_loss") else None
    with pytest.raises(TypeError, match=NO_NUMPY):
        face.cross_val_score(
            model, cupy.asarray(X), labels, cv=2, scoring=scoring, error_score="raise"
        )


# With dispatch ------------------------------------------------------------------------------------


@each_face
@pytest.mark.parametrize("scoring", [None, "neg_log_loss"])
@pytest.mark.usefixtures("dispatch")
def test_dispatch_scores_and_scales_on_the_device(face, scoring, cupy):
    models = make_pipeline(StandardScaler(), clone(MLP)), LogisticRegression(max_iter=5)
    for model in models:
        how = {"cv": 2, "scoring": scoring, "error_score": "raise"}
        here = face.cross_val_score(on_device(model), X, Y, **how)
        there = face.cross_val_score(model, cupy.asarray(X), Y, **how)
        np.testing.assert_allclose(there, here, rtol=1e-5)
        assert type(clone(model).fit(cupy.asarray(X), Y).predict(cupy.asarray(X))) is cupy.ndarray


@each_face
@pytest.mark.usefixtures("dispatch")
def test_dispatch_sorts_labels_on_the_device(face, cupy):
    """By Thrust, which the GPU in software does not have: only another one shows it."""
    error = pytest.raises(RuntimeError, match="not in softgpu")
    for labels, scoring in ((cupy.asarray(Y), None), (Y, "accuracy")):
        with error if _gpu.is_software() else nullcontext():
            face.cross_val_score(
                MLP, cupy.asarray(X), labels, cv=2, scoring=scoring, error_score="raise"
            )


@pytest.mark.parametrize(
    "model",
    [
        MLP,
        ConvNetClassifier((3,), hidden_layer_sizes=(4,), max_iter=2, random_state=0),
        LogisticRegression(max_iter=5),
        Perceptron(max_iter=3),
    ],
)
@pytest.mark.parametrize("is_on", [True, False])
def test_tensors_of_the_host(model, is_on, request):
    """They are taken as NumPy arrays; with dispatch predictions are tensors, attributes are not.

    Without dispatch scikit-learn's validation makes doubles of them.
    """
    torch = pytest.importorskip("torch")
    samples, labels = torch.asarray(X), torch.asarray(Y)
    x = X if is_on else X.astype("float64")
    here = clone(model).fit(x, Y)
    if is_on:
        request.getfixturevalue("dispatch")
    there = clone(model).fit(samples, labels)
    assert type(there.classes_) is np.ndarray
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        if hasattr(here, method):
            found = getattr(there, method)(samples)
            assert type(found) is (torch.Tensor if is_on else np.ndarray)
            np.testing.assert_array_equal(np.asarray(found), getattr(here, method)(x))
    assert there.score(samples, labels) == here.score(x, Y)


@each_face
@pytest.mark.parametrize("name", ["mlp", "logistic"])
@pytest.mark.parametrize("is_on", [True, False])
def test_probabilities_of_cross_validation(face, name, is_on, request):
    """The exception that the guide names: with dispatch they clash with the NumPy `classes_`."""
    torch = pytest.importorskip("torch")
    samples, model = torch.asarray(X), MODELS[name][0]
    if is_on:
        request.getfixturevalue("dispatch")
    labels = face.cross_val_predict(model, samples, Y, cv=2)
    assert type(labels) is (torch.Tensor if is_on else np.ndarray)
    error = pytest.raises(TypeError, match="Multiple namespaces for array inputs")
    with error if is_on else nullcontext():
        found = face.cross_val_predict(model, samples, Y, cv=2, method="predict_proba")
        double = X.astype("float64")  # as scikit-learn makes it of a tensor
        expected = face.cross_val_predict(model, double, Y, cv=2, method="predict_proba")
        np.testing.assert_array_equal(found, expected)


@each_face
@pytest.mark.parametrize("is_on", [True, False])
def test_probabilities_of_cross_validation_on_a_device(face, is_on, cupy, request):
    if is_on:
        request.getfixturevalue("dispatch")
    error = pytest.raises(TypeError, match="Multiple namespaces for array inputs")
    with error if is_on else nullcontext():
        found = face.cross_val_predict(MLP, cupy.asarray(X), Y, cv=2, method="predict_proba")
        assert type(found) is cupy.ndarray and found.shape == (36, 3)


@pytest.mark.usefixtures("dispatch")
def test_which_classes_scikit_learn_dispatches():
    """As the guide says: of the namesakes LogisticRegression alone, with its default solver."""
    dispatched = [
        get_tags(model).array_api_support
        for model in (
            TheirLogisticRegression(), TheirLogisticRegression(solver="saga"), TheirPerceptron(),
            TheirMLPClassifier(),
        )
    ]  # fmt: skip
    assert dispatched == [True, False, False, False]
