"""What a fit was given is free when the fit's last reference is gone, without a look for cycles.

Python finds reference cycles only now and then, and counts objects, not bytes: a hundred fits may
each leave a cycle with the whole of X before it looks. So no fit may leave one: with the collector
switched off, X and every array as large as X are gone with the estimator.
"""

from __future__ import annotations

import contextlib
import gc
import inspect
import io
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone, is_classifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import estimators
from _estimators import ESTIMATORS, with_known
from estimators import model_selection
from estimators.callbacks import Checkpoint

pytestmark = pytest.mark.filterwarnings("ignore")

SIZE = 16  # of images; their pixels are the features
SHORT = {"max_iter": 3, "hidden_layer_sizes": (2,), "conv_layer_sizes": (2,), "n_filters": 2}
SHORT |= {"n_channels": 4, "n_words": 3}
HERE = str(Path(estimators.__file__).parent)


def data(kind: str = "dense") -> tuple[Any, np.ndarray]:
    """A new array of samples, which nobody else refers to, and labels."""
    X = np.random.default_rng(0).random((90, SIZE * SIZE))
    X = np.where(X < 0.6, 0, X) if kind == "sparse" else X
    return sp.csr_matrix(X) if kind == "sparse" else X, np.arange(90) % 3


def left_by(
    work: Callable[..., Any], kind: str = "dense", ends_with: tuple[type, ...] = ()
) -> list[str]:
    """What is still there after work on X and y whose result is thrown away.

    The work may end with an exception of the given types.
    """
    gc.collect()
    gc.freeze()  # what was there before is not looked at
    gc.disable()
    try:
        X, y = data(kind)
        given = weakref.ref(X)
        n_bytes = 90 * SIZE  # of an array that may be left; X has much more, in any dtype
        said = io.StringIO()
        with (
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
            contextlib.suppress(*ends_with),
        ):
            work(X, y)
        del X, y
        left = [] if given() is None else ["X itself"]
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        garbage = list(gc.garbage)
        for thing in garbage:
            for held in [thing, *gc.get_referents(thing)]:
                if issubclass(type(held), np.ndarray) and held.nbytes > n_bytes:
                    left.append(f"{held.dtype}{held.shape} in a {type(thing).__qualname__}")
        return sorted(set(left))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        gc.unfreeze()


TELLS = {"multi_class": "multinomial"}  # a perceptron otherwise tells nothing of its epochs


def short(cls: type, **parameters: Any) -> Any:
    return with_known(cls, **SHORT | parameters)


def variants() -> Iterator[Any]:
    """Every estimator with every solver and whatever else leads to another path of a fit."""
    for cls in ESTIMATORS:
        names = cls().get_params()
        settings: dict[str, dict] = {"default": {}}
        for constraint in getattr(cls, "_parameter_constraints", {}).get("solver", []):
            for option in sorted(getattr(constraint, "options", [])):
                settings[option] = {"solver": option}
        switches = {
            "early_stopping": True, "verbose": 2, "class_weight": "balanced", "warm_start": True,
            "average": True, "dropout": 0.5, "batch_norm": True, "penalty": "l1", "n_jobs": 2,
        }  # fmt: skip
        for name, value in switches.items():
            if name in names and not (name == "penalty" and "solver" in names):
                settings[name] = {name: value}
        if "callbacks" in names:
            settings["callbacks"] = {"callbacks": [lambda *args: None]} | TELLS
        if "l1_ratio" in names and "saga" in settings:
            settings["L1"] = {"solver": "saga", "l1_ratio": 1.0}
        for name, parameters in settings.items():
            yield pytest.param(short(cls, **parameters), id=f"{cls.__name__}-{name}")


def fit(estimator: Any, X: Any, y: np.ndarray, **more: Any) -> Any:
    """Fit a copy, and use it."""
    clf = clone(estimator)
    clf.fit(X, y % 2 if clf.get_params().get("solver") == "liblinear" else y, **more)
    for method in ("transform", "predict", "predict_proba", "score"):
        if hasattr(clf, method):
            getattr(clf, method)(X[:5], *([y[:5]] if method == "score" else []))
    return clf


