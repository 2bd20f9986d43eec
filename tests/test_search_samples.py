"""Searches on samples, folds and weights of any kind."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn import linear_model
from sklearn import model_selection as sk
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from _searches import QUIET, assert_same_results, mlp
from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier, Perceptron
from estimators import model_selection as ours

pytestmark = QUIET


@pytest.mark.parametrize("kind", ["list", "frame", "sparse", "float32", "names", "labels of many"])
def test_samples_of_any_kind(digits, stacks, kind):
    X, y = digits
    X, y = {
        "list": (X.tolist(), y.tolist()),
        "frame": (pd.DataFrame(X).rename(columns=str), pd.Series(y)),
        "sparse": (sp.csr_matrix(X), y),
        "float32": (X.astype(np.float32), y),
        "names": (X, np.array(list("abcdefghij"))[y]),
        "labels of many": (X, np.stack([y > 3, y % 2, y < 7], axis=1).astype(int)),
    }[kind]
    grid = {"alpha": [1e-4, 1.0]}
    search = ours.GridSearchCV(mlp(), grid, cv=3).fit(X, y)
    assert stacks == [6, 1]
    expected = sk.GridSearchCV(mlp(), grid, cv=3).fit(X, y)
    assert_same_results(search.cv_results_, expected.cv_results_)
    if kind == "frame":
        assert list(search.feature_names_in_) == list(X.columns)


@pytest.mark.parametrize("random_state", [0, None])
@pytest.mark.parametrize("data", ["dense", "sparse"])
def test_a_search_over_perceptrons_is_scikit_learns_over_its_own(digits, data, random_state):
    """Also where they draw from NumPy's one generator, one fit after the other."""
    X, y = digits
    X = sp.csr_matrix(X) if data == "sparse" else X
    grid = {"eta0": [0.1, 1.0], "penalty": [None, "l2", "l1"], "early_stopping": [False, True]}
    results = []
    for package, model in ((ours, Perceptron), (sk, linear_model.Perceptron)):
        np.random.seed(3)  # noqa: NPY002 - what random_state=None draws from
        search = package.GridSearchCV(
            model(max_iter=8, alpha=1e-3, random_state=random_state), grid, cv=3
        )
        results.append(search.fit(X, y))
    assert_same_results(*(search.cv_results_ for search in results))
    np.testing.assert_array_equal(*(search.best_estimator_.coef_ for search in results))


@pytest.mark.parametrize("estimator", [LogisticRegression(), Perceptron()], ids=str)
def test_sparse_samples_of_linear_models(digits, estimator):
    X, y = sp.csr_matrix(digits[0]), digits[1]
    scores = ours.cross_val_score(estimator, X, y, cv=3)
    np.testing.assert_array_equal(scores, sk.cross_val_score(estimator, X, y, cv=3))


@pytest.mark.parametrize("kind", [list, np.array, iter], ids=str)
def test_folds_of_any_kind(digits, stacks, kind):
    """As scikit-learn takes them: rows as lists or ranges too, and folds from a generator."""

    def folds():
        yield range(0, 160), range(160, 240)
        yield range(80, 240), range(0, 80)

    convert = (lambda rows: rows) if kind is iter else kind
    made = ((convert(train), convert(test)) for train, test in folds())
    scores = ours.cross_val_score(mlp(), *digits, cv=made if kind is iter else list(made))
    assert stacks == [2]
    expected = [(np.array(train), np.array(test)) for train, test in folds()]
    np.testing.assert_array_equal(scores, sk.cross_val_score(mlp(), *digits, cv=expected))


