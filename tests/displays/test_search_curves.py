"""What a search keeps of how its fits went, and the pictures of that."""

from __future__ import annotations

import copy
import json

import joblib
import numpy as np
import pytest
from sklearn import model_selection as theirs
from sklearn import neural_network
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import ParameterGrid, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from estimators import LogisticRegression, MLPClassifier
from estimators.inspection import SearchDisplay
from estimators.model_selection import GridSearchCV, HalvingGridSearchCV, cross_validate

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
CV = StratifiedKFold(2)
GRID = {"alpha": [0.0, 0.1], "learning_rate_init": [0.001, 0.02]}
NET = MLPClassifier((5,), max_iter=6, early_stopping=True, n_iter_no_change=2, random_state=0)


def searched(digits, estimator=NET, grid=GRID, **options):
    options = {"cv": CV, "keep_curves": True} | options
    return GridSearchCV(estimator, grid, **options).fit(*digits)


@pytest.fixture(scope="module")
def search(digits):
    return searched(digits)


def equal(some, others):
    assert len(some) == len(others)
    for folds, other_folds in zip(some, others, strict=True):
        for curve, other in zip(folds, other_folds, strict=True):
            np.testing.assert_array_equal(curve, other)


def test_the_curves_are_those_of_the_fits_alone(digits, search):
    X, y = digits
    losses, scores = [], []
    for params in ParameterGrid(GRID):
        fits = [clone(NET).set_params(**params).fit(X[t], y[t]) for t, _ in CV.split(X, y)]
        losses.append([fit.loss_curve_ for fit in fits])
        scores.append([fit.validation_scores_ for fit in fits])
    equal(search.loss_curves_, losses)
    equal(search.validation_curves_, scores)
    assert isinstance(search.loss_curves_[0][0], np.ndarray)


def test_nothing_is_kept_unless_asked_and_nothing_else_changes(digits, search):
    plain = searched(digits, keep_curves=False)
    assert not hasattr(plain, "loss_curves_")
    for name, values in plain.cv_results_.items():
        if not name.endswith("_time"):
            np.testing.assert_array_equal(search.cv_results_[name], values)
    assert set(plain.cv_results_) == set(search.cv_results_)
    again = clone(search).fit(*digits)
    again.set_params(keep_curves=False).fit(*digits)  # those of the fit before are gone
    assert not hasattr(again, "loss_curves_") and not hasattr(again, "validation_curves_")
    with pytest.raises(ValueError, match="keep_curves belongs to fused=True"):
        searched(digits, fused=False)


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_jobs_give_them_back(digits, search, backend):
    with joblib.parallel_config(backend):
        equal(searched(digits, n_jobs=2).loss_curves_, search.loss_curves_)


def test_a_checkpoint_keeps_them(digits, search, tmp_path):
    first = searched(digits, checkpoint=tmp_path)
    files = sorted(tmp_path.glob("*.json"))
    assert len(files) == 8
    kept = [json.loads(file.read_text()) for file in files]
    assert all("estimator" not in result and result["curves"] for result in kept)
    second = searched(digits, checkpoint=tmp_path)
    for other in (first, second):
        equal(other.loss_curves_, search.loss_curves_)
        equal(other.validation_curves_, search.validation_curves_)
    # one that asks for none takes the results all the same, from files with curves and without
    del kept[0]["curves"]
    files[0].write_text(json.dumps(kept[0]))
    plain = searched(digits, checkpoint=tmp_path, keep_curves=False)
    assert not hasattr(plain, "loss_curves_")
    third = searched(digits, checkpoint=tmp_path)
    missing = [curve is None for folds in third.loss_curves_ for curve in folds]
    assert sum(missing) == 1


def test_a_result_that_is_too_long_is_kept_without_them(digits, tmp_path, monkeypatch):
    from estimators.search import kept

    monkeypatch.setattr(kept, "_MOST_BYTES", 100)
    searched(digits, checkpoint=tmp_path)
    results = [json.loads(file.read_text()) for file in tmp_path.glob("*.json")]
    assert len(results) == 8 and not any("curves" in result for result in results)


