"""How the fits of a search are scored, and what they tell meanwhile."""

from itertools import count

import numpy as np
import pytest
from sklearn import model_selection as sk

from _searches import QUIET, assert_same_results, mlp
from estimators import LogisticRegression, MLPClassifier, Perceptron
from estimators import model_selection as ours
from estimators.neural.fit import NeuralFit
from estimators.neural.predictor import Predictor
from estimators.shared.known_outputs import known_outputs

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
    probabilities = Predictor.probabilities

    def counted(self, *others):
        asked.append(len(self.parameters[0]["w"]))
        return probabilities(self, *others)

    monkeypatch.setattr(Predictor, "probabilities", counted)
    grid = {"alpha": [1e-4, 1e-2, 1.0]}
    scoring = ["accuracy", "neg_log_loss"]
    ours.GridSearchCV(mlp(), grid, cv=2, refit=False, scoring=scoring).fit(*digits)
    assert asked == [3, 3]


@pytest.mark.parametrize("cls", [MLPClassifier, LogisticRegression, Perceptron])
def test_what_was_predicted_together_is_known_to_the_search_alone(cls, digits):
    class Asked(cls):
        def score(self, X, y):
            known = [known_outputs(*asked) is not None for asked in [(self, X), (self, X[:])]]
            seen.append((self, X, known, set(vars(self))))
            return super().score(X, y)

    seen = []
    name = "C" if cls is LogisticRegression else "alpha"
    ours.GridSearchCV(Asked(max_iter=5), {name: [0.1, 1.0]}, cv=2, refit=False).fit(*digits)
    own = set(vars(cls(max_iter=5).fit(*digits)))
    assert len(seen) == 4
    for clf, X, known, attributes in seen:
        assert known == [True, False]  # of that very object
        assert attributes == own
        assert known_outputs(clf, X) is None


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


def test_a_model_that_was_fitted_alone_after_all_is_scored_by_its_own_outputs(digits, monkeypatch):
    finish, calls = NeuralFit.finish, count()

    def finish_badly(self):
        if next(calls) % 2 == 0:  # in the stack; the fit alone follows
            raise AttributeError("no such array")
        finish(self)

    def wrong_outputs(fits, X):
        return [np.zeros((len(X), 10))] * len(fits)

    expected = sk.cross_val_score(mlp(), *digits, cv=3)
    monkeypatch.setattr(NeuralFit, "finish", finish_badly)
    monkeypatch.setattr(NeuralFit, "outputs_of", staticmethod(wrong_outputs))
    with pytest.warns(UserWarning, match="failed in a stack"):
        scores = ours.cross_val_score(mlp(), *digits, cv=3)
    np.testing.assert_array_equal(scores, expected)
