"""Searches over pipelines with a memory: the steps that they fit, keep and take from the cache."""

from __future__ import annotations

import warnings
from itertools import count
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn import model_selection as sk
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import FitFailedWarning, UnsetMetadataPassedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from estimators import LogisticRegression, MLPClassifier, Perceptron
from estimators import model_selection as ours
from estimators.linear.logistic_fit import LogisticFit
from estimators.neural.fit import NeuralFit

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # joblib's, of a cache that another fit writes at the same moment
    pytest.mark.filterwarnings("ignore:.*cache:UserWarning"),
]

MEMORIES = {
    "none": lambda folder: None,
    "str": str,
    "Memory": lambda folder: joblib.Memory(folder, verbose=0),
    "Memory of memmaps": lambda folder: joblib.Memory(folder, verbose=0, mmap_mode="r"),
    "Memory without a place": lambda folder: joblib.Memory(None, verbose=0),
}
HEADS = {
    "no step": [],
    "a step": [StandardScaler()],
    "two steps": [StandardScaler(), PCA(2)],
    "three steps": [MinMaxScaler(), StandardScaler(), PCA(3)],
    "nested": [StandardScaler(), make_pipeline(MinMaxScaler(), PCA(2))],
    "columns": [
        ColumnTransformer([("a", StandardScaler(), [0, 1]), ("b", MinMaxScaler(), [2, 3])]),
        PCA(2),
    ],
    "union": [StandardScaler(), FeatureUnion([("a", PCA(2)), ("b", MinMaxScaler())])],
    "passthrough first": ["passthrough", PCA(2)],
    "passthrough last": [StandardScaler(), "passthrough"],
    "None between": [StandardScaler(), None, PCA(2)],
}
SEARCHES = ["GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV"]


def pipeline_of(head, memory, last=None):
    """A pipeline of our last step after fresh copies of others."""
    steps = [(f"step{i}", clone(step, safe=False)) for i, step in enumerate(head)]
    return Pipeline([*steps, ("last", last or LogisticRegression())], memory=memory)


def memory_in(kind, tmp_path, name):
    (tmp_path / name).mkdir()
    return MEMORIES[kind](str(tmp_path / name))


def assert_same_results(one, other):
    assert list(one) == list(other)
    for name, values in one.items():
        if name == "params":
            assert values == other[name]
        elif not name.endswith("_time"):
            np.testing.assert_array_equal(values, other[name], err_msg=name)


def test_scores_that_a_memory_does_not_change(tmp_path):
    model = make_pipeline(StandardScaler(), PCA(2), LogisticRegression(), memory=str(tmp_path))
    scores = ours.cross_val_score(model, *load_iris(return_X_y=True), cv=3)
    np.testing.assert_allclose(scores, [0.88, 0.88, 0.94])


@pytest.mark.parametrize(
    ("head", "kind", "n_jobs"),
    [
        *((head, kind, None) for head in HEADS for kind in MEMORIES),
        ("two steps", "str", 2),
        ("nested", "Memory", 2),
    ],
)
def test_cross_validations_keep_the_fitted_steps(tmp_path, head, kind, n_jobs):
    X, y = load_iris(return_X_y=True)
    head, results = HEADS[head], []
    for name, module in (("ours", ours), ("sk", sk)):
        model = pipeline_of(head, memory_in(kind, tmp_path, name))
        options = {"cv": 3, "return_estimator": True, "return_train_score": True}
        results.append(module.cross_validate(model, X, y, n_jobs=n_jobs, **options))
    for name in ("test_score", "train_score"):
        np.testing.assert_array_equal(results[0][name], results[1][name])
        assert np.isfinite(results[0][name]).all()
    for one, other in zip(*(result["estimator"] for result in results), strict=True):
        assert [type(step) for _, step in one.steps] == [type(step) for _, step in other.steps]
        np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
        if head:
            np.testing.assert_array_equal(one[:-1].transform(X), other[:-1].transform(X))


@pytest.mark.parametrize("kind", ["str", "Memory"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cross_val_predict", {"method": "predict_proba"}),
        ("learning_curve", {"train_sizes": [0.5, 1.0], "shuffle": True, "random_state": 0}),
        ("validation_curve", {"param_name": "last__C", "param_range": [0.1, 1.0]}),
        ("validation_curve", {"param_name": "step1__n_components", "param_range": [1, 2]}),
    ],
)
def test_the_other_functions(tmp_path, kind, name, options):
    X, y = load_iris(return_X_y=True)
    results = []
    for folder, module in (("ours", ours), ("sk", sk)):
        model = pipeline_of(HEADS["two steps"], memory_in(kind, tmp_path, folder))
        results.append(getattr(module, name)(model, X, y, cv=3, **options))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.isfinite(one).all()


