"""Fixtures that several files use."""

from __future__ import annotations

import os

import numpy as np
import pytest
from sklearn.datasets import load_digits

os.environ.setdefault("CUKERNELS_LINEINFO", "1")  # before cukernels is imported

import _gpu  # noqa: E402
from cukernels.runtime.blas_libraries import blas_libraries  # noqa: E402
from estimators import Perceptron  # noqa: E402
from estimators.linear.perceptron_swept import SweptFit  # noqa: E402
from estimators.neural.fit import NeuralFit  # noqa: E402


def pytest_configure(config):
    if _gpu.is_asked_for(config):
        _gpu.install()  # before anything imports CuPy


def pytest_report_header(config):
    return _gpu.header() if _gpu.is_asked_for(config) else None


def pytest_generate_tests(metafunc):
    if metafunc.definition.get_closest_marker("each_device"):
        each = _gpu.each_capability(metafunc.config)
        metafunc.parametrize("cupy", each, indirect=True, ids="sm_{}".format)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What asks for a GPU has the marker, before pytest looks at markers."""
    for item in items:
        if "cupy" in getattr(item, "fixturenames", ()):
            item.add_marker("gpu")


@pytest.fixture
def cupy(request):
    """CuPy, and a device that is current: cuda:0, or one of the parameter's compute capability."""
    _gpu.require_gpu()
    import cupy

    number = _gpu.device_of(request.param) if hasattr(request, "param") else 0
    with cupy.cuda.Device(number), _gpu.unlucky(request.node.nodeid):
        yield cupy


@pytest.fixture
def softgpu(cupy):
    """The controls of the GPU in software, for what no other GPU can tell."""
    if not _gpu.is_software():
        pytest.skip("only the GPU in software tells this")
    import softgpu

    return softgpu


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


@pytest.fixture
def on_poisoned_memory(cupy, monkeypatch):
    """New memory on the device holds NaN, so that an element which nobody writes shows."""
    if _gpu.is_software():
        return  # it does so by itself
    empty = cupy.empty

    def filled(shape, dtype=float, *args, **kwargs):
        array = empty(shape, dtype, *args, **kwargs)
        if array.dtype.kind == "f":
            array.fill(np.nan)
        return array

    monkeypatch.setattr(cupy, "empty", filled)
    monkeypatch.setattr(
        cupy, "empty_like", lambda x, dtype=None, **kwargs: filled(x.shape, dtype or x.dtype)
    )


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
    monkeypatch.setattr(Perceptron, "_fit_class", lambda self, device: SweptFit)


@pytest.fixture
def two_threads():
    """Two threads, whatever the environment allows.

    They are not set by threadpoolctl, which would reserve the pools to this thread.
    """
    before = [(blas, blas.get_num_threads()) for blas in blas_libraries()]
    try:
        for blas, _ in before:
            blas.set_num_threads(2)
        if min((blas.get_num_threads() for blas, _ in before), default=1) < 2:
            pytest.skip("this BLAS was built for, or is held to, one thread")
        yield
    finally:
        for blas, n_threads in before:
            blas.set_num_threads(n_threads)
