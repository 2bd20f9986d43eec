"""What a verbose fit or search shows: lines, or a bar by tqdm or rich."""

from __future__ import annotations

import io
import re
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from _estimators import LEARNERS, NETWORKS, one_each, with_known
from _requirements import require
from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier, Perceptron
from estimators.callbacks import EarlyStopping, LearningRateLogger, ProgressBar
from estimators.model_selection import GridSearchCV, cross_val_score
from estimators.shared.bars import say
from estimators.shared.progress import Reporter

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_layer_sizes": (8,), "conv_layer_sizes": (2,), "max_iter": 3, "random_state": 0}
SMALL |= {"early_stopping": True}
WITH_A_BAR = [cls for cls in LEARNERS if cls is not Perceptron]  # its loop is scikit-learn's


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:200] / 16, y[:200]


def hide(monkeypatch, *packages):
    """Make the imports of packages fail."""
    for package in packages:
        for name in [package, *(n for n in sys.modules if n.startswith(f"{package}."))]:
            monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def no_bars(monkeypatch):
    hide(monkeypatch, "tqdm", "rich")


@pytest.fixture
def no_tqdm(monkeypatch):
    hide(monkeypatch, "tqdm")


# The bar -----------------------------------------------------------------------------------------


def test_the_bar_shows_loss_score_rate_and_time_left(digits, capsys):
    require("tqdm", "progress")
    X, y = digits
    model = MLPClassifier((8,), max_iter=3, verbose="bar", learning_rate="cosine", random_state=0)
    model.fit(X, y, X_val=X, y_val=y)
    bar = capsys.readouterr().err.split("\r")[-1]
    loss, score = model.loss_curve_[-1], model.validation_scores_[-1]
    assert f"loss={loss:.4f}, rate=0" in bar
    assert f"validation={score:.4f}" in bar
    assert "3/3" in bar and "<00:00" in bar and "epoch" in bar


@one_each([with_known(cls, verbose="bar", **SMALL) for cls in WITH_A_BAR])
def test_a_bar_for_every_estimator(estimator, digits, capsys):
    """It goes to the stream of errors, and tells how far the fit is and what it has come to."""
    require("tqdm", "progress")
    model = clone(estimator).fit(*digits)
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{model.n_iter_ if np.isscalar(model.n_iter_) else model.n_iter_[0]}/3" in err
    assert "loss=" in err
    is_network = type(estimator) in NETWORKS
    assert ("epoch" if is_network else "iteration") in err
    assert ("rate=0.001" in err) == ("validation=" in err) == is_network


def test_the_bar_is_the_one_for_notebooks_where_there_is_one(monkeypatch):
    auto = require("tqdm.auto", "progress")
    made = []

    class Bar(SimpleNamespace):
        def __init__(self, **arguments):
            made.append(arguments)
            super().__init__(close=lambda: None)

    monkeypatch.setattr(auto, "tqdm", Bar)
    with Reporter("bar", 10):
        assert made == [{"total": 10, "unit": "epoch"}]


@pytest.mark.parametrize("name", ["bars", "Bar", -1, 0.5, None])
def test_verbose_is_a_number_or_the_bar(name, digits):
    for cls in WITH_A_BAR:
        with pytest.raises(ValueError, match="'verbose' parameter of .* must be .*'bar'"):
            cls(verbose=name).fit(*digits)


def test_stacked_fits_show_no_bar_of_their_own(digits, capsys):
    require("tqdm", "progress")
    for model in (
        MLPClassifier((8,), max_iter=2, verbose="bar"),
        LogisticRegression(verbose="bar"),
    ):
        cross_val_score(model, *digits, cv=2)
        assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "model",
    [
        MLPClassifier((8,), max_iter=3, early_stopping=True, random_state=0),
        MLPClassifier((8,), max_iter=3, solver="lbfgs", random_state=0),
        ConvNetClassifier((2,), max_iter=3, random_state=0),
        LogisticRegression(max_iter=3),
    ],
    ids=["adam", "lbfgs", "images", "logistic"],
)
def test_without_both_a_bar_is_a_warning_and_lines(model, digits, no_bars, capsys):
    X, y = digits
    clone(model).set_params(verbose=1).fit(X, y)
    lines = capsys.readouterr().out
    with pytest.warns(UserWarning, match=r"progress bar needs tqdm or rich.*pip install"):
        clone(model).set_params(verbose="bar").fit(X, y)
    assert capsys.readouterr().out == lines != ""


def test_an_integer_needs_neither(digits, no_bars, capsys):
    X, y = digits
    for model in (MLPClassifier((8,), max_iter=2), LogisticRegression(max_iter=2), Perceptron()):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", ConvergenceWarning)
            clone(model).set_params(verbose=10).fit(X, y)
        assert "1" in capsys.readouterr().out


def test_a_search_without_both_prints_a_line_a_fit(digits, no_bars, capsys):
    with pytest.warns(UserWarning, match="progress bar needs tqdm or rich"):
        scores = cross_val_score(MLPClassifier((8,), max_iter=2), *digits, cv=3, progress=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"Fit {k} of 3 done" for k in (1, 2, 3)]
    assert lines[-1].endswith(f"best score = {scores.max():.4f}")


# rich --------------------------------------------------------------------------------------------