@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("kind", ["str", "Memory"])
@pytest.mark.parametrize("name", SEARCHES)
def test_searches(tmp_path, name, kind, refit):
    X, y = load_iris(return_X_y=True)
    values = {"step1__n_components": [1, 2], "last__C": [0.01, 1.0, 100.0]}
    options = {"cv": 3, "refit": refit, "return_train_score": True}
    if "Random" in name:
        options |= {"random_state": 0} if "Halving" in name else {"random_state": 0, "n_iter": 4}
    if "Halving" in name:
        options |= {"random_state": 0, "min_resources": 50}
    searches = [
        getattr(module, name)(
            pipeline_of(HEADS["two steps"], memory_in(kind, tmp_path, folder)), values, **options
        ).fit(X, y)
        for folder, module in (("ours", ours), ("sk", sk))
    ]
    assert_same_results(*(search.cv_results_ for search in searches))
    assert np.isfinite(searches[0].cv_results_["mean_test_score"]).all()
    if refit:
        one, other = searches
        assert one.best_params_ == other.best_params_
        np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


@pytest.mark.parametrize(
    "last",
    [Perceptron(), MLPClassifier((5,), max_iter=5, random_state=0)],
    ids=lambda estimator: type(estimator).__name__,
)
def test_every_kind_of_fit(tmp_path, last):
    X, y = load_iris(return_X_y=True)
    grid = {"last__alpha": [1e-4, 1e-2], "step0": [StandardScaler(), MinMaxScaler(), "passthrough"]}
    searches = [
        module.GridSearchCV(
            pipeline_of(HEADS["two steps"], memory_in("str", tmp_path, folder), last), grid, cv=3
        ).fit(X, y)
        for folder, module in (("ours", ours), ("sk", sk))
    ]
    for name in ("mean_test_score", "std_test_score", "rank_test_score"):
        np.testing.assert_array_equal(*(search.cv_results_[name] for search in searches))
    assert np.isfinite(searches[0].cv_results_["mean_test_score"]).all()


class Counted(TransformerMixin, BaseEstimator):
    """Centres, and counts how often it is fitted."""

    fits = count()

    def fit(self, X, y=None):
        next(self.fits)
        self.mean_ = X.mean(axis=0)
        return self

    def transform(self, X):
        return X - self.mean_


@pytest.mark.parametrize("n_steps", [1, 2, 3])
def test_the_memory_is_used(tmp_path, monkeypatch, n_steps):
    """What one search wrote, the next one and scikit-learn's find, and the other way round."""
    X, y = load_iris(return_X_y=True)
    monkeypatch.setattr(Counted, "fits", count())
    grid = {"last__C": [0.1, 1.0]}
    for i, module in enumerate([ours, ours, sk]):
        model = pipeline_of([Counted()] * n_steps, str(tmp_path / "one"))
        module.GridSearchCV(model, grid, cv=3).fit(X, y)
        assert next(Counted.fits) == n_steps * (3 + 1) + i  # with the refit, and what was counted
    monkeypatch.setattr(Counted, "fits", count())
    for i, module in enumerate([sk, ours]):
        model = pipeline_of([Counted()] * n_steps, str(tmp_path / "other"))
        module.GridSearchCV(model, grid, cv=3).fit(X, y)
        assert next(Counted.fits) == n_steps * (3 + 1) + i


def test_weights_of_samples_and_frames(tmp_path):
    X, y = load_iris(return_X_y=True, as_frame=True)
    weight = np.random.default_rng(0).uniform(0, 3, len(y))
    results = []
    for folder, module in (("ours", ours), ("sk", sk)):
        model = pipeline_of(HEADS["two steps"], memory_in("str", tmp_path, folder))
        model.set_output(transform="pandas")
        search = module.GridSearchCV(model, {"last__C": [0.1, 1.0]}, cv=3)
        results.append(search.fit(X, y, last__sample_weight=weight))
    assert_same_results(*(search.cv_results_ for search in results))
    last = results[0].best_estimator_[-1]
    assert list(last.feature_names_in_) == ["pca0", "pca1"]
    folds = ours.cross_validate(model, X, y, cv=3, return_estimator=True)["estimator"]
    assert [list(fold[-1].feature_names_in_) for fold in folds] == [["pca0", "pca1"]] * 3
    assert isinstance(folds[0][:-1].transform(X), pd.DataFrame)


