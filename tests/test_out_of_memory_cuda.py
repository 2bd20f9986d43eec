"""Allocations on a GPU that fail, one after the other: what is left is as if nothing had begun."""

from __future__ import annotations

import gc
import re
import threading

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier, Perceptron
from estimators.costs import memory as memories
from estimators.model_selection import GridSearchCV
from estimators.shared import samples as shared_samples

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore")]

RNG = np.random.default_rng(0)
X, Y = RNG.random((60, 64), np.float32), np.arange(60) % 3
SPARSE = sp.csr_matrix(X * (X > 0.5))
MLP = MLPClassifier((8,), batch_size=12, max_iter=6, random_state=0)
SEARCH = {"cv": 2, "error_score": "raise"}
FITS = {
    "replayed": (MLP, X),
    "early stopping": (clone(MLP).set_params(early_stopping=True, dropout=0.2), X),
    "sparse": (clone(MLP).set_params(max_iter=2), SPARSE),
    "network, lbfgs": (clone(MLP).set_params(solver="lbfgs"), X),
    "convnet": (ConvNetClassifier((2,), hidden_layer_sizes=(), max_iter=2, random_state=0), X),
    "logistic": (LogisticRegression(max_iter=5), X),
    "logistic, newton": (LogisticRegression(solver="newton-cholesky", max_iter=2), X),
    "logistic, sparse": (LogisticRegression(max_iter=3), SPARSE),
    "perceptron": (Perceptron(max_iter=3), X),
    "perceptron, sparse": (Perceptron(max_iter=2), SPARSE),
    "search": (GridSearchCV(MLP, {"alpha": [1e-4, 1e-2]}, **SEARCH), X),
    "search, logistic": (GridSearchCV(LogisticRegression(max_iter=3), {"C": [1, 2]}, **SEARCH), X),
}
WORDS = r"^cuda:0 is out of memory: .*bytes were asked for, and .* Lower batch_size or hidden_layer"


def on_gpu(model):
    inner = "estimator__" if isinstance(model, GridSearchCV) else ""
    return clone(model).set_params(**{f"{inner}device": "cuda"})


def learned(model):
    """The bits of a fitted estimator."""
    best = getattr(model, "best_estimator_", model)
    arrays = [*getattr(best, "coefs_", ()), *getattr(best, "intercepts_", ())]
    return [a.tobytes() for a in arrays or [best.coef_, best.intercept_]]


@pytest.fixture
def unchecked(monkeypatch):
    """Nobody looks beforehand whether there is enough memory."""
    for module in (memories, shared_samples):
        monkeypatch.setattr(module, "device_memory", lambda device: (2**60, 2**60))


class Memory:
    """What CuPy's pool has in use, with nothing in it that nobody uses."""

    def __init__(self, cupy):
        self.pool = cupy.get_default_memory_pool()
        self.pinned = cupy.get_default_pinned_memory_pool()

    def used(self):
        self.empty()
        return self.pool.used_bytes()

    def empty(self):
        """So that the next array asks the driver."""
        gc.collect()
        self.pool.free_all_blocks()
        self.pinned.free_all_blocks()


def tried(work, softgpu, memory, *, first, count=2**40):
    """Work whose allocations fail from one on; whether any did, and the words if it did not end."""
    memory.empty()
    with softgpu.failing_allocations(first, count) as failing:
        try:
            work()
        except MemoryError as error:
            return failing.failed, str(error)
        return failing.failed, ""


def places(part=4):
    """Which allocations fail: the first ones, and then fewer and fewer of all that there are."""
    place = 1
    while True:
        yield place
        place += 1 + place // part


@pytest.mark.parametrize("name", FITS)
def test_a_fit_that_fails_anywhere_leaves_nothing(name, cupy, softgpu, unchecked):
    """In turns one that was not fitted before, and one that was, to other labels."""
    model, samples = FITS[name]
    model = on_gpu(model)
    expected = learned(clone(model).fit(samples, Y))  # what belongs to no fit is there now
    fitted = clone(model).fit(samples[:30], Y[:30] % 2)
    memory, threads, n_failed = Memory(cupy), threading.active_count(), 0
    used, start = memory.used(), {False: vars(clone(model)), True: dict(vars(fitted))}
    for place in places():
        was_fitted = n_failed % 2 == 1
        estimator = fitted if was_fitted else clone(model)
        failed, words = tried(lambda e=estimator: e.fit(samples, Y), softgpu, memory, first=place)
        if not failed:
            break
        assert failed >= 2  # CuPy asks again when it has freed what it can
        assert re.search(WORDS, words), (place, words)
        assert memory.used() == used, place
        assert threading.active_count() == threads
        assert cupy.cuda.get_current_stream() == cupy.cuda.Stream.null
        now, before = vars(estimator), start[was_fitted]
        assert now.keys() == before.keys()
        if was_fitted:
            assert all(now[attribute] is before[attribute] for attribute in now)
        else:
            with pytest.raises(NotFittedError):
                estimator.predict(samples)
            assert learned(estimator.fit(samples, Y)) == expected
        n_failed += 1
    assert n_failed > 8
    assert learned(fitted.fit(samples, Y)) == expected


@pytest.mark.parametrize("name", FITS)
def test_an_allocation_that_fails_once_costs_nothing(name, cupy, softgpu, unchecked):
    """CuPy's pool gives back what nobody uses, and asks again."""
    model, samples = FITS[name]
    model = on_gpu(model)
    expected, memory = learned(clone(model).fit(samples, Y)), Memory(cupy)
    for place in places(1):
        fit = clone(model)
        failed, words = tried(
            lambda fit=fit: fit.fit(samples, Y), softgpu, memory, first=place, count=1
        )
        assert not words and learned(fit) == expected
        if not failed:
            break


@pytest.mark.parametrize("name", ["replayed", "sparse", "convnet", "logistic", "perceptron"])
@pytest.mark.parametrize("where", ["host", "device"])
def test_a_prediction_that_fails_anywhere(name, where, cupy, softgpu):
    model, samples = FITS[name]
    model = on_gpu(model).fit(samples, Y)
    if where == "device":
        if sp.issparse(samples):
            pytest.skip("sparse samples are on the host")
        samples = cupy.asarray(samples)
    expected, memory = cupy.asnumpy(model.predict(samples)), Memory(cupy)
    used, n_failed = memory.used(), 0
    for place in places():
        failed, words = tried(lambda: model.predict(samples), softgpu, memory, first=place)
        if not failed:
            break
        n_failed += 1
        assert "cuda:0 is out of memory" in words
        assert memory.used() == used
        np.testing.assert_array_equal(cupy.asnumpy(model.predict(samples)), expected)
    assert n_failed
