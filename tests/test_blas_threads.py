"""BLAS's threads: limited while something computes, restored always, whoever began and ended."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.base import clone
from sklearn.datasets import load_digits
from threadpoolctl import ThreadpoolController, threadpool_limits

from cukernels.runtime import blas_threads
from cukernels.runtime.blas_libraries import Blas, blas_libraries
from cukernels.runtime.blas_threads import on_one_blas_thread
from cukernels.runtime.workers import in_parallel, threads
from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier, Perceptron
from estimators.model_selection import GridSearchCV

FITS = {
    "perceptron": Perceptron(max_iter=3, tol=None),
    **{
        solver: LogisticRegression(solver=solver, max_iter=5)
        for solver in ("lbfgs", "newton-cg", "newton-cholesky", "liblinear", "sag", "saga")
    },
    "L1": LogisticRegression(solver="saga", l1_ratio=1, C=0.01, max_iter=3),
    "adam": MLPClassifier((128, 64), max_iter=2, random_state=0),
    "sgd": MLPClassifier((128,), solver="sgd", early_stopping=True, max_iter=2, random_state=0),
    "mlp lbfgs": MLPClassifier((64,), solver="lbfgs", max_iter=5, random_state=0),
    "convnet": ConvNetClassifier(max_iter=1, random_state=0),
}


def pools():
    """The sizes that threadpoolctl sees."""
    found = ThreadpoolController().select(user_api="blas")
    return [blas.num_threads for blas in found.lib_controllers]


@pytest.fixture(scope="module")
def images():
    """Digits on a noisy ground of 20 x 20 pixels: products that BLAS shares out."""
    digits, y = load_digits(return_X_y=True)
    X = np.random.default_rng(0).random((len(y), 20, 20), dtype=np.float32)
    X[:, 4:12, 4:12] += digits.reshape(-1, 8, 8).astype(np.float32) / 8
    return X.reshape(len(X), -1)[:1200], y[:1200]


def outcome(name, data):
    """All bits of a fit, and of what it predicts for few and for many samples."""
    X, y = data
    y = y > 4 if name in ("L1", "liblinear") else y
    X = X[:, ::8] if name == "newton-cholesky" else X  # or its Hessian takes minutes
    model = FITS[name].__class__(**FITS[name].get_params()).fit(X[:600], y[:600])
    learned = [model.coef_, model.intercept_] if hasattr(model, "coef_") else model.coefs_
    ask = model.predict_proba if hasattr(model, "predict_proba") else model.decision_function
    return b"".join(np.asarray(a).tobytes() for a in (*learned, *(ask(X[:n]) for n in (1, 7, 999))))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", FITS)
def test_bits_do_not_depend_on_cores_or_on_the_thread(name, images, two_threads):
    """In the main thread, in others, in two at once, and while somebody else limits BLAS."""
    here = outcome(name, images)
    with ThreadPoolExecutor(2) as pool:
        there = [pool.submit(outcome, name, images) for _ in range(3)]
        assert all(other.result() == here for other in there)
        assert pools() == [2] * len(pools())
    with threadpool_limits(1, user_api="blas"):
        assert outcome(name, images) == here


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", ["lbfgs", "newton-cg", "adam"])
def test_searches_of_joblibs_threads_have_the_same_bits(name, images, two_threads):
    grid = {"C": [0.1, 1]} if name != "adam" else {"alpha": [1e-4, 1]}
    scored = []
    for jobs in (None, 2):
        with parallel_config(backend="threading", n_jobs=jobs):
            search = GridSearchCV(FITS[name], grid, cv=2, scoring="neg_log_loss").fit(*images)
        scored.append(search.cv_results_["mean_test_score"].tolist())
        assert pools() == [2] * len(pools())
    assert scored[0] == scored[1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("k", [1, 2, 10, 90])
def test_products_too_small_to_share_have_the_same_bits_without_a_limit(n, k, dtype, two_threads):
    """As large as they may be, in any order of their axes."""
    rng = np.random.default_rng(0)
    d = blas_threads.UNDIVIDED // (n * k)
    factors = (rng.standard_normal(size).astype(dtype) for size in ((n, d), (d, k), (k, d)))
    a, b, c = factors

    def products():
        own = [a @ b, a[None] @ b[None], a @ c.T, b.T @ a.T, np.asfortranarray(a) @ b]
        return b"".join(p.tobytes() for p in own)

    shared = products()
    with threadpool_limits(1, user_api="blas"):
        assert products() == shared


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "model",
    [Perceptron(), LogisticRegression(max_iter=3), MLPClassifier((32,), max_iter=1)],
    ids=["perceptron", "logistic", "mlp"],
)
def test_only_large_predictions_limit_blas(model, images, monkeypatch, two_threads):
    X, y = images
    X = X[:, ::8]
    model = clone(model).fit(X[:300], y[:300])
    holders, hold = [], blas_threads._hold
    monkeypatch.setattr(blas_threads, "_hold", lambda me: (holders.append(me), hold(me)))
    model.predict(X[:1])
    assert not holders
    model.predict(X)
    assert holders
    unknown = Blas("blis", "libblis", False, lambda: 1, lambda n: None)
    monkeypatch.setattr(blas_threads, "_libraries", lambda: [unknown])
    holders.clear()
    model.predict(X[:1])
    assert holders


def held():
    """Hold BLAS at one thread until asked again."""
    begun, end = threading.Event(), threading.Event()

    @on_one_blas_thread
    def hold():
        begun.set()
        end.wait(30)

    return hold, begun, end


@pytest.mark.parametrize("first_out", [0, 1])
def test_holders_that_overlap_in_threads_that_live_on(first_out, two_threads):
    """Whoever is first out, BLAS has its threads back after the last, and they can be set."""
    before = pools()
    both = [held(), held()]
    with ThreadPoolExecutor(2) as pool:
        running = []
        for hold, begun, _ in both:
            running.append(pool.submit(hold))
            assert begun.wait(30)
            assert pools() == [1] * len(before)
            assert threads() == 2
        both[first_out][2].set()
        running[first_out].result(30)
        assert pools() == [1] * len(before)
        both[1 - first_out][2].set()
        running[1 - first_out].result(30)
        assert pools() == before
        # users may set limits again, in other threads as in this one
        assert pool.submit(limited_to_one).result(30) == [1] * len(before)
        assert pools() == before
        assert limited_to_one() == [1] * len(before)
        assert pools() == before


def limited_to_one():
    with threadpool_limits(1, user_api="blas"):
        return pools()


def test_a_thread_limits_the_pools_that_another_controls(two_threads):
    """As threadpoolctl has it from 3.8 on: the thread that sets a size first has the pool."""
    hold, begun, end = held()
    with ThreadPoolExecutor(1) as pool, threadpool_limits(2, user_api="blas"):
        running = pool.submit(hold)
        begun.wait(30)
        assert set(pools()) == {1}
        end.set()
        running.result(30)
        assert set(pools()) == {2}


def test_a_limit_that_the_user_lifts_meanwhile_stays_lifted(two_threads):
    """And one that he sets around a fit is there after it."""
    original = pools()
    hold, begun, end = held()
    with ThreadPoolExecutor(1) as pool:
        limit = threadpool_limits(1, user_api="blas")
        with limit:
            running = pool.submit(hold)
            begun.wait(30)
        assert pools() == original  # it is his to lift
        end.set()
        running.result(30)
        assert pools() == original
        with threadpool_limits(1, user_api="blas"):
            pool.submit(in_parallel, lambda state, item: None, range(4)).result(30)
            assert pools() == [1] * len(original)
        assert pools() == original


def test_a_holder_that_comes_later_limits_again_what_was_lifted(two_threads):
    (hold_a, begun_a, end_a), (hold_b, begun_b, end_b) = held(), held()
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(hold_a)]
        begun_a.wait(30)
        for blas in blas_libraries():
            blas.set_num_threads(2)
        running.append(pool.submit(hold_b))
        begun_b.wait(30)
        assert set(pools()) == {1}
        for end in (end_a, end_b):
            end.set()
        for one in running:
            one.result(30)
    assert set(pools()) == {2}


def test_blas_whose_limits_are_those_of_a_thread(monkeypatch):
    """As MKL's, and OpenBLAS's on OpenMP: every thread that computes limits its own."""
    own = threading.local()
    blas = Blas(
        "mkl",
        "libmkl",
        True,
        lambda: getattr(own, "n_threads", 2),
        lambda n: setattr(own, "n_threads", n),
    )
    monkeypatch.setattr(blas_threads, "_libraries", lambda: [blas])
    both_are_here = threading.Barrier(2, timeout=30)

    def look(state, item):
        both_are_here.wait()
        return threading.get_ident(), blas.get_num_threads()

    assert threads() == 2
    seen = dict(in_parallel(look, [0, 1]))
    assert list(seen.values()) == [1, 1]
    assert blas.get_num_threads() == 2
    assert on_one_blas_thread(lambda: (threads(), blas.get_num_threads()))() == (2, 1)
    blas.set_num_threads(1)
    assert threads() == 1
    assert on_one_blas_thread(threads)() == 1
    assert blas.get_num_threads() == 1
