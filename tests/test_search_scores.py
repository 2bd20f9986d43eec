"""How the fits of a search are scored, and what they tell meanwhile."""

import numpy as np
import pytest
from sklearn import model_selection as sk

from _searches import QUIET, assert_same_results, mlp
from estimators import MLPClassifier
from estimators import model_selection as ours

pytestmark = QUIET


def test_a_callable_sees_the_fitted_estimator(digits):
    seen = []

    def score(estimator, X, y):
        seen.append(estimator)
        return {"right": estimator.score(X, y), "loss": -estimator.loss_}

    search = ours.GridSearchCV(mlp(), {"alpha": [1e-4, 1.0]}, cv=2, scoring=score, refit="loss")
    search.fit(*digits)
    assert search.multimetric_
    assert all(type(x) is MLPClassifier and "fit" not in vars(x) for x in seen)
    expected = sk.GridSearchCV(mlp(), {"alpha": [1e-4, 1.0]}, cv=2, scoring=score, refit="loss")
    assert_same_results(search.cv_results_, expected.fit(*digits).cv_results_)


def test_a_scorer_that_changes_its_samples_harms_no_other_fit(digits):
    def spoils(estimator, X, y):
        score = estimator.score(X, y)
        X[...] = 0
        return score

    for scoring in (spoils, {"a": spoils, "b": "accuracy"}):
        grid = {"alpha": [1e-4, 1e-2, 1.0]}
        options = {"cv": 2, "scoring": scoring, "refit": False}
        search = ours.GridSearchCV(mlp(), grid, **options).fit(*digits)
        expected = sk.GridSearchCV(mlp(), grid, **options).fit(*digits)
        assert_same_results(search.cv_results_, expected.cv_results_)


def test_an_empty_fold_fails_to_be_scored_and_nothing_else(digits):
    folds = [(np.arange(100), np.arange(0)), (np.arange(100), np.arange(100, 240))]
    with pytest.warns(UserWarning, match="Scoring failed"):
        scores = ours.cross_val_score(mlp(), *digits, cv=folds)
    with pytest.warns(UserWarning, match="Scoring failed"):
        expected = sk.cross_val_score(mlp(), *digits, cv=folds)
    np.testing.assert_array_equal(scores, expected)


def test_a_stack_predicts_in_one_pass(digits, monkeypatch):
    asked = []
    outputs = MLPClassifier._outputs

    def counted(self, network, objective, parameters, *others):
        asked.append(len(parameters[0]["w"]))
        return outputs(self, network, objective, parameters, *others)

    monkeypatch.setattr(MLPClassifier, "_outputs", counted)
    grid = {"alpha": [1e-4, 1e-2, 1.0]}
    search = ours.GridSearchCV(
        mlp(), grid, cv=2, refit=False, scoring=["accuracy", "neg_log_loss"]
    ).fit(*digits)
    assert asked == [3, 3]
    assert not hasattr(search.estimator, "_foreseen")


def test_progress_shows_models_epochs_and_the_best_score(digits, capsys):
    pytest.importorskip("tqdm")
    search = ours.GridSearchCV(mlp(), {"alpha": [1e-4, 1.0]}, cv=2, progress=True).fit(*digits)
    shown = capsys.readouterr().err
    assert "4/4" in shown
    assert "epoch=6" in shown
    best = max(search.cv_results_[f"split{i}_test_score"].max() for i in range(2))
    assert f"best score={best:.4f}" in shown


def test_a_stack_does_not_tell_of_each_of_its_epochs(digits, capsys):
    ours.cross_val_score(mlp(verbose=True), *digits, cv=2)
    assert "Iteration" not in capsys.readouterr().out
    ours.cross_val_score(mlp(verbose=True), *digits, cv=2, fused=False)
    assert "Iteration 6, loss" in capsys.readouterr().out
