"""Every warning points at the line of the user's that it is about, however deep it is raised."""

from __future__ import annotations

import _thread
import ast
import inspect
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from sklearn import model_selection as sk
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

import cukernels
import estimators
from estimators import (
    ConvNetClassifier,
    FilterBankTransformer,
    LogisticRegression,
    MLPClassifier,
    Perceptron,
    model_selection,
)
from estimators.callbacks import ProgressBar
from estimators.linear.logistic_fit import LogisticFit
from estimators.linear.perceptron_compiled import CompiledFit
from estimators.neural.fit import NeuralFit
from estimators.shared import warnings as _warnings

X, Y = load_digits(return_X_y=True)
X, Y = X[:60] / 16, Y[:60]
PACKAGES = [Path(package.__file__).parent for package in (cukernels, estimators)]
Site = tuple[str, int]  # the file, and which of its warnings


def sites() -> Iterator[Site]:
    """Yield each place that warns."""
    for file in sorted(file for package in PACKAGES for file in package.rglob("*.py")):
        if file != Path(_warnings.__file__):
            yield from ((str(file), k) for k, _ in enumerate(warning_calls(file)))


def warning_calls(file: Path) -> list[ast.Call]:
    """Calls of `warn`, in the order of their lines."""
    calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    found = [c for c in calls if ast.unparse(c.func).rpartition(".")[2] == "warn"]
    return sorted(found, key=lambda call: call.lineno)


def site_of(frame) -> Site:
    file, line = frame.f_code.co_filename, frame.f_lineno
    calls = warning_calls(Path(file))
    return file, next(k for k, c in enumerate(calls) if c.lineno <= line <= c.end_lineno)


SITES = list(sites())
SCENES: list[Callable] = []


def scene(function: Callable) -> Callable:
    """A user's program that is warned; `patch` is pytest's `monkeypatch`."""
    SCENES.append(function)
    return function


def interrupt(patch, training: type) -> None:
    """Press Ctrl-C when all models of this kind are as far as they get."""
    run = training.run.__func__

    def interrupted(cls, trainings, watch=None):
        run(cls, trainings, watch)
        raise KeyboardInterrupt

    patch.setattr(training, "run", classmethod(interrupted))


# Each user's program warns in the one line that calls a method of ours.


@scene
def logistic_reaches_its_limit(patch):
    LogisticRegression(max_iter=1).fit(X, Y)


@scene
def logistic_in_a_pipeline(patch):
    make_pipeline(MinMaxScaler(), LogisticRegression(max_iter=1)).fit(X, Y)


@scene
def logistic_in_scikit_learns_search(patch):
    sk.GridSearchCV(LogisticRegression(max_iter=1), {"C": [1, 2]}, cv=2).fit(X, Y)


@scene
def logistic_in_our_search(patch):
    model_selection.GridSearchCV(LogisticRegression(max_iter=1), {"C": [1, 2]}, cv=2).fit(X, Y)


@scene
def logistic_in_our_cross_validation(patch):
    model_selection.cross_val_score(LogisticRegression(max_iter=1), X, Y, cv=2)


@scene
def logistic_is_interrupted(patch):
    interrupt(patch, LogisticFit)
    LogisticRegression().fit(X, Y)


@scene
def logistic_without_a_ratio(patch):
    LogisticRegression(l1_ratio=None).fit(X, Y)


@scene
def logistic_with_the_old_penalty(patch):
    LogisticRegression(penalty="l2", l1_ratio=0.5).fit(X, Y)


@scene
def logistic_without_a_penalty(patch):
    LogisticRegression(penalty=None, C=2.0).fit(X, Y)


@scene
def logistic_with_jobs(patch):
    LogisticRegression(n_jobs=2).fit(X, Y)


@scene
def perceptron_reaches_its_limit(patch):
    Perceptron(max_iter=1).fit(X, Y)


@scene
def perceptron_is_interrupted(patch):
    interrupt(patch, CompiledFit)
    Perceptron(max_iter=1).fit(X, Y)


@scene
def network_reaches_its_limit(patch):
    MLPClassifier(hidden_layer_sizes=(4,), max_iter=1).fit(X, Y)


@scene
def network_reaches_its_limit_with_lbfgs(patch):
    MLPClassifier(hidden_layer_sizes=(4,), solver="lbfgs", max_iter=1).fit(X, Y)


@scene
def network_with_a_large_batch(patch):
    MLPClassifier(hidden_layer_sizes=(4,), batch_size=100, max_iter=1).fit(X, Y)


@scene
def network_continued_with_a_large_batch(patch):
    MLPClassifier(hidden_layer_sizes=(4,), batch_size=100).partial_fit(X, Y, classes=range(10))


@scene
def network_diverges_after_its_best_epoch(patch):
    patch.setattr(NeuralFit, "has_diverged", True)
    MLPClassifier(hidden_layer_sizes=(4,), max_iter=3, early_stopping=True).fit(X, Y)


@scene
def network_is_interrupted(patch):
    interrupt(patch, NeuralFit)
    MLPClassifier(hidden_layer_sizes=(4,), max_iter=1).fit(X, Y)


