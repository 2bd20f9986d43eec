"""Curves of a training, and the scores of a search as a curve or a map."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import loguniform
from sklearn import neural_network
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, RandomizedSearchCV

from estimators import LogisticRegression, MLPClassifier
from estimators.inspection import LossCurveDisplay, SearchDisplay

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_loss_curves(mlp, net):
    display = LossCurveDisplay.from_estimator(net)
    np.testing.assert_array_equal(display.lines_[""].get_ydata(), net.loss_curve_)
    np.testing.assert_array_equal(display.lines_[""].get_xdata(), np.arange(1, 13))
    np.testing.assert_array_equal(display.score_lines_[""].get_ydata(), net.validation_scores_)
    assert display.ax_.get_ylim()[0] == 0
    assert display.ax_.get_xlabel() == "epoch"
    short = LossCurveDisplay({"": [3.0, 2.0, 1.0]}, {}).plot()
    ticks = short.ax_.get_xticks()
    np.testing.assert_array_equal(ticks, ticks.round())  # there is no epoch 1.5
    alone = LossCurveDisplay.from_estimator(mlp, log=True)
    assert alone.score_ax_ is None and alone.ax_.get_yscale() == "log"
    both = LossCurveDisplay.from_estimator({"MLP": mlp, "ConvNet": net})
    assert list(both.lines_) == ["MLP", "ConvNet"] and list(both.score_lines_) == ["ConvNet"]
    labels = [text.get_text() for text in both.ax_.get_legend().get_texts()]
    assert labels == [
        "MLP: training loss",
        "ConvNet: training loss",
        "ConvNet: validation accuracy",
    ]


def test_loss_curves_of_others(digits, linear):
    X, y = digits
    theirs = neural_network.MLPClassifier((5,), max_iter=3).fit(X, y)
    assert len(LossCurveDisplay.from_estimator(theirs).lines_[""].get_ydata()) == 3
    for model in (linear, MLPClassifier((5,), solver="lbfgs", max_iter=3).fit(X, y)):
        with pytest.raises(ValueError, match="has no loss_curve_"):
            LossCurveDisplay.from_estimator(model)


def test_search_over_one_parameter(digits):
    X, y = digits
    grid = {"C": [1.0, 0.001, 0.1]}
    search = GridSearchCV(LogisticRegression(), grid, cv=3, return_train_score=True).fit(X, y)
    display = SearchDisplay.from_estimator(search)
    line, train = display.lines_["validation"], display.lines_["training"]
    np.testing.assert_array_equal(line.get_xdata(), [0.001, 0.1, 1.0])
    np.testing.assert_array_equal(
        line.get_ydata(), search.cv_results_["mean_test_score"][[1, 2, 0]]
    )
    np.testing.assert_array_equal(train.get_ydata(), search.cv_results_["mean_train_score"][[1, 2, 0]])  # fmt: skip  # noqa: E501
    np.testing.assert_array_equal(display.errors, search.cv_results_["std_test_score"][[1, 2, 0]])
    assert display.ax_.get_xscale() == "log"
    assert display.ax_.get_xlabel() == "C"
    names = GridSearchCV(MLPClassifier((4,), max_iter=2), {"activation": ["tanh", "relu"]}, cv=2)
    labels = SearchDisplay.from_estimator(names.fit(X, y)).ax_.get_xticklabels()
    assert [label.get_text() for label in labels] == ["tanh", "relu"]


def test_search_over_drawn_values_is_points_and_halving_shows_its_last_scores(digits):
    X, y = digits
    drawn = {"C": loguniform(1e-3, 10), "tol": loguniform(1e-3, 1e-1)}
    search = RandomizedSearchCV(LogisticRegression(), drawn, n_iter=6, cv=2, random_state=0)
    display = SearchDisplay.from_estimator(search.fit(X, y))
    results = search.cv_results_
    shown = {
        (x, y): score
        for (x, y), score in zip(
            display.points_.get_offsets().tolist(), display.points_.get_array(), strict=True
        )
    }
    wanted = zip(results["params"], results["mean_test_score"], strict=True)
    assert shown == {(p["C"], p["tol"]): score for p, score in wanted}
    assert display.image_ is None and display.ax_.get_xscale() == "log"
    one = SearchDisplay.from_estimator(search, params=["C"])
    assert len(one.lines_["validation"].get_xdata()) == 6

    halving = HalvingGridSearchCV(
        LogisticRegression(), {"C": [0.001, 0.01, 1.0]}, cv=2, min_resources=60, random_state=0
    ).fit(X, y)
    results = halving.cv_results_
    last = {p["C"]: s for p, s in zip(results["params"], results["mean_test_score"], strict=True)}
    line = SearchDisplay.from_estimator(halving).lines_["validation"]
    assert dict(zip(line.get_xdata(), line.get_ydata(), strict=True)) == last


def test_search_over_choices_that_are_no_numbers(digits):
    X, y = digits
    search = GridSearchCV(MLPClassifier((4,), max_iter=2), {"shuffle": [True, False]}, cv=2)
    labels = SearchDisplay.from_estimator(search.fit(X, y)).ax_.get_xticklabels()
    assert [label.get_text() for label in labels] == ["True", "False"]


def test_search_over_two_parameters_shows_the_best_of_the_others(digits):
    X, y = digits
    grid = {"C": [0.01, 1.0], "l1_ratio": [0.0, 1.0], "tol": [0.5, 0.01, 0.001]}
    search = GridSearchCV(LogisticRegression(solver="saga"), grid, cv=2).fit(X, y)
    display = SearchDisplay.from_estimator(search, params=["C", "tol"])
    results = search.cv_results_
    for i, tol in enumerate([0.001, 0.01, 0.5]):
        for j, C in enumerate([0.01, 1.0]):
            best = max(
                score
                for p, score in zip(results["params"], results["mean_test_score"], strict=True)
                if p["C"] == C and p["tol"] == tol
            )
            assert display.image_.get_array()[i, j] == best
            assert display.texts_[2 * i + j].get_text() == f"{best:.3f}"
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == ["0.001", "0.01", "0.5"]
    with pytest.raises(ValueError, match="give one or two of them"):
        SearchDisplay.from_estimator(search)
    with pytest.raises(ValueError, match=r"no score 'f1': give one of \['score'\] as metric="):
        SearchDisplay.from_estimator(search, params=["C"], metric="f1")
