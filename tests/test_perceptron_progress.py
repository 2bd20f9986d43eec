"""What a fit of `Perceptron` tells and refuses, and what is left when it is ended."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Perceptron as ScikitLearns

from _perceptrons import DATA, assert_near, assert_same
from _requirements import RELEASE
from estimators import Perceptron
from estimators.linear import perceptron_compiled
from estimators.linear.perceptron_stack import PerceptronStack

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def without_times(text):
    return [line for line in text.splitlines() if "seconds" not in line and "[Parallel" not in line]


@pytest.mark.parametrize("verbose", [1, 2, 10, True])
@pytest.mark.parametrize("data", ["iris", "cancer"])
def test_prints_scikit_learns_lines(data, verbose, capsys):
    X, y = DATA[data]
    printed = []
    for P in (Perceptron, ScikitLearns):
        P(max_iter=3, verbose=verbose).fit(X, y)
        printed.append(without_times(capsys.readouterr().out))
    assert printed[0] == printed[1]
    assert sum(line.startswith("-- Epoch") for line in printed[0]) == 3 * (1 + 2 * (data == "iris"))


@pytest.mark.parametrize("multi_class", ["ovr", "multinomial"])
@pytest.mark.parametrize("labels", [["ant", "bee"], ["ant", "bee", "cow"]], ids=["two", "three"])
def test_a_class_of_one_member_is_named(labels, multi_class):
    y = np.array(labels * 8 + ["dog"])
    if len(labels) == 2:
        y[y == "ant"] = "bee"
    X = np.random.default_rng(0).standard_normal((len(y), 2))
    with pytest.raises(ValueError, match="[Tt]he least populated class") as error:
        Perceptron(early_stopping=True, multi_class=multi_class).fit(X, y)
    if RELEASE >= (1, 8):
        assert "dog" in str(error.value)


def test_an_epoch_limit_warns_in_scikit_learns_words():
    X, y = DATA["digits"]
    with pytest.warns(ConvergenceWarning, match="Maximum number of iteration reached before conv"):
        Perceptron(max_iter=1).fit(X, y)


@pytest.mark.parametrize(
    ("parameters", "call", "message"),
    [
        ({"early_stopping": True}, "partial_fit", "early_stopping should be False with partial"),
        ({}, "one class", "number of classes has to be greater than one; got 1 class"),
        ({}, "coef_init", "coef_init does not match dataset"),
        ({"eta0": 100.0}, "large", "Floating-point under-/overflow occurred at epoch #1"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_refuses(parameters, call, message):
    X, y = DATA["iris"]
    clf = Perceptron(**parameters)
    calls = {
        "partial_fit": lambda: clf.partial_fit(X, y, classes=[0, 1, 2]),
        "one class": lambda: clf.fit(X, np.zeros(150)),
        "coef_init": lambda: clf.fit(X, y, coef_init=np.zeros((2, 4))),
        "large": lambda: clf.fit(np.full_like(X, 1e307) * np.sign(X - X.mean(axis=0)), y),
    }
    with pytest.raises(ValueError, match=message):
        calls[call]()
    clf.set_params(early_stopping=False, class_weight=None, eta0=1.0)
    assert_same(clf.fit(X, y), ScikitLearns().fit(X, y))


def test_our_own_sweeps_refuse_a_single_class(swept):
    """As scikit-learn's loop does."""
    X, y = DATA["iris"]
    with pytest.raises(ValueError, match="has to be greater than one; got 1 class"):
        Perceptron().partial_fit(X, np.zeros(150), classes=[0])


def test_ctrl_c_keeps_what_is_trained(monkeypatch):
    X, y = DATA["iris"]
    epoch = PerceptronStack.epoch

    def interrupted(self):
        if self.n_iter == 3:
            raise KeyboardInterrupt
        return epoch(self)

    model = Perceptron(multi_class="multinomial")
    monkeypatch.setattr(PerceptronStack, "epoch", interrupted)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        clf = clone(model).fit(X, y)
    monkeypatch.undo()
    assert_near(clf, model.set_params(max_iter=3, tol=None).fit(X, y))


def test_ctrl_c_in_scikit_learns_loop_is_raised(monkeypatch):
    """As there: nothing is learned before the loop has returned."""
    X, y = DATA["iris"]
    monkeypatch.setattr(perceptron_compiled.SGDClassifier, "fit", lambda *a: press_ctrl_c())
    clf = Perceptron()
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, y)
    monkeypatch.undo()
    assert_same(clf.fit(X, y), ScikitLearns().fit(X, y))


def press_ctrl_c():
    raise KeyboardInterrupt
