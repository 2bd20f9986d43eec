"""Large products that the cores share: no bit depends on how many there are."""

from __future__ import annotations

import numpy as np
import pytest

from cukernels import matmul, matmul_backward
from cukernels.matmul import shared_products
from cukernels.runtime import Recorded, Recording, on_one_blas_thread, workers
from cukernels.runtime.recording import of_now
from cukernels.runtime.workspace import Workspace

RNG = np.random.default_rng(0)
SIZES = [(200, 784, 100), (201, 333, 151), (33, 4096, 77), (4096, 33, 77), (17, 800, 800)]


@pytest.fixture
def shared(monkeypatch):
    """The numbers of parts of all products that were shared."""
    counts = []
    original = shared_products.in_parallel

    def counted(function, items):
        counts.append(len(items))
        return original(function, items)

    monkeypatch.setattr(shared_products, "in_parallel", counted)
    monkeypatch.setattr(shared_products, "threads", lambda: 2)
    monkeypatch.setattr(workers, "threads", lambda: 2)
    return counts


def products(sizes, dtype):
    """A product and its gradients, as a layer computes them in a fit."""
    rows, inner, columns = sizes
    x, w, dy = (
        RNG.standard_normal((1, *shape)).astype(dtype)
        for shape in ((rows, inner), (inner, columns), (rows, columns))
    )
    out = {"b": np.empty_like(w)}

    @on_one_blas_thread
    def compute():
        with Workspace():
            y = matmul(x, w).copy()
            dx, dw, _ = matmul_backward(dy, x, w, None, y, needs=("a", "b"), out=out)
            return y, dx.copy(), dw.copy()

    return compute


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_bit_changes(shared, monkeypatch, sizes, dtype):
    compute = products(sizes, dtype)
    of_two = compute()
    assert set(shared) <= {2}
    monkeypatch.setattr(shared_products, "threads", lambda: 1)
    for a, b in zip(of_two, compute(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_who_shares(shared, monkeypatch):
    monkeypatch.setattr(shared_products, "_is_divisible", lambda *_: True)
    large = [RNG.random(shape, np.float32) for shape in ((200, 784), (784, 100), (200, 100))]
    on_one = on_one_blas_thread(shared_products.multiply)
    on_one(*large)
    assert shared == [2]
    shared_products.multiply(*large)  # not within a fit, where BLAS has threads of its own
    on_one(*(a[:16] for a in large[:1]), large[1], large[2][:16])  # too small
    stacked = [np.stack([a, a]) for a in large]
    on_one(*stacked)  # models share the cores in other ways
    workers.in_parallel(lambda _, a: on_one(*a), [large, large], worth=False)
    assert shared == [2, 2, 2]
    monkeypatch.setattr(shared_products, "_is_divisible", lambda *_: False)
    on_one(*large)
    assert shared == [2, 2, 2]


def test_a_matrix_times_its_transpose_is_left_whole(shared):
    """NumPy has BLAS's syrk for it, whose bits are others."""
    a, out = RNG.random((513, 1000), np.float32), np.empty((513, 513), np.float32)
    on_one_blas_thread(shared_products.multiply)(a, a.T, out)
    assert shared == []


def test_a_blas_that_sums_in_another_order_is_left_alone(monkeypatch):
    """It is tried with matrices of these sizes."""
    shared_products._was_divisible.cache_clear()
    left, right = RNG.random((64, 50), np.float32), RNG.random((50, 20), np.float32)
    assert shared_products._is_divisible(left, right) in (True, False)
    shared_products._was_divisible.cache_clear()
    original = np.matmul

    def whole_matters(a, b):
        return original(a, b) * (1 if a.shape[-2] == 64 else np.nextafter(1, 2, dtype=a.dtype))

    monkeypatch.setattr(np, "matmul", whole_matters)
    assert not shared_products._is_divisible(left, right)
    monkeypatch.undo()
    shared_products._was_divisible.cache_clear()


def test_it_is_repeated_in_parts(shared, monkeypatch):
    monkeypatch.setattr(shared_products, "_is_divisible", lambda *_: True)
    x, w, out = (RNG.random(shape, np.float32) for shape in ((200, 784), (784, 100), (200, 100)))
    recording, on_one = Recording(), on_one_blas_thread(shared_products.multiply)
    recording.record(on_one, *(a.view(Recorded) for a in (x, w, out)))
    assert len(recording.calls) == 1
    x += 1
    out[...] = 0
    on_one_blas_thread(recording.repeat)()
    np.testing.assert_allclose(of_now(out), x @ w, rtol=1e-5)