def test_without_tqdm_rich_draws_the_bar(digits, no_tqdm, capsys):
    require("rich", "test")
    X, y = digits
    model = MLPClassifier((8,), max_iter=3, verbose="bar", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y, X_val=X, y_val=y)
    out, err = capsys.readouterr()
    assert out == ""
    assert "3/3 epoch" in err and f"loss={model.loss_curve_[-1]:.4f}"[:9] in err


def test_rich_writes_what_a_fit_has_to_say_above_the_bar(capsys):
    require("rich", "test")
    with Reporter("bar", 4, backend="rich") as reporter:
        reporter.epoch(2, 0.5)
        reporter.note("[half] of it")
    err = capsys.readouterr().err
    assert "[half] of it" in err and "2/4 epoch" in err and "loss=0.5000" in err


@pytest.mark.parametrize("backend", ["tqdm", "rich"])
def test_a_backend_that_is_asked_for_and_missing_is_no_other(backend, monkeypatch, capsys):
    hide(monkeypatch, backend)
    install = {"tqdm": "'cukernels.progress.'", "rich": "rich"}[backend]
    reporter = Reporter("bar", 4, backend=backend)
    with pytest.warns(UserWarning, match=f"needs {backend}, which is not.*install {install}`"):
        reporter.__enter__()
    reporter.epoch(1, 0.25)
    assert capsys.readouterr() == ("Iteration 1, loss = 0.25000000\n", "")


def test_the_bar_of_a_fit_that_goes_on_begins_where_it_was(capsys):
    require("tqdm", "progress")
    with Reporter("bar", 9) as reporter:
        reporter.epoch(8, 0.25)
        reporter.epoch(9, 0.25)
    assert "9/9" in capsys.readouterr().err


# Lines beside a bar ------------------------------------------------------------------------------


class Screen(io.StringIO):
    """A terminal: both streams in one place, where a line may be written over."""

    def isatty(self):
        return True

    @property
    def lines(self):
        """What is seen of each line at the end; nothing moves up."""
        seen = []
        for line in re.sub(r"\x1b\[\?\d+.|\x1b\[[\d;]*m", "", self.getvalue()).split("\n"):
            shown = ""
            for part in re.split(r"\r", line):
                part = part.removeprefix("\x1b[2K")
                shown = part + ("" if "\x1b[2K" in line else shown[len(part) :])
            seen.append(shown.rstrip())
        return seen


@pytest.mark.parametrize("backend", ["tqdm", "rich"])
def test_lines_are_printed_above_the_bar(backend, digits, monkeypatch):
    require(backend, "test")
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stopping = EarlyStopping("loss", 2, min_delta=9.0, verbose=True)
    ready = [ProgressBar(backend), LearningRateLogger(), stopping]
    MLPClassifier((8,), max_iter=9, learning_rate="cosine", callbacks=ready).fit(*digits)
    lines = [line for line in screen.lines if "learning rate" in line or "stopping" in line]
    assert [line[:8] for line in lines] == ["Epoch 1,", "Epoch 2,", "Epoch 3,", "Epoch 3:"]
    assert not any("epoch" in line.split("stopping")[0] for line in lines)  # of a bar
    # and what a fit itself has to say
    screen.truncate(0)
    settings = {"n_iter_no_change": 1, "tol": 9.0, "max_iter": 20}
    MLPClassifier((8,), verbose=1, callbacks=ProgressBar(backend), **settings).fit(*digits)
    words = ("Iteration", "Training loss did")
    assert len([line for line in screen.lines if line.startswith(words)]) == 4
    assert not any(word in line[1:] for line in screen.lines for word in words)
    say("no bar is left")
    assert screen.lines[-2] == "no bar is left"


def test_lines_go_to_the_stream_that_they_go_to_without_a_bar(digits, capsys):
    require("tqdm", "progress")
    require("rich", "test")
    for bars in ([], [ProgressBar("tqdm")], [ProgressBar("rich")]):
        ready = [*bars, LearningRateLogger()]
        MLPClassifier((8,), max_iter=3, callbacks=ready).fit(*digits)
        assert capsys.readouterr().out == "Epoch 1, learning rate = 0.001\n"


# Searches ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["tqdm", "rich"])
def test_a_search_draws_by_what_is_asked_for(backend, digits, capsys, monkeypatch):
    require(backend, "test")
    hide(monkeypatch, {"tqdm": "rich", "rich": "tqdm"}[backend])
    model = MLPClassifier((8,), max_iter=2, random_state=0)
    GridSearchCV(model, {"alpha": [0, 1]}, cv=2, progress=backend, refit=False).fit(*digits)
    out, err = capsys.readouterr()
    assert out == "" and "4/4" in err and "fit" in err and "best sco" in err


def test_a_search_prints_lines_where_they_are_asked_for(digits, capsys):
    model = MLPClassifier((8,), max_iter=2, random_state=0)
    cross_val_score(model, *digits, cv=2, progress="lines")
    out, err = capsys.readouterr()
    assert [line.split(",")[0] for line in out.splitlines()] == [
        "Fit 1 of 2 done",
        "Fit 2 of 2 done",
    ]
    assert err == ""


def test_progress_is_a_bool_or_a_name(digits):
    model = MLPClassifier((8,), max_iter=2)
    with pytest.raises(ValueError, match="'progress' parameter of GridSearchCV must be"):
        GridSearchCV(model, {}, progress="bars").fit(*digits)
    with pytest.raises(ValueError, match=r"progress must be a bool or one of .*got 'bars'"):
        cross_val_score(model, *digits, progress="bars")