@scene
def network_is_scored_on_what_nobody_learns(patch):
    model = MLPClassifier(hidden_layer_sizes=(4,), max_iter=1, early_stopping=True)
    model.fit(X, np.minimum(Y, 8), X_val=X, y_val=Y)


@scene
def network_shows_a_bar_without_tqdm_and_rich(patch):
    for name in ("tqdm.auto", "rich", "rich.progress"):
        patch.setitem(sys.modules, name, None)
    MLPClassifier(hidden_layer_sizes=(4,), max_iter=1, verbose="bar").fit(X, Y)


@scene
def callback_shows_a_bar_without_rich(patch):
    patch.setitem(sys.modules, "rich", None)
    LogisticRegression(callbacks=ProgressBar("rich")).fit(X, Y)


@scene
def network_with_large_features(patch):
    MLPClassifier(hidden_layer_sizes=(4,), max_iter=1).fit(1e6 * X, Y)


@scene
def images_with_their_channels_first(patch):
    net = ConvNetClassifier(pool_size=None, max_iter=1)
    net.fit(np.zeros((20, 3, 16, 16), np.float32), np.arange(20) % 2)


@scene
def a_described_network_with_its_channels_first(patch):
    ConvNetClassifier(pool_size=None).summary((3, 16, 16), 2)


@scene
def rows_that_may_be_in_colour(patch):
    FilterBankTransformer().fit(np.zeros((9, 3 * 16 * 16), np.float32))


@scene
def rows_that_may_be_three_planes(patch):
    rng = np.random.default_rng(0)
    rows = rng.random((20, 3 * 16 * 16), np.float32)
    ConvNetClassifier(pool_size=None, max_iter=1).fit(rows, np.arange(20) % 2)


@scene
def a_single_image_in_colour(patch):
    FilterBankTransformer().fit(np.zeros((16, 16, 3), np.float32))


@scene
def a_search_is_interrupted(patch):
    interrupt(patch, LogisticFit)
    patch.setattr(LogisticRegression, "fit", lambda self, X, y: self)  # no refit
    model_selection.cross_validate(LogisticRegression(), X, Y, cv=2)


@scene
def a_fit_fails_in_a_stack_only(patch):
    finish, told = LogisticFit.finish, []

    def fails_once(training):
        if not told:
            told.append(training)
            raise ArithmeticError("a defect")
        finish(training)

    patch.setattr(LogisticFit, "finish", fails_once)
    model_selection.cross_val_score(LogisticRegression(), X, Y, cv=2)


@scene
def a_network_of_a_search_begins_anew(patch):
    with tempfile.TemporaryDirectory() as folder:
        search = model_selection.GridSearchCV(MLPClassifier((2,)), {"alpha": [1]}, cv=2)
        search.set_params(refit=False, checkpoint=folder).fit(X, Y)
        for path in Path(folder).glob("*.json"):  # no checkpoint of a network
            path.rename(path.with_suffix(".ckpt"))
        search.fit(X, Y)


class Told(NamedTuple):
    """A warning: the place that warned, and whether it points at a line of the scene."""

    site: Site
    scene: str
    file: str
    is_in_scene: bool


def played(scene: Callable) -> list[Told]:
    """Play a scene, and return what it was told."""
    found: list[Told] = []
    source, first = inspect.getsourcelines(scene)

    def recorded(message, category, stacklevel):
        with warnings.catch_warnings(record=True) as own:
            warnings.simplefilter("always")
            warnings.warn(message, category, stacklevel=stacklevel + 1)
        line = own[0].lineno - first
        site = site_of(sys._getframe(2))
        found.append(Told(site, scene.__name__, own[0].filename, 0 <= line < len(source)))

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what scikit-learn tells is its own
        patch.setattr(_warnings, "warnings", SimpleNamespace(warn=recorded))
        scene(patch)
    return found


@pytest.fixture(scope="module")
def told() -> list[Told]:
    return [one for scene in SCENES for one in played(scene)]


@pytest.mark.parametrize("site", SITES, ids=lambda site: f"{Path(site[0]).stem}-{site[1]}")
def test_each_place_that_warns_points_at_the_users_line(site, told):
    here = [one for one in told if one.site == site]
    assert here, "no scene has this warning: write one"
    assert [one for one in here if one.file != __file__ or not one.is_in_scene] == []


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_each_scene_is_warned(scene, told):
    assert scene.__name__ in {one.scene for one in told}


def test_a_thread_without_a_line_of_the_users():
    """The line that warns is then the best there is."""
    is_told = threading.Event()
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        warnings.showwarning = lambda *told: (record.append(told), is_told.set())
        _thread.start_new_thread(_warnings.warn, ("from a thread",))
        assert is_told.wait(60)
    assert record[0][2] == _warnings.__file__


def test_nobody_counts_levels_by_hand():
    for file in (file for package in PACKAGES for file in package.rglob("*.py")):
        tree = ast.walk(ast.parse(file.read_text()))
        given = [n.arg for n in tree if isinstance(n, ast.keyword)]
        assert file == Path(_warnings.__file__) or "stacklevel" not in given
        calls = [ast.unparse(call.func) for call in warning_calls(file)]
        assert file == Path(_warnings.__file__) or set(calls) <= {"warn"}
