"""The four estimators inside scikit-learn's searches, ensembles and curves."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, VotingClassifier
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score, learning_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from _estimators import LEARNERS, one_each
from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier, Perceptron

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

FAST = {"batch_size": 32, "learning_rate_init": 0.01, "max_iter": 15, "random_state": 0}
SEARCHES = [
    (Perceptron(max_iter=20), {"penalty": [None, "l2"]}),
    (LogisticRegression(), {"C": [0.01, 1.0]}),
    (MLPClassifier((16,), **FAST), {"alpha": [1e-4, 10.0], "dropout": [0.0, 0.2]}),
    (
        ConvNetClassifier((4,), hidden_layer_sizes=(16,), **FAST),
        {"kernel_size": [3, 5], "pooling": ["max", "avg"]},
    ),
]
assert {type(estimator) for estimator, _ in SEARCHES} == set(LEARNERS)
each = one_each([estimator for estimator, _ in SEARCHES])


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(n_class=5, return_X_y=True)
    return X[:300] / 16, y[:300]


@pytest.mark.parametrize(("estimator", "grid"), SEARCHES, ids=lambda e: type(e).__name__)
def test_grid_search_of_a_pipeline_in_processes(estimator, grid, digits):
    name = type(estimator).__name__.lower()
    model = make_pipeline(StandardScaler(), estimator)
    grid = {f"{name}__{parameter}": values for parameter, values in grid.items()}
    search = GridSearchCV(model, grid, cv=3, n_jobs=2, error_score="raise").fit(*digits)
    alone = GridSearchCV(model, grid, cv=3, error_score="raise").fit(*digits)
    assert search.best_score_ > 0.85
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"], atol=0.02
    )  # processes have other numbers of threads, and so may round otherwise


@each
def test_cross_val_score(estimator, digits):
    assert cross_val_score(estimator, *digits, cv=3).min() > 0.8


@each
@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibration(estimator, method, digits):
    clf = CalibratedClassifierCV(estimator, method=method, cv=3).fit(*digits)
    p = clf.predict_proba(digits[0])
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    assert clf.score(*digits) > 0.9


@each
def test_bagging(estimator, digits):
    clf = BaggingClassifier(clone(estimator), n_estimators=3, max_features=49, random_state=0)
    assert clf.fit(*digits).score(*digits) > 0.85


@each
def test_boosting(estimator, digits):
    """AdaBoost is nothing but sample weights; the first of its members has none to speak of."""
    clf = AdaBoostClassifier(estimator, n_estimators=3, random_state=0).fit(*digits)
    assert clf.score(*digits) > 0.85
    if len(clf.estimators_) > 1:  # a member without a mistake ends it
        first, second = (member.predict(digits[0]) for member in clf.estimators_[:2])
        assert (first != second).any()


@each
def test_voting(estimator, digits):
    members = [("ours", estimator), ("other", LogisticRegression(C=0.1))]
    clf = VotingClassifier(members).fit(*digits)
    assert clf.score(*digits) > 0.9


@each
def test_learning_curve(estimator, digits):
    sizes, train, test = learning_curve(
        estimator, *digits, train_sizes=[0.2, 1.0], cv=3, shuffle=True, random_state=0
    )
    assert list(sizes) == [40, 200]
    assert test[1].mean() > test[0].mean() - 0.02
    assert train.shape == (2, 3)


@each
def test_permutation_importance(estimator, digits):
    fitted = clone(estimator).fit(*digits)
    importance = permutation_importance(fitted, *digits, n_repeats=2, random_state=0)
    assert importance.importances_mean.shape == (64,)
    assert importance.importances_mean.max() > 0
    assert importance.importances_mean[0] == 0  # the corner of every image is empty
