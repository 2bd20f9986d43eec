"""Fixtures that several files use."""

from __future__ import annotations

import os

import numpy as np
import pytest
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from cukernels.runtime.workers import threads
from emulator.compiler import has_compiler
from emulator.cupy_on_host import installed
from estimators import Perceptron
from estimators.linear.perceptron_swept import SweptFit
from estimators.neural.fit import NeuralFit


@pytest.fixture
def emulated_cupy(request):
    """CuPy's stand-in, on a device of compute capability 9.0 or of the test's parameter."""
    if not has_compiler():
        reason = "needs g++, which compiles the kernels for the host"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason} (CI=true, so it may not be skipped)", pytrace=False)
        pytest.skip(reason)
    with installed(getattr(request, "param", "90")) as cupy:
        yield cupy


@pytest.fixture
def poisoned(monkeypatch):
    """Make np.empty and np.empty_like return NaN, so that an unwritten element shows."""
    empty, empty_like = np.empty, np.empty_like

    def poison(array):
        if array.dtype.kind == "f":
            array.fill(np.nan)
        return array

    monkeypatch.setattr(np, "empty", lambda *a, **k: poison(empty(*a, **k)))
    monkeypatch.setattr(np, "empty_like", lambda *a, **k: poison(empty_like(*a, **k)))


@pytest.fixture(scope="module")
def digits():
    """The first 240 digits, from 0 to 1; some files have more or fewer of their own."""
    X, y = load_digits(return_X_y=True)
    return X[:240] / 16, y[:240]


@pytest.fixture
def stacks(monkeypatch):
    """The sizes of the stacks of networks that run from now on."""
    sizes, run = [], NeuralFit.run.__func__

    def counted(cls, trainings, watch=None):
        sizes.append(len(trainings))
        return run(cls, trainings, watch)

    monkeypatch.setattr(NeuralFit, "run", classmethod(counted))
    return sizes


@pytest.fixture
def swept(monkeypatch):
    """Our own sweeps where scikit-learn's loop would run: as on a GPU, but by the reference."""
    monkeypatch.setattr(Perceptron, "_training", SweptFit)


@pytest.fixture
def two_threads():
    """Two threads, whatever the environment allows."""
    with threadpool_limits(2, user_api="blas"):
        if threads() < 2:
            pytest.skip("this BLAS was built for, or is held to, one thread")
        yield
