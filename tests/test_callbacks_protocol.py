"""The protocol of callbacks: who is told what, and when, however a fit ends."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning

from _checkpoints import assert_equal, quietly
from _told import MODELS, TOLD, Hears, X, Y, fails, interrupts, with_callbacks
from estimators import LogisticRegression
from estimators.callbacks import (
    Checkpoint,
)
from estimators.model_selection import GridSearchCV

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
each = pytest.mark.parametrize("name", MODELS)


@each
def test_a_fit_is_told_from_its_beginning_to_its_end(name):
    hears = Hears()
    model = quietly(with_callbacks(name, hears), X, Y)
    n = int(np.max(model.n_iter_))
    epochs = [("epoch", k + 1) for k in range(n)]
    assert hears.heard == [("begin", 0), *epochs, ("end", n)]
    (begun, first), (ended, last) = hears.infos[0], hears.infos[-1]
    assert first.n_epochs == 9 and np.isnan(first.loss) and first.validation_score is None
    assert not hasattr(begun, "coef_") and not hasattr(begun, "coefs_")
    assert last is hears.infos[-2][1] and ended is hears.infos[-2][0]
    assert_equal(ended, model)
    assert begun.callbacks is None
    # told, it is the same fit
    assert_equal(model, quietly(clone(MODELS[name]), X, Y))


@each
def test_the_end_is_told_after_ctrl_c_and_after_a_failure(name):
    hears = Hears()
    with pytest.warns(UserWarning, match="interrupted by user"):
        with_callbacks(name, hears, Hears(("epoch", 2), interrupts)).fit(X, Y)
    assert hears.heard == [("begin", 0), ("epoch", 1), ("epoch", 2), ("end", 2)]
    for place in ("begin", ("epoch", 2), "end"):
        hears, failing = Hears(), Hears(place, fails)
        model = with_callbacks(name, hears, failing)
        with pytest.raises(OSError, match="the disk is full"):
            model.fit(X, Y)
        assert hears.heard[0] == ("begin", 0) and hears.heard[-1] == ("end", hears.heard[-2][1])
        assert failing.heard[-1] == hears.heard[-1]  # which closes what it has opened
        assert not hasattr(model, "classes_")
    # where a fit fails and a callback too, the fit is what is raised
    both = Hears(("end", 1), fails), Hears(("epoch", 1), lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        with_callbacks(name, *both).fit(X, Y)


@pytest.mark.parametrize("hook", ["on_fit_begin", "on_epoch_end", "on_fit_end"])
@each
def test_each_method_is_optional(name, hook):
    told = []
    one = type("One", (), {hook: lambda self, estimator, info: told.append(info.epoch)})()
    model = clone(MODELS[name]).set_params(callbacks=one)  # and not in a list
    n = int(np.max(quietly(model, X, Y).n_iter_))
    expected = {"on_fit_begin": [0], "on_epoch_end": list(range(1, n + 1)), "on_fit_end": [n]}
    assert told == expected[hook]


def test_what_has_a_method_that_is_none_is_refused():
    one = type("One", (), {"on_fit_begin": 3})()
    with pytest.raises(ValueError, match="or objects with a method on_epoch_end"):
        LogisticRegression(callbacks=[one]).fit(X, Y)


@pytest.mark.parametrize("name", ["mlp", "convnet", "perceptron"])
def test_partial_fit_is_an_epoch_and_no_fit(name):
    hears = Hears()
    model = with_callbacks(name, hears)
    for _ in range(3):
        model.partial_fit(X, Y, classes=np.unique(Y))
    assert hears.heard == [("epoch", 1)] * 3


@pytest.mark.parametrize("name", ["mlp", "lbfgs", "logistic", "saga", "perceptron"])
def test_a_fit_that_goes_on_begins_where_the_file_was(name, tmp_path):
    path = tmp_path / "{epoch}.ckpt"
    quietly(with_callbacks(name, Checkpoint(path)), X, Y)
    hears = Hears()
    quietly(with_callbacks(name, hears), X, Y, resume_from=tmp_path / "3.ckpt")
    assert hears.heard[:2] == [("begin", 3), ("epoch", 4)]


@pytest.mark.parametrize("place", ["begin", ("epoch", 2), "end"])
@pytest.mark.filterwarnings("ignore:One or more of the test scores")
@pytest.mark.parametrize("name", ["mlp", "logistic", "perceptron"])
def test_what_a_callback_raises_in_a_stack_is_its_fit_alone(name, place):
    TOLD.clear()
    grid = {"callbacks": [[Hears(place, fails)], [Hears()]]}
    search = GridSearchCV(clone(MODELS[name]).set_params(max_iter=9), grid, cv=2, refit=False)
    with pytest.warns(FitFailedWarning, match=r"(?s)2 fits failed.*the disk is full"):
        search.fit(X, Y)
    scores = search.cv_results_["mean_test_score"]
    assert np.isnan(scores[0]) and np.isfinite(scores[1])
    # it is told of no epoch after that
    failed = [what for what, of in TOLD if of == place]
    assert {"begin": 0, "end": 36}.get(place, 8) >= failed.count("epoch")
    assert failed.count("end") == failed.count("begin") == 4  # each in its stack, and alone


@pytest.mark.filterwarnings("ignore:Search interrupted", "ignore:One or more of the test scores")
@pytest.mark.parametrize("name", ["mlp", "logistic", "perceptron"])
def test_ctrl_c_in_a_search_ends_each_fit_that_has_begun(name):
    TOLD.clear()
    grid = {"callbacks": [[Hears()], [Hears(("epoch", 2), interrupts)]]}
    search = GridSearchCV(clone(MODELS[name]), grid, cv=2, refit=False)
    with contextlib.suppress(KeyboardInterrupt):  # where no candidate has begun all its folds
        search.fit(X, Y)
    told = [what for what, _ in TOLD]
    assert told.count("begin") == told.count("end") >= 2


@each
def test_weights_stay_where_they_are_if_nobody_looks(name):
    """One that does not look at them is given the estimator without; others are not."""
    blind, sees = Hears(), Hears()
    blind.needs_fitted = False
    for callbacks, is_fitted in (([blind], False), ([blind, sees], True)):
        blind.infos = []
        quietly(with_callbacks(name, *callbacks), X, Y)
        given = [estimator for estimator, _ in blind.infos[1:]]
        assert given
        for estimator in given:
            assert bool({"coef_", "coefs_"} & set(vars(estimator))) == is_fitted