every_variant = pytest.mark.parametrize("estimator", list(variants()))
every_class = pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)


@every_variant
def test_a_fit(estimator):
    assert left_by(lambda X, y: fit(estimator, X, y)) == []


@pytest.mark.parametrize(
    "cls", [cls for cls in ESTIMATORS if cls().__sklearn_tags__().input_tags.sparse]
)
def test_a_fit_of_sparse_samples(cls):
    assert left_by(lambda X, y: fit(short(cls), X, y), "sparse") == []


@every_class
def test_fits_one_after_the_other(cls):
    def again(X, y):
        clf = fit(short(cls, warm_start=True), X, y)
        clf.fit(X, y)
        if hasattr(clf, "partial_fit"):
            for _ in range(2):
                clf.partial_fit(X, y)
            fresh = short(cls, early_stopping="X_val" in inspect.signature(cls.fit).parameters)
            for _ in range(2):
                fresh.partial_fit(X, y, classes=np.unique(y))

    assert left_by(again) == []


@every_class
def test_a_fit_with_all_that_it_takes(cls):
    takes = inspect.signature(cls.fit).parameters
    accepted = {
        "sample_weight": lambda X, y: np.ones(len(y)),
        "X_val": lambda X, y: X[:9] + 0.0,
        "y_val": lambda X, y: y[:9],
    }

    def work(X, y):
        fit(short(cls, early_stopping=True), X, y, **{
            name: make(X, y) for name, make in accepted.items() if name in takes
        })  # fmt: skip

    assert left_by(work) == []


@every_class
def test_a_fit_that_fails(cls):
    spoiled = {
        "NaN": lambda X, y: fit(short(cls), np.where(X < 0.9, X, np.nan), y),
        "a label less": lambda X, y: fit(short(cls), X, y[:-1]),
        "one class": lambda X, y: fit(short(cls), X, 0 * y),
        "numbers for labels": lambda X, y: fit(short(cls), X, y + 0.5),
        "diverging": lambda X, y: fit(short(cls, learning_rate_init=1e30, solver="sgd"), X, y),
        "no parameter": lambda X, y: fit(short(cls, max_iter="many", alpha="x"), X, y),
    }
    for what, work in spoiled.items():
        assert left_by(work, ends_with=(ValueError, TypeError)) == [], what