@pytest.mark.parametrize("weighted", [False, True])
def test_routed_metadata(tmp_path, weighted):
    X, y = load_iris(return_X_y=True)
    weight = np.random.default_rng(0).uniform(0, 3, len(y))
    outcomes = []
    with sklearn.config_context(enable_metadata_routing=True):
        for folder, module in (("ours", ours), ("sk", sk)):
            last = LogisticRegression().set_fit_request(sample_weight=True)
            last.set_score_request(sample_weight=True)
            head = [StandardScaler().set_fit_request(sample_weight=True), PCA(2)]
            model = pipeline_of(head, memory_in("str", tmp_path, folder), last)
            params = {"sample_weight": weight} if weighted else {}
            try:
                result = module.cross_validate(model, X, y, cv=3, params=params)
                outcomes.append(result["test_score"].tolist())
            except UnsetMetadataPassedError as error:  # scikit-learn 1.6 cannot do it
                outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]
    assert isinstance(outcomes[0], str) or np.isfinite(outcomes[0]).all()


def test_a_pipeline_tells_of_the_same_steps(tmp_path, capsys):
    X, y = load_iris(return_X_y=True)
    told = []
    for folder, module in (("ours", ours), ("sk", sk)):
        model = pipeline_of(HEADS["two steps"], memory_in("str", tmp_path, folder))
        module.cross_val_score(model.set_params(verbose=True), X, y, cv=2)
        lines = capsys.readouterr().out.splitlines()
        told.append(sorted(line.split(", total")[0] for line in lines))
    assert told[0] == told[1]


class Listener:
    """A callback of scikit-learn's that keeps the names of the tasks that it hears of."""

    def __init__(self):
        self.heard = []

    def __deepcopy__(self, memo):
        return self

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, **_):
        self.heard.append(context.task_name)

    def on_fit_task_end(self, estimator, context, **_):
        pass

    def teardown(self, estimator, context):
        pass


def test_callbacks_of_the_pipeline_itself_hear_of_its_fits():
    pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 and later")
    X, y = load_iris(return_X_y=True)
    heard = []
    for module in (ours, sk):
        listener = Listener()
        model = pipeline_of(HEADS["two steps"], None).set_callbacks(listener)
        module.cross_val_score(model, X, y, cv=2)
        heard.append(listener.heard)
    assert heard[0] == heard[1] != []


# What fails in a stack, and only there ------------------------------------------------------------


@pytest.mark.parametrize("training", [LogisticFit, NeuralFit])
@pytest.mark.parametrize("head", [[], HEADS["two steps"]], ids=["alone", "pipeline"])
@pytest.mark.parametrize("error_score", [np.nan, "raise"])
def test_a_stack_that_fails_where_the_fit_alone_does_not(
    monkeypatch, training, head, error_score, tmp_path
):
    """A defect of ours is no misconfigured model: the fit alone decides, and somebody is told."""
    X, y = load_iris(return_X_y=True)
    last = {
        LogisticFit: LogisticRegression(),
        NeuralFit: MLPClassifier((5,), max_iter=5, random_state=0),
    }[training]
    expected = sk.cross_validate(
        pipeline_of(head, None, last), X, y, cv=3, return_estimator=True, error_score=error_score
    )
    finish, calls = training.finish, count()

    def finish_badly(self):
        if next(calls) % 2 == 0:
            raise AttributeError("no such array")
        finish(self)

    monkeypatch.setattr(training, "finish", finish_badly)
    model = pipeline_of(head, str(tmp_path), last)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FitFailedWarning)
        with pytest.warns(UserWarning, match="failed in a stack .*AttributeError: no such array"):
            result = ours.cross_validate(
                model, X, y, cv=3, return_estimator=True, error_score=error_score
            )
    np.testing.assert_array_equal(result["test_score"], expected["test_score"])
    for one, other in zip(result["estimator"], expected["estimator"], strict=True):
        np.testing.assert_array_equal(one.predict(X), other.predict(X))


def test_folders_are_strings_as_in_scikit_learn(tmp_path):
    """A Path is refused by scikit-learn's pipelines, and here in the same words."""
    X, y = load_iris(return_X_y=True)
    told = []
    for module in (ours, sk):
        model = pipeline_of(HEADS["two steps"], Path(tmp_path))
        with pytest.raises(ValueError, match="The 'memory' parameter of") as error:
            module.cross_val_score(model, X, y, cv=2, error_score="raise")
        told.append(str(error.value))
    assert told[0] == told[1]
