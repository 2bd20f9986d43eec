"""Ctrl-C ends a program for scikit-learn, as it does under scikit-learn."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import sklearn.linear_model
import sklearn.model_selection
import sklearn.neural_network
from sklearn.exceptions import NotFittedError

import estimators
from _patching import patched, python  # noqa: F401
from _told import SWEPT, TOLD, Hears, X, Y, interrupts
from estimators.linear.perceptron_compiled import CompiledFit
from estimators.patching import classes

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.usefixtures("patched"),
]
RAISE = {
    "lbfgs": classes.LogisticRegression(max_iter=9, tol=1e-9),
    "saga": classes.LogisticRegression(solver="saga", max_iter=9, tol=1e-9),
    "perceptron": classes.Perceptron(**SWEPT),
    "network by lbfgs": classes.MLPClassifier((4,), solver="lbfgs", max_iter=9, random_state=0),
}
STEPS = classes.MLPClassifier((4,), max_iter=9, random_state=0)


@pytest.mark.parametrize("name", RAISE)
def test_a_fit_that_raises_in_scikit_learn_raises(name):
    model, hears = sklearn.base.clone(RAISE[name]), Hears(("epoch", 2), interrupts)
    with pytest.raises(KeyboardInterrupt):
        model.set_params(callbacks=hears).fit(X, Y)
    assert hears.heard[-1] == ("end", 2)
    with pytest.raises(NotFittedError):
        model.predict(X)
    before = model.set_params(callbacks=None).fit(X, Y).predict_proba(X) if name == "lbfgs" else 0
    with pytest.raises(KeyboardInterrupt):
        model.set_params(callbacks=Hears(("epoch", 2), interrupts)).fit(X[:50], Y[:50])
    if name == "lbfgs":
        np.testing.assert_array_equal(model.predict_proba(X), before)


def test_a_fit_by_scikit_learns_loop_raises(monkeypatch):
    run = CompiledFit._run_alone

    def struck(self, *args, **kwargs):
        run(self, *args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(CompiledFit, "_run_alone", struck)
    with pytest.raises(KeyboardInterrupt):
        classes.Perceptron().fit(X, Y)


def test_a_network_that_trains_in_steps_keeps_what_it_has_as_scikit_learns_does():
    model = sklearn.base.clone(STEPS).set_params(callbacks=Hears(("epoch", 2), interrupts))
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        assert model.fit(X, Y).n_iter_ == 2


@pytest.mark.parametrize("model", [RAISE["lbfgs"], RAISE["perceptron"], STEPS], ids=repr)
@pytest.mark.parametrize("what", ["search", "function"])
def test_a_search_raises_too(model, what):
    TOLD.clear()
    model = sklearn.base.clone(model)
    with pytest.raises(KeyboardInterrupt):
        if what == "search":
            grid = {"callbacks": [[Hears()], [Hears(("epoch", 2), interrupts)]]}
            sklearn.model_selection.GridSearchCV(model, grid, cv=2).fit(X, Y)
        else:
            model.set_params(callbacks=Hears(("epoch", 2), interrupts))
            sklearn.model_selection.cross_val_score(model, X, Y, cv=2)
    told = [what for what, _ in TOLD]
    assert told.count("begin") == told.count("end") >= 1


def test_classes_of_this_package_keep_what_they_have_also_after_a_patch():
    with contextlib.suppress(KeyboardInterrupt):
        sklearn.base.clone(RAISE["lbfgs"]).set_params(callbacks=Hears("begin", interrupts)).fit(
            X, Y
        )
    model = estimators.LogisticRegression(callbacks=Hears(("epoch", 2), interrupts), tol=1e-9)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        assert model.fit(X, Y).n_iter_ == [2]


def test_the_program_ends():
    code = """
import os, signal, sys
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

def strike(estimator, info):
    os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
LogisticRegression(callbacks=strike).fit(*load_digits(return_X_y=True))
print("went on")
"""
    run = python("-m", "estimators", "-q", "-c", code)
    assert run.returncode != 0 and run.stdout == ""
    assert run.stderr.rstrip().endswith("KeyboardInterrupt")
