"""Searches over pipelines: the steps before the last, and what wraps an estimator."""

import weakref
from itertools import count

import numpy as np
import pytest
from sklearn import model_selection as sk
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

from _searches import QUIET, assert_same_results, mlp
from estimators import LogisticRegression
from estimators import model_selection as ours

pytestmark = QUIET


def test_a_search_over_estimators_of_both_kinds(digits, stacks):
    pipeline = Pipeline([("scale", StandardScaler()), ("classify", mlp())])
    grid = [
        {"classify": [GaussianNB()], "classify__var_smoothing": [1e-9, 1e-2]},
        {"classify": [mlp(), mlp(alpha=1.0)], "scale": ["passthrough", MinMaxScaler()]},
    ]
    search = ours.GridSearchCV(pipeline, grid, cv=3, refit=False).fit(*digits)
    assert sum(stacks) == 12
    assert max(stacks) >= 6
    expected = sk.GridSearchCV(pipeline, grid, cv=3, refit=False).fit(*digits)
    for name in ("mean_test_score", "rank_test_score"):
        np.testing.assert_array_equal(search.cv_results_[name], expected.cv_results_[name])


class Counted(TransformerMixin, BaseEstimator):
    """Scales, and counts how often it is fitted."""

    fits = count()

    def __init__(self, factor=1.0):
        self.factor = factor

    def fit(self, X, y=None):
        next(self.fits)
        self.mean_ = X.mean(axis=0)
        return self

    def transform(self, X):
        return self.factor * (X - self.mean_)


def test_steps_before_the_last_are_fitted_once_a_fold_and_setting(digits, monkeypatch, stacks):
    monkeypatch.setattr(Counted, "fits", count())
    pipeline = Pipeline([("first", Counted()), ("last", mlp())])
    grid = {"first__factor": [1.0, 2.0], "last__alpha": [1e-4, 1e-2, 1.0]}
    search = ours.GridSearchCV(pipeline, grid, cv=4, refit=False).fit(*digits)
    assert next(Counted.fits) == 2 * 4
    assert sum(stacks) == 24
    assert min(stacks) > 1
    expected = sk.GridSearchCV(pipeline, grid, cv=4, refit=False).fit(*digits)
    assert_same_results(search.cv_results_, expected.cv_results_)


class Made(np.ndarray):
    """An array that can be counted."""


class Watched(Counted):
    """Counts what it made and what is still alive of it."""

    alive = most = 0

    def transform(self, X):
        made = super().transform(X).view(Made)
        Watched.alive += 1
        Watched.most = max(self.most, self.alive)
        weakref.finalize(made, self.gone)
        return made

    @classmethod
    def gone(cls):
        cls.alive -= 1


def test_what_steps_made_is_dropped_when_no_fit_needs_it(digits):
    pipeline = Pipeline([("first", Watched()), ("last", mlp())])
    grid = {"first__factor": [0.5, 1.0, 2.0, 3.0]}
    ours.GridSearchCV(pipeline, grid, cv=2, refit=False, max_stack_bytes=1).fit(*digits)
    assert 2 <= Watched.most <= 4  # two folds to train on, and what is scored


def test_steps_that_cannot_be_pickled(digits, stacks):
    pipeline = make_pipeline(FunctionTransformer(lambda X: X - 0.5), mlp())
    scores = ours.cross_val_score(pipeline, *digits, cv=3)
    assert stacks == [3]
    np.testing.assert_array_equal(scores, sk.cross_val_score(pipeline, *digits, cv=3))


HEADS = {
    "one step": Pipeline([("last", mlp())]),
    "nested": make_pipeline(make_pipeline(StandardScaler(), PCA(5, random_state=0)), mlp()),
    "union": make_pipeline(FeatureUnion([("a", StandardScaler()), ("b", PCA(3))]), mlp()),
    "columns": make_pipeline(
        ColumnTransformer([("a", StandardScaler(), slice(0, 30)), ("b", "passthrough", [40, 41])]),
        mlp(),
    ),
    "passthrough": Pipeline([("none", "passthrough"), ("last", mlp())]),
    "linear": make_pipeline(MinMaxScaler(), LogisticRegression(max_iter=30)),
}


@pytest.mark.parametrize("pipeline", HEADS.values(), ids=HEADS)
def test_pipelines_of_every_kind(digits, pipeline):
    fitted = ours.cross_validate(pipeline, *digits, cv=3, return_estimator=True)
    expected = sk.cross_validate(pipeline, *digits, cv=3, return_estimator=True)
    np.testing.assert_array_equal(fitted["test_score"], expected["test_score"])
    for one, other in zip(fitted["estimator"], expected["estimator"], strict=True):
        np.testing.assert_array_equal(one.predict(digits[0]), other.predict(digits[0]))
        assert getattr(one, "n_features_in_", None) == getattr(other, "n_features_in_", None)


def test_a_wrapper_around_ours_is_fitted_as_by_scikit_learn(digits):
    wrapped = CalibratedClassifierCV(mlp(), cv=2)
    scores = ours.cross_val_score(wrapped, *digits, cv=3)
    np.testing.assert_array_equal(scores, sk.cross_val_score(wrapped, *digits, cv=3))


def test_a_search_within_a_cross_validation(digits, stacks):
    grid = {"alpha": [1e-4, 1.0]}
    scores = ours.cross_val_score(ours.GridSearchCV(mlp(), grid, cv=2), *digits, cv=3)
    assert stacks == [4, 1] * 3
    expected = sk.cross_val_score(sk.GridSearchCV(mlp(), grid, cv=2), *digits, cv=3)
    np.testing.assert_array_equal(scores, expected)
