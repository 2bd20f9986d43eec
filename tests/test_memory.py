"""`estimate_memory`, and the fits that the memory of a GPU does not suffice for."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier, Perceptron
from estimators.costs import memory as memories
from estimators.costs.memory import MemoryEstimate, check_memory

RNG = np.random.default_rng(0)
X, Y = RNG.random((700, 120), np.float32), np.arange(700) % 10
WIDE, WIDE_Y = RNG.random((60, 4000), np.float32), np.arange(60) % 10
IMAGES, IMAGE_Y = RNG.random((60, 24, 24, 2), np.float32), np.arange(60) % 3
SPARSE = sp.random(700, 900, 0.05, "csr", np.float32, rng=RNG)

MODELS = {
    "mlp": (MLPClassifier((100, 60), max_iter=1), X, Y),
    "mlp-large-batches": (MLPClassifier((200, 200), batch_size=500, max_iter=1), X, Y),
    "mlp-normalised": (MLPClassifier((90, 90), batch_norm=True, dropout=0.2, max_iter=1), X, Y),
    "mlp-sparse": (MLPClassifier((40,), max_iter=1), SPARSE, Y),
    "convnet": (ConvNetClassifier((8, 16), batch_size=30, max_iter=1), IMAGES, IMAGE_Y),
    "convnet-normalised": (
        ConvNetClassifier((8,), batch_norm=True, batch_size=60, max_iter=1), IMAGES, IMAGE_Y,
    ),
    "logistic": (LogisticRegression(max_iter=2), X, Y),
    "logistic-two-classes": (LogisticRegression(max_iter=2), X, Y > 4),
    "logistic-wide": (LogisticRegression(max_iter=2), WIDE, WIDE_Y),
    "logistic-sparse": (LogisticRegression(max_iter=2), SPARSE, Y),
    "perceptron": (Perceptron(max_iter=2), X, Y),
    "perceptron-one-order": (Perceptron(max_iter=2, shuffle=False), X, Y),
    "perceptron-wide-l1": (Perceptron(max_iter=2, penalty="l1"), WIDE, WIDE_Y),
    "perceptron-multinomial": (Perceptron(max_iter=2, multi_class="multinomial"), WIDE, WIDE_Y),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", MODELS)
def test_an_estimate_is_what_a_fit_needs(name, cupy, softgpu, monkeypatch):
    """With a tenth more than that it runs. With a tenth less it does not begin, and if it did, it
    would not come to its end.
    """
    model, samples, labels = MODELS[name]
    model = clone(model).set_params(device="cuda")
    memory = model.estimate_memory(samples, labels)
    assert memory.device == "cuda:0"
    assert memory.total == memory.data + memory.parameters + memory.step
    with softgpu.settings(null=True):
        model.fit(samples, labels)  # what belongs to no fit, as counters, is there now
        cupy.get_default_memory_pool().free_all_blocks()
        with softgpu.limited_memory(int(1.1 * memory.total)):
            model.fit(samples, labels)
        with (
            softgpu.launched() as launched,
            softgpu.limited_memory(int(0.9 * memory.total)),
            pytest.raises(MemoryError, match=r"cuda:0 is out of memory: .*bytes were asked"),
        ):
            model.fit(samples, labels)
        assert not launched
        monkeypatch.setattr(memories, "device_memory", lambda device: (2**60, 2**60))
        with softgpu.limited_memory(int(0.9 * memory.total)), pytest.raises(MemoryError):
            model.fit(samples, labels)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_batch_size_that_would_do(softgpu):
    model, samples, labels = MODELS["mlp-large-batches"]
    model = clone(model).set_params(device="cuda")
    half = model.estimate_memory(samples, labels)
    free = half.data + half.parameters + half.step // 2
    with softgpu.settings(null=True), softgpu.limited_memory(free):
        with pytest.raises(MemoryError, match=r"batch_size=\d+ would do") as told:
            model.fit(samples, labels)
        rows = int(re.search(r"batch_size=(\d+)", str(told.value))[1])
        assert 200 < rows <= 250
        smaller = clone(model).set_params(batch_size=rows)
        assert smaller.estimate_memory(samples, labels).total <= free
        check_memory(smaller.estimate_memory(samples, labels))
    with softgpu.limited_memory(1000), pytest.raises(MemoryError, match="No batch size is small"):
        model.fit(samples, labels)


def test_what_is_there_already_is_not_asked_for(softgpu):
    memory = MemoryEstimate(2000, 100, 100, "cuda:0")
    with softgpu.limited_memory(1000):
        check_memory(memory, present=1200)
        with pytest.raises(MemoryError, match=r"1,001 bytes were asked for, and 1,000 of"):
            check_memory(memory, present=1199)


# On any machine --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_changed(name):
    model, samples, labels = MODELS[name]
    model = clone(model)
    memory = model.estimate_memory(samples, labels)
    assert memory.device == "cpu" and memory.total > 0
    assert vars(model) == vars(clone(model))


def test_what_grows_with_what():
    small, more = (MLPClassifier((50,), batch_size=n).estimate_memory(X, Y) for n in (100, 200))
    assert more.step == 2 * small.step
    assert (more.data, more.parameters) == (small.data, small.parameters)
    wide = MLPClassifier((50,), batch_size=100, dtype="float64").estimate_memory(X, Y)
    assert (wide.parameters, wide.step) == (2 * small.parameters, 2 * small.step)
    sgd = MLPClassifier((50,), solver="sgd").estimate_memory(X, Y)
    assert sgd.parameters == small.parameters * 3 // 4  # one moment instead of two
    doubled = MLPClassifier((50,)).estimate_memory(np.tile(X, (2, 1)), np.tile(Y, 2))
    assert doubled.data == 2 * small.data


def test_the_number_of_classes():
    """It is that of the labels, or that of the last fit, or two."""
    model = LogisticRegression(max_iter=2, tol=1.0)
    two, ten = model.estimate_memory(X), model.estimate_memory(X, Y)
    assert model.estimate_memory(X, Y > 3) == two
    assert ten.parameters == 10 * two.parameters
    assert model.fit(X, Y).estimate_memory(X) == ten
    several = np.stack([Y > 1, Y > 2, Y > 3], axis=1)
    by_labels = MLPClassifier().estimate_memory(X, several)
    assert by_labels.parameters == MLPClassifier().estimate_memory(X, Y % 3).parameters


def test_the_words():
    text = repr(MemoryEstimate(2_500_000_000, 40_000, 700, "cuda:1"))
    assert text == "2.5 GB on cuda:1: data 2.5 GB, parameters 40 kB, step 700 bytes"


def test_a_cpu_is_never_refused():
    check_memory(MemoryEstimate(2**60, 0, 0, "cpu"))
