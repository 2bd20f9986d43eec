"""Ctrl-C at any point of a fit leaves the weights of the last epoch that has ended.

KeyboardInterrupt is raised after lines of the files that count epochs, as Python would do it, and
within steps. The reference is a fit that was never interrupted, and that ends there by itself.
"""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits

from _struck import Struck
from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier, Perceptron
from estimators.callbacks import Checkpoint
from estimators.linear import descent, perceptron_stack, perceptron_swept
from estimators.model_selection import GridSearchCV
from estimators.neural import classifier
from estimators.neural import fit as neural_fit
from estimators.optimize import curvature, lbfgs, vectors
from estimators.training import full_batch, loop, member, stack

PLACES = 40  # of all lines that a fit goes through, evenly spread
STEPPED = {m.__file__ for m in (loop, stack, member, neural_fit, classifier)}
LBFGS = {m.__file__ for m in (lbfgs, vectors, curvature, full_batch)}
SWEPT = {m.__file__ for m in (perceptron_stack, perceptron_swept)}
SMALL = {"max_iter": 6, "random_state": 0, "tol": 0.0}
MLP = MLPClassifier((8,), batch_size=50, **SMALL)
FITS = {
    "adam": (STEPPED, MLP),
    "sgd": (STEPPED, clone(MLP).set_params(solver="sgd", learning_rate="invscaling")),
    "early stopping": (STEPPED, clone(MLP).set_params(early_stopping=True, batch_norm=True)),
    "convnet": (STEPPED, ConvNetClassifier((2,), hidden_layer_sizes=(), batch_size=90, **SMALL)),
    "mlp lbfgs": (LBFGS, clone(MLP).set_params(solver="lbfgs")),
    "lbfgs": (LBFGS, LogisticRegression(max_iter=6, tol=1e-9)),
    "newton": ({descent.__file__}, LogisticRegression(solver="newton-cg", max_iter=6, tol=1e-9)),
    "perceptron": (SWEPT, Perceptron(multi_class="multinomial", tol=None, max_iter=6)),
}
FITTED = ("coefs_", "intercepts_", "coef_", "intercept_", "loss_curve_", "validation_scores_")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:200] / 16, y[:200]


def fitted(model, X, y, **fit):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, y, **fit)


def n_iter(model):
    return int(np.max(model.n_iter_))


def assert_same(model, other):
    for name in FITTED:
        a, b = getattr(model, name, None), getattr(other, name, None)
        assert (a is None) == (b is None), name
        if a is not None:
            assert len(a) == len(b), name
            for mine, theirs in zip(a, b, strict=True):
                np.testing.assert_array_equal(mine, theirs, err_msg=name)


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("goes_on", [False, True], ids=["", "from a file"])
def test_wherever_it_strikes(name, goes_on, digits, tmp_path):
    files, model = FITS[name]
    whole, fit, first = {}, {}, 0  # fits that end after so many epochs
    for epochs in range(1, 7):
        whole[epochs] = fitted(clone(model).set_params(max_iter=epochs), *digits)
    if goes_on:
        fit, first = {"resume_from": tmp_path / "2.ckpt"}, 2
        writes = clone(model).set_params(callbacks=Checkpoint(tmp_path / "{epoch}.ckpt"))
        assert_same(fitted(writes, *digits), whole[6])
    counted = Struck(files, "line", 10**9)
    counted.during(lambda: fitted(clone(model), *digits, **fit))
    n_lines, struck_in = 10**9 - counted.left, set()
    for place in np.unique(np.linspace(0, n_lines - 1, PLACES).astype(int)).tolist():
        one, strike = clone(model), Struck(files, "line", place)
        if not strike.during(lambda one=one: fitted(one, *digits, **fit)):
            # the interrupt was caught by the fit, which then has a result
            pass
        if not any(hasattr(one, n) for n in ("coefs_", "coef_")):
            continue  # nothing had begun, or it was struck again on the way out
        epochs = n_iter(one)
        struck_in.add(epochs)
        assert epochs >= first
        if epochs:
            assert_same(one, whole[epochs])
    assert len(struck_in) > 3, struck_in


@pytest.mark.parametrize("step", [3, 4, 9, 14])
def test_within_an_epoch_of_a_step(step, digits, monkeypatch):
    count = itertools.count()
    learn = stack.ModelGroup.learn

    def counted(self, *args):
        if next(count) == step:
            raise KeyboardInterrupt
        return learn(self, *args)

    monkeypatch.setattr(stack.ModelGroup, "learn", counted)
    with pytest.warns(UserWarning, match="interrupted by user"):
        model = clone(MLP).fit(*digits)
    monkeypatch.undo()
    assert model.n_iter_ == step // 4 == len(model.loss_curve_)
    if model.n_iter_:
        assert_same(model, fitted(clone(MLP).set_params(max_iter=model.n_iter_), *digits))
    again = clone(MLP).set_params(max_iter=6)  # and it goes on from there by `partial_fit`
    for one in (model, fitted(again.set_params(max_iter=max(1, model.n_iter_)), *digits)):
        one.set_params(random_state=1)
        one.partial_fit(*digits)
    if step >= 4:
        assert_same(model, again)


def test_models_of_a_search(digits, monkeypatch):
    count = itertools.count()
    learn = stack.ModelGroup.learn

    def counted(self, *args):
        if next(count) == 10:
            raise KeyboardInterrupt
        return learn(self, *args)

    monkeypatch.setattr(stack.ModelGroup, "learn", counted)
    grid = {"alpha": [1e-4, 1e-1], "learning_rate_init": [1e-3, 1e-2]}
    search = GridSearchCV(clone(MLP), grid, cv=2, refit=False)
    with pytest.warns(UserWarning, match="Search interrupted"):
        search.fit(*digits)
    monkeypatch.undo()
    short = GridSearchCV(clone(MLP).set_params(max_iter=10 // 2), grid, cv=2, refit=False)
    fitted(short, *digits)
    for key in ("split0_test_score", "split1_test_score"):
        np.testing.assert_array_equal(search.cv_results_[key], short.cv_results_[key])
