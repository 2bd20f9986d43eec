"""Fits whose steps are repeated by a thread and a helper."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from cukernels.matmul import shared_products
from cukernels.optimizers import optimizers_numpy
from cukernels.runtime import Repetition
from cukernels.training import gather_numpy
from estimators import MLPClassifier
from estimators.training.repeated_steps import RepeatedSteps


def test_nothing_is_kept_after_a_fit(two_threads):
    """Also before Python looks for cycles: the calls of a step hold all its arrays."""
    rng = np.random.default_rng(0)
    X, y = rng.random((1000, 784), np.float32), rng.integers(0, 10, 1000)
    held = weakref.ref(X)
    gc.collect()
    gc.disable()
    try:
        MLPClassifier((100,), batch_size=200, max_iter=4, random_state=0).fit(X, y)
        del X
        assert held() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("hidden", [(20,), (33, 17), (16, 16, 16)], ids=str)
@pytest.mark.parametrize("solver", ["adam", "sgd", "adamw", "rmsprop"])
@pytest.mark.parametrize(
    "options", [{}, {"dropout": 0.3}, {"alpha": 0.0}, {"batch_norm": True}], ids=str
)
def test_fits_whose_steps_are_shared_have_the_same_bits(
    monkeypatch, two_threads, hidden, solver, options
):
    """All that can be shared is shared here, however small it is."""
    monkeypatch.setattr(gather_numpy, "_LEAST", 0)
    monkeypatch.setattr("cukernels.runtime.workspace.LARGE", 0)
    monkeypatch.setattr(shared_products, "_LEAST", 0)
    monkeypatch.setattr(optimizers_numpy, "_CHUNK", 2**10)
    optimizers_numpy.chunks.cache_clear()
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((400, 50)).astype(np.float32), rng.integers(0, 4, 400)
    shared = []
    call = Repetition.__call__

    def counted(self):
        shared.append(self.is_shared)
        call(self)

    monkeypatch.setattr(Repetition, "__call__", counted)

    def fitted():
        model = MLPClassifier(
            hidden, solver=solver, batch_size=64, max_iter=20, random_state=0, tol=0, **options
        )
        return [c.tobytes() for c in model.fit(X, y).coefs_]

    own = fitted()
    assert shared and all(shared)
    with monkeypatch.context() as patch:
        patch.setattr(RepeatedSteps, "take", lambda self, group, *args: group.compute(*args))
        computed = fitted()
    optimizers_numpy.chunks.cache_clear()
    assert own == computed


def test_adam_begins_while_a_helper_multiplies(monkeypatch, two_threads):
    """MLPClassifier((100,)) on images of 784 pixels: the waits of one step."""
    monkeypatch.setattr(shared_products, "_is_divisible", lambda *_: True)
    rng = np.random.default_rng(0)
    X, y = rng.random((1000, 784), np.float32), rng.integers(0, 10, 1000)
    made = []
    init = Repetition.__init__

    def remember(self, recording):
        init(self, recording)
        made.append(self)

    monkeypatch.setattr(Repetition, "__init__", remember)
    MLPClassifier((100,), batch_size=200, max_iter=4, random_state=0).fit(X, y)
    (repeat,) = made
    helpers = repeat._helpers
    calls = ["wait" if c == helpers.end else getattr(c, "func", None) for c in repeat._calls]
    begins = [i for i, c in enumerate(calls) if c == helpers.begin]
    waits = [i for i, c in enumerate(calls) if c == "wait"]
    assert begins == [0, begins[1]] and waits == [1, waits[1]]
    assert calls[begins[1] : waits[1]].count(np.sqrt) == 1
    assert calls.count(np.sqrt) == 2
