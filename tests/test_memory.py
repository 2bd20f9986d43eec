"""`estimate_memory`, and the fits that the memory of a GPU does not suffice for."""

from __future__ import annotations

import gc
import re

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

from estimators import (
    Activation,
    AvgPool2D,
    Conv2D,
    ConvNetClassifier,
    Dense,
    Dropout,
    GlobalAvgPool2D,
    LayerNorm,
    LocallyConnected2D,
    LogisticRegression,
    MLPClassifier,
    Perceptron,
)
from estimators.costs import memory as memories
from estimators.costs.memory import MemoryEstimate, check_memory
from estimators.neural import fit, stack_memory
from estimators.shared import samples as shared_samples

RNG = np.random.default_rng(0)
X, Y = RNG.random((700, 120), np.float32), np.arange(700) % 10
WIDE, WIDE_Y = RNG.random((60, 4000), np.float32), np.arange(60) % 10
IMAGES, IMAGE_Y = RNG.random((60, 24, 24, 2), np.float32), np.arange(60) % 3
BYTES = (255 * IMAGES).astype(np.uint8)
LAYERS = [
    Conv2D(8), LayerNorm(), Activation("gelu"), AvgPool2D(), LocallyConnected2D(4), Dropout(),
    Conv2D(5), GlobalAvgPool2D(), Dense(30),
]  # fmt: skip
SPARSE = sp.random(700, 900, 0.05, "csr", np.float32, random_state=RNG)
MANY_SPARSE = sp.random(1200, 300, 0.05, "csr", np.float32, random_state=RNG)
STOPS = MLPClassifier((8,), batch_size=100, early_stopping=True, validation_fraction=0.5,
                      max_iter=1)  # fmt: skip
NEWTON = LogisticRegression(solver="newton-cholesky", max_iter=1)

MODELS = {
    "mlp": (MLPClassifier((100, 60), max_iter=1), X, Y),
    "mlp-large-batches": (MLPClassifier((200, 200), batch_size=500, max_iter=1), X, Y),
    "mlp-normalised": (MLPClassifier((90, 90), batch_norm=True, dropout=0.2, max_iter=1), X, Y),
    "mlp-sparse": (MLPClassifier((40,), max_iter=1), SPARSE, Y),
    "mlp-sparse-gelu": (MLPClassifier((100,), activation="gelu", max_iter=1), SPARSE, Y),
    "mlp-early-stopping": (MLPClassifier((100, 60), early_stopping=True, max_iter=1), X, Y),
    "mlp-sparse-early-stopping": (STOPS, MANY_SPARSE, np.arange(1200) % 3),
    "mlp-sparse-early-stopping-small": (
        clone(STOPS).set_params(validation_fraction=0.1), MANY_SPARSE, np.arange(1200) % 3,
    ),
    "mlp-several-labels": (MLPClassifier((100,), max_iter=1), X, np.stack([Y > 1, Y > 5], axis=1)),
    "convnet-bytes": (
        ConvNetClassifier((1,), hidden_layer_sizes=(2,), batch_size=25, max_iter=1), BYTES, IMAGE_Y,
    ),
    "convnet-bytes-early-stopping": (
        ConvNetClassifier((8,), early_stopping=True, batch_size=25, max_iter=1), BYTES, IMAGE_Y,
    ),
    "convnet-shifts": (
        ConvNetClassifier(
            (1,), hidden_layer_sizes=(2,), augment={"shift": 2}, batch_size=25, max_iter=1
        ),
        IMAGES, IMAGE_Y,
    ),
    "layers": (ConvNetClassifier(layers=LAYERS, batch_size=25, max_iter=1), IMAGES, IMAGE_Y),
    "convnet": (ConvNetClassifier((8, 16), batch_size=30, max_iter=1), IMAGES, IMAGE_Y),
    "convnet-normalised": (
        ConvNetClassifier((8,), batch_norm=True, batch_size=60, max_iter=1), IMAGES, IMAGE_Y,
    ),
    "logistic": (LogisticRegression(max_iter=2), X, Y),
    "logistic-two-classes": (LogisticRegression(max_iter=2), X, Y > 4),
    "logistic-wide": (LogisticRegression(max_iter=2), WIDE, WIDE_Y),
    "logistic-sparse": (LogisticRegression(max_iter=2), SPARSE, Y),
    "newton-cholesky": (NEWTON, X[:300, :40].astype(float), Y[:300] % 6),
    "newton-cholesky-two-classes": (NEWTON, X[:, :60], Y > 4),
    "liblinear": (LogisticRegression(solver="liblinear", max_iter=1), X[:, :60], Y > 4),
    "liblinear-wide": (LogisticRegression(solver="liblinear", max_iter=1), WIDE, WIDE_Y > 4),
    "newton-cg": (LogisticRegression(solver="newton-cg", max_iter=1), X, Y),
    "perceptron": (Perceptron(max_iter=2), X, Y),
    "perceptron-early-stopping": (
        Perceptron(early_stopping=True, validation_fraction=0.3, max_iter=2), WIDE, WIDE_Y,
    ),
    "perceptron-one-order": (Perceptron(max_iter=2, shuffle=False), X, Y),
    "perceptron-wide-l1": (Perceptron(max_iter=2, penalty="l1"), WIDE, WIDE_Y),
    "perceptron-multinomial": (Perceptron(max_iter=2, multi_class="multinomial"), WIDE, WIDE_Y),
}  # fmt: skip