def interrupted(work: Callable[..., Any], place: int, calls: list[int] | None = None) -> Callable:
    """The work, with Ctrl-C at some call of a function of this package; `calls` counts them."""
    calls = [0] if calls is None else calls

    def on_event(frame: Any, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(HERE):
            calls[0] += 1
            if calls[0] == place:
                sys.setprofile(None)
                raise KeyboardInterrupt

    def struck(X: Any, y: np.ndarray) -> None:
        sys.setprofile(on_event)
        try:
            work(X, y)
        finally:
            sys.setprofile(None)

    return struck


def calls_of(work: Callable[..., Any]) -> int:
    """How many calls the work has, of functions of this package."""
    calls = [0]
    left_by(interrupted(work, -1, calls))
    return calls[0]


@every_variant
def test_a_fit_that_ctrl_c_ends(estimator):
    def work(X, y):
        fit(estimator, X, y)

    n_calls = calls_of(work)
    for place in np.unique(np.linspace(1, n_calls, 5).astype(int)):
        left = left_by(interrupted(work, int(place)), ends_with=(KeyboardInterrupt,))
        assert left == [], f"call {place} of {n_calls}"


LEARNERS = {cls.__name__: short(cls, random_state=0) for cls in ESTIMATORS if is_classifier(cls())}
SEARCHES = {
    name: getattr(model_selection, name)
    for name in model_selection.__all__
    if isinstance(getattr(model_selection, name), type)
}
FUNCTIONS = {
    name: getattr(model_selection, name) for name in model_selection.__all__ if name not in SEARCHES
}


def grid_of(estimator: Any) -> dict[str, list]:
    names = estimator.get_params()
    values_of = {"C": [0.1, 1.0], "alpha": [1e-4, 1e-2], "block_size": [32, 64]}
    for name, values in values_of.items():
        if name in names:
            return {name: values}
    raise NotImplementedError(f"what to search over in {type(estimator).__name__}?")


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("name", SEARCHES)
def test_a_search(name, learner, fused):
    def work(X, y):
        estimator = LEARNERS[learner]
        more = {"n_iter": 2} if name == "RandomizedSearchCV" else {}
        more |= {"min_resources": 30} if name.startswith("Halving") else {}
        SEARCHES[name](estimator, grid_of(estimator), cv=2, fused=fused, **more).fit(X, y)

    assert left_by(work) == []


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_search_over_pipelines(learner):
    def work(X, y):
        pipeline = make_pipeline(StandardScaler(), LEARNERS[learner])
        step = pipeline.steps[-1][0]
        grid = {f"{step}__{k}": v for k, v in grid_of(LEARNERS[learner]).items()}
        model_selection.GridSearchCV(pipeline, grid, cv=2).fit(X, y)

    assert left_by(work) == []


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_a_search_that_ctrl_c_ends(learner, part):
    def search(X, y):
        grid = grid_of(LEARNERS[learner])
        model_selection.GridSearchCV(LEARNERS[learner], grid, cv=2, refit=False).fit(X, y)

    n_calls = calls_of(search)
    at_part = interrupted(search, max(1, int(part * n_calls)))
    assert left_by(at_part, ends_with=(KeyboardInterrupt,)) == []


def fails_in_the_second_epoch(estimator, info):
    if info.epoch == 2:
        raise ValueError("no more")


@pytest.mark.parametrize("cls", [cls for cls in ESTIMATORS if "callbacks" in cls().get_params()])
@pytest.mark.parametrize("error_score", [np.nan, "raise"])
def test_a_search_whose_callbacks_fail(cls, error_score):
    def work(X, y):
        estimator = short(cls, callbacks=fails_in_the_second_epoch, **TELLS)
        grid = grid_of(estimator)
        model_selection.GridSearchCV(estimator, grid, cv=2, error_score=error_score).fit(X, y)

    assert left_by(work, ends_with=(ValueError,)) == []


@pytest.mark.parametrize(
    ("name", "solver"),
    [
        *(("LogisticRegression", solver) for solver in ("lbfgs", "newton-cg", "saga")),
        *(("MLPClassifier", "lbfgs"), ("ConvNetClassifier", "adam"), ("Perceptron", "")),
    ],
)
def test_a_fit_that_goes_on_from_a_file(name, solver, tmp_path):
    estimator = short(getattr(estimators, name), solver=solver, **TELLS)

    def work(X, y):
        fit(estimator.set_params(callbacks=Checkpoint(tmp_path / "{epoch}.ckpt")), X, y)
        fit(estimator, X, y, resume_from=tmp_path / "1.ckpt")

    assert left_by(work) == []


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_model_selection(name, learner):
    def work(X, y):
        estimator = LEARNERS[learner]
        more: dict[str, Any] = {}
        if name == "validation_curve":
            ((key, values),) = grid_of(estimator).items()
            more = {"param_name": key, "param_range": values}
        FUNCTIONS[name](estimator, X, y, cv=2, **more)

    assert left_by(work) == []


def test_what_is_left_is_found():
    def cycle(X, y):
        holder = {"copy": X.astype(np.float32)}
        holder["itself"] = holder

    assert left_by(cycle) == ["float32(90, 256) in a dict"]
    kept = []
    assert left_by(lambda X, y: kept.append(X)) == ["X itself"]