def test_pipelines_other_estimators_and_fits_without_curves(digits):
    pipe = make_pipeline(StandardScaler(), clone(NET))
    found = searched(digits, pipe, {"mlpclassifier__alpha": [0.1]})
    assert len(found.loss_curves_[0][1]) == len(found.validation_curves_[0][1]) >= 3
    others = searched(digits, neural_network.MLPClassifier((4,), max_iter=3), {"alpha": [1.0]})
    assert [len(curve) for curve in others.loss_curves_[0]] == [3, 3]
    assert others.validation_curves_ == [[None, None]]
    linear = searched(digits, LogisticRegression(), {"C": [1.0]})
    assert linear.loss_curves_ == [[None, None]]
    with pytest.warns(FitFailedWarning):
        failed = searched(digits, NET, {"activation": ["tanh", "no such"]})
    assert failed.loss_curves_[1] == [None, None] and len(failed.loss_curves_[0][0]) >= 3
    for kind, other in (("loss", linear), ("validation", others)):
        with pytest.raises(ValueError, match=f"no fit of .* has a curve of its {kind}"):
            SearchDisplay.from_estimator(other, kind=kind)
    whole = cross_validate(NET, *digits, cv=CV, return_estimator=True)
    assert [len(model.loss_curve_) >= 3 for model in whole["estimator"]] == [True, True]


def test_halving(digits):
    X, y = digits
    halving = HalvingGridSearchCV(
        NET, {"alpha": [0.0, 0.1, 1.0]}, cv=CV, min_resources=80, keep_curves=True, random_state=0
    ).fit(X, y)
    assert len(halving.loss_curves_) == len(halving.cv_results_["params"]) > 3
    for kind in ("loss", "best"):
        display = SearchDisplay.from_estimator(halving, kind=kind)
        assert display.best == halving.best_index_
    named = [t.get_text() for t in SearchDisplay.from_estimator(halving, kind="loss").ax_.get_legend().get_texts()]  # fmt: skip  # noqa: E501
    assert [name for name in named if name.endswith("(best)")] == [
        f"alpha={halving.best_params_['alpha']:g}, resources=240 (best)"
    ]


def test_curves_are_means_and_a_fit_that_has_ended_keeps_its_last_value(search):
    search = clone(search)
    search.cv_results_ = {
        "params": [{"a": 1}, {"a": 2}], "mean_test_score": np.array([0.5, 0.75]),
        "mean_fit_time": np.array([1.0, 2.0]), "mean_score_time": np.array([0.5, 0.5]),
    }  # fmt: skip
    search.n_splits_ = 2
    search.loss_curves_ = [[np.array([4.0, 2.0, 1.0]), np.array([2.0])], [None, None]]
    display = SearchDisplay.from_estimator(search, kind="loss")
    assert list(display.lines_) == [0]
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), [3.0, 2.0, 1.5])
    np.testing.assert_array_equal(display.lines_[0].get_xdata(), [1, 2, 3])
    assert display.ax_.get_ylim()[0] == 0 and display.ax_.get_xlabel() == "epoch"
    best = SearchDisplay.from_estimator(search, kind="best")
    np.testing.assert_array_equal(best.lines_["best"].get_xdata(), [3.0, 8.0])
    np.testing.assert_array_equal(best.lines_["best"].get_ydata(), [0.5, 0.75])