# Where nothing is computed, all gradients are 0 and nobody makes a Hessian, or losses are anything.
COMPUTED = (
    *("newton-cholesky", "newton-cholesky-two-classes", "liblinear"),
    *("mlp-sparse-early-stopping", "mlp-sparse-early-stopping-small"),
)


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
    is_null = name not in COMPUTED
    with softgpu.settings(null=is_null):
        model.fit(samples, labels)  # what belongs to no fit, as counters, is there now
        gc.collect()
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
        for module in (memories, shared_samples):
            monkeypatch.setattr(module, "device_memory", lambda device: (2**60, 2**60))
        with softgpu.limited_memory(int(0.9 * memory.total)), pytest.raises(MemoryError):
            model.fit(samples, labels)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_batch_size_that_would_do(cupy, softgpu):
    model, samples, labels = MODELS["mlp-large-batches"]
    model = clone(model).set_params(device="cuda")
    half = model.estimate_memory(samples, labels)
    free = half.data + half.parameters + half.step // 2
    with softgpu.settings(null=True):
        clone(model).fit(samples, labels)
    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()
    with softgpu.settings(null=True), softgpu.limited_memory(free):
        with pytest.raises(MemoryError, match=r"batch_size=\d+ would do") as told:
            model.fit(samples, labels)
        rows = int(re.search(r"batch_size=(\d+)", str(told.value))[1])
        assert 200 < rows < 350
        needed = [
            clone(model).set_params(batch_size=n).estimate_memory(samples, labels).total
            for n in (rows, rows + 1)
        ]
        assert needed[0] <= free < needed[1]
        clone(model).set_params(batch_size=rows).fit(samples, labels)
    with softgpu.limited_memory(1000), pytest.raises(MemoryError, match="No batch size is small"):
        model.fit(samples, labels)


MANY, MANY_Y = np.tile(WIDE, (30, 1)), np.tile(WIDE_Y, 30)
MANY_BYTES = (255 * MANY).astype(np.uint8).reshape(-1, 50, 40, 2)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("model", "samples"),
    [
        (MLPClassifier((40,), batch_size=50, max_iter=2), MANY),
        (ConvNetClassifier((4,), batch_size=20, max_iter=1), MANY_BYTES),
    ],
    ids=["numbers", "bytes"],
)
def test_what_a_fit_needs_whose_samples_stay_on_the_host(
    model, samples, cupy, softgpu, monkeypatch
):
    fitted = []

    def needs(fits, **more):
        fitted[:] = fits
        return stack_memory.stack_memory(fits, **more)

    monkeypatch.setattr(fit, "check_stack_memory", needs)
    model = clone(model).set_params(device="cuda")
    with softgpu.settings(null=True):
        model.fit(samples, MANY_Y)
        memory = stack_memory.stack_memory(fitted, streamed=True)
        assert memory.total < model.estimate_memory(samples, MANY_Y).total - samples.nbytes // 2
        monkeypatch.undo()
        fitted.clear()
        gc.collect()
        cupy.get_default_memory_pool().free_all_blocks()
        with softgpu.limited_memory(int(1.1 * memory.total)):
            model.fit(samples, MANY_Y)
        little = int(0.9 * memory.total)
        with softgpu.limited_memory(little), pytest.raises(MemoryError, match="batch_size="):
            model.fit(samples, MANY_Y)
        monkeypatch.setattr(stack_memory, "check_memory", lambda *args, **more: None)
        with softgpu.limited_memory(little), pytest.raises(MemoryError):
            model.fit(samples, MANY_Y)


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
    # one moment instead of two, and the copies of both that an interrupt goes back to
    assert 7 * sgd.parameters == 5 * small.parameters
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
