"""Fits of a search that fail or warn: as alone, and without harm to the others."""

import warnings

import numpy as np
import pytest
from sklearn import model_selection as sk
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning

from _searches import QUIET, assert_same_results, mlp
from estimators import model_selection as ours

pytestmark = QUIET


def test_candidates_that_fail_take_no_other_down(digits):
    grid = {"learning_rate_init": [1e-3, 1e30], "alpha": [1e-4, -1.0]}
    options = {"cv": 2, "error_score": -3.0, "refit": False}
    with pytest.warns(FitFailedWarning) as caught:
        search = ours.GridSearchCV(mlp(), grid, **options).fit(*digits)
    (text,) = (str(w.message) for w in caught if w.category is FitFailedWarning)
    assert "6 fits failed out of a total of 8" in text
    assert "Solver produced non-finite parameter weights" in text
    assert "The 'alpha' parameter of MLPClassifier must be a float in the range" in text
    with pytest.warns(FitFailedWarning):
        expected = sk.GridSearchCV(mlp(), grid, **options).fit(*digits)
    assert_same_results(search.cv_results_, expected.cv_results_)


def test_an_error_can_be_raised(digits):
    grid = {"learning_rate_init": [1e-3, 1e30]}
    search = ours.GridSearchCV(mlp(), grid, cv=2, error_score="raise")
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        search.fit(*digits)
    with pytest.raises(ValueError, match="Invalid parameter 'alfa' for estimator MLPClassifier"):
        ours.GridSearchCV(mlp(), {"alfa": [1]}, cv=2).fit(*digits)


def test_a_failing_callback_fails_its_fit(digits):
    def fails(estimator, info):
        raise RuntimeError("no more paper")

    search = ours.GridSearchCV(mlp(), {"callbacks": [None, fails]}, cv=2, refit=False)
    with pytest.warns(FitFailedWarning, match="no more paper"):
        search.fit(*digits)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True]


def test_samples_that_only_some_folds_can_use(digits):
    X, y = digits[0].copy(), digits[1]
    X[0, 0] = np.nan
    with pytest.warns(FitFailedWarning, match="2 fits failed out of a total of 3"):
        scores = ours.cross_val_score(mlp(), X, y, cv=sk.KFold(3))
    with pytest.warns(FitFailedWarning):
        expected = sk.cross_val_score(mlp(), X, y, cv=sk.KFold(3))
    np.testing.assert_array_equal(scores, expected)


def test_warnings_of_a_fit_are_those_of_the_fit_alone(digits):
    def heard(module):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            module.cross_val_score(mlp(), *digits, cv=3)
        return [(w.category, str(w.message)) for w in caught]

    assert heard(ours) == heard(sk)
    assert [category for category, _ in heard(ours)] == [ConvergenceWarning] * 3