def test_few_candidates_have_a_legend_and_many_the_colours_of_their_scores(search):
    few = SearchDisplay.from_estimator(search, kind="validation")
    names = [text.get_text() for text in few.ax_.get_legend().get_texts()]
    assert len(names) == 4 and names[0].endswith("(best)") and few.colorbar_ is None
    best = few.lines_[search.best_index_]
    assert best.get_linewidth() > max(
        line.get_linewidth() for i, line in few.lines_.items() if i != search.best_index_
    )
    scores = np.r_[np.linspace(0.1, 0.9, 99), np.nan]
    curves = [np.array([2.0, 1.0]) for _ in range(100)]
    curves[0] = np.array([1.0, 100.0])  # one that diverges does not flatten the others
    labels = [f"alpha={k}" for k in range(100)]
    many = SearchDisplay(scores, labels, None, (), kind="loss", curves=curves).plot()
    (name,) = (text.get_text() for text in many.ax_.get_legend().get_texts())
    assert name == "alpha=98 (best)" and many.lines_[98].get_color() == "C3"
    assert many.lines_[99].get_color() == "0.7"
    assert many.colorbar_.mappable.get_clim() == (0.1, 0.9)
    assert many.ax_.get_ylim() == (0, 3.0)
    assert many.plot(log=True).ax_.get_ylim()[1] > 100


def test_best_so_far_of_any_search(digits):
    X, y = digits
    search = theirs.GridSearchCV(LogisticRegression(), {"C": [0.1, 1e-4, 1.0]}, cv=2).fit(X, y)
    display = SearchDisplay.from_estimator(search, kind="best")
    results = search.cv_results_
    seconds = 2 * np.cumsum(results["mean_fit_time"] + results["mean_score_time"])
    line = display.lines_["best"]
    np.testing.assert_allclose(line.get_xdata(), seconds)
    best = np.maximum.accumulate(results["mean_test_score"])
    np.testing.assert_array_equal(line.get_ydata(), best)
    with pytest.raises(ValueError, match="has no loss_curves_: fit a search of"):
        SearchDisplay.from_estimator(search, kind="loss")
    with pytest.raises(ValueError, match=r"kind must be one of \['scores', 'loss'"):
        SearchDisplay.from_estimator(search, kind="curve")
    with pytest.raises(ValueError, match="no score 'f1'"):
        SearchDisplay.from_estimator(search, kind="best", metric="f1")


@pytest.fixture(scope="module")
def several(digits):
    """A search of two metrics that chooses by the second."""
    scoring = ["accuracy", "f1_macro"]
    return searched(digits, LogisticRegression(), {"C": [0.1, 1.0]}, scoring=scoring,
                    refit="f1_macro", keep_curves=False)  # fmt: skip


@pytest.mark.parametrize("kind", ["scores", "best"])
def test_of_several_metrics_that_of_the_refit_is_drawn(several, kind):
    for metric, drawn in ((None, "f1_macro"), ("f1_macro", "f1_macro"), ("accuracy", "accuracy")):
        display = SearchDisplay.from_estimator(several, kind=kind, metric=metric)
        np.testing.assert_array_equal(display.scores, several.cv_results_[f"mean_test_{drawn}"])
    for refit in (False, lambda results: 0):
        other = copy.copy(several).set_params(refit=refit)
        with pytest.raises(ValueError, match=r"give one of \['accuracy', 'f1_macro'\] as metric="):
            SearchDisplay.from_estimator(other, kind=kind)
        SearchDisplay.from_estimator(other, kind=kind, metric="accuracy")
    with pytest.raises(ValueError, match=r"no score 'score': give one of .*f1_macro.* as metric="):
        SearchDisplay.from_estimator(several, kind=kind, metric="score")


@pytest.mark.parametrize("kind", ["scores", "loss", "validation", "best"])
def test_labels_have_room_in_the_figure(search, kind):
    given = {"params": ["alpha"]} if kind == "scores" else {}
    display = SearchDisplay.from_estimator(search, kind=kind, **given)
    figure = display.figure_
    figure.canvas.draw()
    inside = figure.bbox.padded(1)
    for label in (display.ax_.xaxis.label, display.ax_.yaxis.label):
        box = label.get_window_extent()
        assert inside.contains(box.x0, box.y0) and inside.contains(box.x1, box.y1), label