def test_a_learning_curve_by_partial_fit(digits):
    options = {"cv": 2, "train_sizes": [0.5, 1.0], "exploit_incremental_learning": True}
    curve = ours.learning_curve(mlp(), *digits, **options)
    for one, other in zip(curve, sk.learning_curve(mlp(), *digits, **options), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("n_classes", [3, 10])
def test_a_fold_that_lacks_a_class(digits, stacks, n_classes):
    X, y = digits
    X, y = X[y < n_classes], y[y < n_classes]
    order = np.argsort(y, kind="stable")
    X, y = X[order], y[order]
    folds = sk.KFold(3)  # the classes left out are others in each fold
    fitted = ours.cross_validate(mlp(), X, y, cv=folds, return_estimator=True)
    assert sum(stacks) == 3
    expected = sk.cross_validate(mlp(), X, y, cv=folds, return_estimator=True)
    np.testing.assert_array_equal(fitted["test_score"], expected["test_score"])
    for one, other in zip(fitted["estimator"], expected["estimator"], strict=True):
        np.testing.assert_array_equal(one.classes_, other.classes_)
        np.testing.assert_array_equal(one.coefs_[0], other.coefs_[0])


@pytest.mark.parametrize("estimator", [mlp(), make_pipeline(StandardScaler(), mlp())], ids=str)
def test_weights_of_samples(digits, stacks, estimator):
    weight = np.random.default_rng(0).uniform(0, 3, len(digits[1]))
    name = (
        "sample_weight" if isinstance(estimator, MLPClassifier) else "mlpclassifier__sample_weight"
    )
    grid = {name.replace("sample_weight", "alpha"): [1e-4, 1.0]}
    search = ours.GridSearchCV(estimator, grid, cv=3, refit=False)
    search.fit(*digits, **{name: weight})
    assert len(stacks) < 6
    expected = sk.GridSearchCV(estimator, grid, cv=3, refit=False).fit(*digits, **{name: weight})
    assert_same_results(search.cv_results_, expected.cv_results_)
    unweighted = sk.GridSearchCV(estimator, grid, cv=3, refit=False).fit(*digits)
    assert (
        unweighted.cv_results_["mean_test_score"] != search.cv_results_["mean_test_score"]
    ).any()


FOLDS = {  # by the size of a batch, the stacks of folds of 53, 53 and 54 rows to learn from
    "dense": {20: [6], "auto": [6], 53: [4, 2]},
    "sparse": {20: [4, 2], "auto": [4, 2]},
    "divided": {20: [6], "auto": [4, 2]},  # a batch of 53 rows may have other chunks than one of 54
}


@pytest.mark.parametrize("data", FOLDS)
def test_folds_of_other_sizes(digits, stacks, monkeypatch, data):
    """They are one stack where their steps have equally many rows, but for the last."""
    X, y = digits[0][:80], digits[1][:80]
    if data == "divided":
        monkeypatch.setattr("estimators.training.chunking._LEAST_WORK_OF_ROWS", 1.0)
        monkeypatch.setattr("estimators.training.chunking._SUMMED", 1.0)
    for batch_size, expected in FOLDS[data].items():
        stacks.clear()
        search = ours.GridSearchCV(
            mlp(batch_size=batch_size), {"alpha": [1e-4, 1.0]}, cv=sk.KFold(3), refit=False,
            scoring="neg_log_loss",
        )  # fmt: skip
        search.fit(sp.csr_matrix(X) if data == "sparse" else X, y)
        assert sorted(stacks, reverse=True) == expected
        alone = clone(search).set_params(fused=False)
        alone.fit(sp.csr_matrix(X) if data == "sparse" else X, y)
        assert_same_results(search.cv_results_, alone.cv_results_)


def test_images_of_folds_of_other_sizes_change_alike(digits, stacks):
    """The changes of a model's last step are drawn for its own rows alone."""
    X, y = digits[0][:80].reshape(-1, 8, 8, 1), digits[1][:80]
    net = ConvNetClassifier((3,), max_iter=4, batch_size=20, random_state=0, augment={"shift": 1})
    search = ours.GridSearchCV(
        net, {"alpha": [1e-4, 1.0]}, cv=sk.KFold(3), refit=False, scoring="neg_log_loss"
    )
    search.fit(X, y)
    assert stacks == [6]
    alone = clone(search).set_params(fused=False).fit(X, y)
    assert_same_results(search.cv_results_, alone.cv_results_)
