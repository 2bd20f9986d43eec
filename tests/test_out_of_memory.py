"""Allocations on the host that fail, one after the other: what is left is as before them."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from threadpoolctl import ThreadpoolController

from _failing import failing_allocation
from cukernels.runtime import blas_threads, workers
from cukernels.runtime.workers import threads
from estimators import (
    ConvNetClassifier,
    FilterBankTransformer,
    LogisticRegression,
    MLPClassifier,
    Perceptron,
    VisualWordsTransformer,
)
from estimators.model_selection import GridSearchCV

pytestmark = pytest.mark.filterwarnings("ignore")

X, Y = load_digits(return_X_y=True)
X, Y = (X[:120] / 16).astype(np.float32), Y[:120] % 3
SPARSE = sp.csr_matrix(X)
MLP = MLPClassifier((8,), batch_size=40, max_iter=2, random_state=0)
SEARCH = {"cv": 2, "error_score": "raise"}
FITS = {
    "mlp": (MLP, X),
    "early stopping": (clone(MLP).set_params(early_stopping=True, dropout=0.2), X),
    "large": (MLPClassifier((300,), max_iter=1, random_state=0), np.tile(X, (10, 8))),
    "mlp, sparse": (MLP, SPARSE),
    "mlp, lbfgs": (clone(MLP).set_params(solver="lbfgs"), X),
    "convnet": (ConvNetClassifier((2,), hidden_layer_sizes=(), max_iter=1, random_state=0), X),
    **{
        solver: (LogisticRegression(solver=solver, max_iter=2), X)
        for solver in ("lbfgs", "newton-cholesky", "newton-cg")
    },
    "saga": (LogisticRegression(solver="saga", l1_ratio=0.5, max_iter=2), X),
    "perceptron": (Perceptron(max_iter=2), X),
    "multinomial": (Perceptron(max_iter=2, multi_class="multinomial"), SPARSE),
    "filters": (FilterBankTransformer(), X),
    "words": (VisualWordsTransformer(3, n_channels=1, random_state=0), X),
    "search": (GridSearchCV(MLP, {"alpha": [1e-4, 1e-2]}, **SEARCH), X),
    "search, logistic": (GridSearchCV(LogisticRegression(max_iter=2), {"C": [1, 2]}, **SEARCH), X),
}
WORDS = r"^the host is out of memory: Unable to allocate 7.45 GiB .*Lower batch_size or hidden"


def labels_of(samples):
    return np.resize(Y, samples.shape[0])


def bits(value, depth=0):
    """All that an estimator has learned, as something to compare."""
    if isinstance(value, np.ndarray):
        return value.tobytes() if value.dtype != object else [bits(v) for v in value]
    if isinstance(value, list | tuple):
        return [bits(v, depth) for v in value]
    if hasattr(value, "get_params") and depth < 2:
        return {
            name: bits(v, depth + 1)
            for name, v in sorted(vars(value).items())
            if name.endswith("_") and "time" not in name and name not in ("cv_results_", "scorer_")
        }
    return value if isinstance(value, int | float | str) else None


class Well:
    """How threads and BLAS stand."""

    def __init__(self):
        self.blas = ThreadpoolController().select(user_api="blas").lib_controllers
        self.before = self.now()

    def now(self):
        return [one.num_threads for one in self.blas], threads(), len(workers._helpers)

    def check(self):
        assert self.now() == self.before
        assert not blas_threads._holders and not blas_threads._turn and not workers._open_jobs
        assert blas_threads._before is None
        assert not getattr(workers._inside, "one", False)


def places(count):
    """Some of the allocations: the first ones, and then fewer and fewer."""
    place = 1
    while place <= count:
        yield place
        place += 1 + place // 8


def fails(work, place):
    """The words of the error of work whose allocation at a place fails; "" if it has none."""
    with failing_allocation(place) as failing:
        try:
            work()
        except MemoryError as error:
            return str(error), failing.at
    return "", failing.at


@pytest.mark.parametrize("name", FITS)
def test_a_fit_that_fails_anywhere_leaves_nothing(name, two_threads):
    model, samples = FITS[name]
    labels = labels_of(samples)
    expected = bits(clone(model).fit(samples, labels))
    fitted = clone(model).fit(samples[:60], labels[:60] % 2)
    with failing_allocation() as all_of_them:
        clone(model).fit(samples, labels)
    start = {False: vars(clone(model)), True: dict(vars(fitted))}
    well, n_failed = Well(), 0
    for place in places(all_of_them.count):
        was_fitted = place % 2 == 0
        estimator = fitted if was_fitted else clone(model)
        words, at = fails(lambda e=estimator: e.fit(samples, labels), place)
        if not words:  # a fit that fails in a stack may be repeated alone
            assert bits(estimator) == expected, at
            fitted = clone(model).fit(samples[:60], labels[:60] % 2)
            start[True] = dict(vars(fitted))
            continue
        n_failed += 1
        assert re.search(WORDS, words), (at, words)
        well.check()
        now, before = vars(estimator), start[was_fitted]
        assert now.keys() == before.keys(), at
        if was_fitted:
            assert all(now[attribute] is before[attribute] for attribute in now), at
        else:
            if hasattr(estimator, "predict"):
                with pytest.raises(NotFittedError):
                    estimator.predict(samples)
            assert bits(estimator.fit(samples, labels)) == expected, at
    assert n_failed
    assert bits(fitted.fit(samples, labels)) == expected


@pytest.mark.parametrize("name", ["large", "mlp, sparse", "convnet", "lbfgs", "perceptron"])
def test_no_memory_is_held_after_a_failure(name):
    model, samples = FITS[name]
    labels = labels_of(samples)
    with failing_allocation() as all_of_them:
        clone(model).fit(samples, labels)
    chosen = list(places(all_of_them.count))[::2]
    for place in chosen:  # so that what is kept once is there
        fails(lambda: clone(model).fit(samples, labels), place)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for place in chosen:
            fails(lambda: clone(model).fit(samples, labels), place)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert held < 50_000


@pytest.mark.parametrize("name", ["large", "mlp, sparse", "convnet", "lbfgs", "perceptron"])
def test_a_prediction_that_fails_anywhere(name, two_threads):
    model, samples = FITS[name]
    model = clone(model).fit(samples, labels_of(samples))
    expected, well = model.predict(samples), Well()
    with failing_allocation() as all_of_them:
        model.predict(samples)
    for place in places(all_of_them.count):
        words, at = fails(lambda: model.predict(samples), place)
        assert re.search(WORDS, words), (at, words)
        well.check()
        np.testing.assert_array_equal(model.predict(samples), expected)


LIMITED = """
import os, resource, sys, threading, warnings
import numpy as np
import estimators as e
from estimators.model_selection import GridSearchCV
warnings.simplefilter("ignore")
X, y = np.random.default_rng(0).random((3000, 300), np.float32), np.arange(3000) % 10
small = X[:300], y[:300]
MODELS = {
    "mlp": e.MLPClassifier((16,), max_iter=2, random_state=0),
    "wide": e.MLPClassifier((40_000, 1000), max_iter=1, random_state=0),
    "logistic": e.LogisticRegression(max_iter=2),
    "search": GridSearchCV(e.MLPClassifier((20_000,), max_iter=1, random_state=0),
                           {"alpha": [1, 2, 3, 4]}, cv=3, max_stack_bytes=2**40),
}
model = MODELS[sys.argv[1]]
once = e.MLPClassifier((16,), max_iter=2, random_state=0).fit(*small)
n_threads = threading.active_count()
now = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
resource.setrlimit(resource.RLIMIT_AS, (now + int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    model.fit(X, y)
    print("fitted")
except MemoryError as error:
    print(error)
    assert threading.active_count() == n_threads
again = e.MLPClassifier((16,), max_iter=2, random_state=0).fit(*small)
assert all((a == b).all() for a, b in zip(again.coefs_, once.coefs_))
print("well")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc, and limits address space")
@pytest.mark.parametrize(
    ("name", "room"), [("wide", 200), ("wide", 400), ("search", 120), ("mlp", 4000)]
)
def test_a_process_with_little_room(name, room):
    """In megabytes, beyond what it has after a fit."""
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, name, str(room * 2**20)], capture_output=True, text=True
    )
    lines = run.stdout.splitlines()
    assert run.returncode == 0 and lines[-1] == "well", run.stderr[-2000:]
    if room > 1000:
        assert lines[0] == "fitted"
    else:
        assert re.search(r"host is out of memory: Unable to allocate .*iB.*Lower batch_s", lines[0])
