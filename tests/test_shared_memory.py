"""Shared memory: what a launch asks for is what the driver gives, in any order of launches."""

from __future__ import annotations

import threading
import types

import numpy as np
import pytest

import cukernels
from _devices import OPT_IN, UNASKED
from cukernels.gpu import shared_memory
from cukernels.gpu.shared_memory import allow, shared_limit
from cukernels.images import conv_cuda, local_cuda
from cukernels.matmul import gemm_cost, gemm_plan, gradients, product
from cukernels.matmul.gemm_plan import FMA_TILES, TENSOR_TILES
from cukernels.runtime.registry import OPS

KB = 1024


@pytest.mark.parametrize(("architecture", "kb"), OPT_IN.items())
def test_shared_memory_of_a_block(architecture, kb):
    assert shared_limit(int(architecture)) == kb * KB
    assert shared_memory.UNASKED == UNASKED * KB


@pytest.fixture
def unlaunched(softgpu):
    """Kernels do nothing: whether the driver launches them is all that is asked."""
    with softgpu.settings(null=True):
        yield


def sweep(cupy, features: int, classes: int, dtype=np.float32, samples: int = 2) -> None:
    x, y = cupy.zeros((samples, features), dtype), cupy.zeros(samples, np.int64)
    w, b = cupy.zeros((classes, features), dtype), cupy.zeros(classes, dtype)
    which = {"classes": cupy.asarray(np.arange(1))} if classes == 1 else {}
    cukernels.perceptron_sweep(x, y, w, b, 1.0, **which)


def csr_sweep(cupy, classes: int, dtype=np.float32) -> None:
    data, indices = cupy.zeros(0, dtype), cupy.zeros(0, np.int32)
    indptr, y = cupy.zeros(2, np.int32), cupy.zeros(1, np.int64)
    w, b = cupy.zeros((classes, 1), dtype), cupy.zeros(classes, dtype)
    cukernels.csr_perceptron_sweep(data, indices, indptr, y, w, b, 1.0)


@pytest.mark.parametrize("cupy", ["75", "86", "90"], indirect=True, ids="sm_{}".format)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [1, 3, 10])
def test_any_number_of_features(classes, dtype, cupy, unlaunched):
    """Around both limits, with and without asking, static bytes and all else that is beside w."""
    item = np.dtype(dtype).itemsize
    beside = classes * (2 * 32 * item + 104) + 32 * 32 * item + 1024  # and more
    for limit in (UNASKED * KB, cupy.cuda.Device().attributes["MaxSharedMemoryPerBlockOptin"]):
        for whole in range(max(limit - beside, 0), limit + 64, 64):
            sweep(cupy, max(whole // (classes * item), 1), classes, dtype)


@pytest.mark.parametrize("cupy", ["75", "86", "90"], indirect=True, ids="sm_{}".format)
@pytest.mark.parametrize("body", ["dense", "csr"])
def test_any_number_of_classes_that_compete(body, cupy, unlaunched):
    """Each is swept, or too many in words; 20 ask for more than a block has without asking."""
    refused = 0
    for classes in (*range(2, 30), *range(450, 640, 2), *range(900, 2900, 7)):
        try:
            if body == "csr":
                csr_sweep(cupy, classes)
            else:
                sweep(cupy, 2, classes)
        except ValueError as error:
            assert "classes that compete" in str(error)
            refused += 1
    assert refused > 0


def test_a_limit_is_never_lowered(cupy, unlaunched):
    """Functions are shared by all sizes; features that come again find the limit as it was."""
    sizes = [13_000, 12_000, 13_000, 11_100, 500, 12_500, 14_000, 13_000, 11_150, 14_000]
    for features in sizes:
        sweep(cupy, features, 1)
    for features in (3000, 2000, 3000):
        sweep(cupy, features, 10)


def test_a_limit_is_raised_by_two_threads():
    """The one that looked first and comes last does not undo what the other has set."""
    looked, both_done = threading.Event(), threading.Event()

    class Slow(types.SimpleNamespace):
        shared_size_bytes = 128
        limit = UNASKED * KB - 128

        @property
        def max_dynamic_shared_size_bytes(self):
            seen = self.limit
            if not looked.is_set():
                looked.set()
                both_done.wait(0.2)  # in vain, if the other one has to wait for us
            return seen

        @max_dynamic_shared_size_bytes.setter
        def max_dynamic_shared_size_bytes(self, size):
            self.limit = size

    slow = Slow()
    first = threading.Thread(target=allow, args=(slow, 60_000))
    first.start()
    looked.wait(0.2)
    allow(slow, 90_000)
    both_done.set()
    first.join()
    assert slow.limit == 90_000


# Tiles with which a product asks for 48 KB to the byte; its static bytes come on top.
FULL = [
    (architecture, name, tile)
    for architecture, name, tiles in (
        ("90", "float", TENSOR_TILES),
        ("75", "float", FMA_TILES["float"]),
        ("75", "double", FMA_TILES["double"]),
    )
    for tile in tiles
    if tile.shared(name) == UNASKED * KB
]


@pytest.mark.parametrize(("cupy", "dtype", "tile"), FULL, indirect=["cupy"], ids=str)
def test_tiles_of_48_kb_are_launched(dtype, tile, cupy, softgpu, unlaunched, monkeypatch):
    cycles = gemm_cost.cycles_of
    for module in (gemm_plan, gradients):
        monkeypatch.setattr(
            module, "cycles_of", lambda t, *rest: cycles(t, *rest) * (1 if t == tile else 1e9)
        )
    caches = [gemm_plan.plan, product._configuration, gradients.launch_of]
    for module in (conv_cuda, local_cuda):
        caches += [module._forward, module._input_gradient, module._filter_gradient]
    for cached in caches:
        cached.cache_clear()
    try:
        for name in ("matmul", "conv2d", "local2d"):
            shapes = {
                "matmul": {"a": (64, 40), "b": (40, 40)},
                "conv2d": {"x": (3, 6, 6, 20), "w": (8, 3, 3, 20)},
                "local2d": {"x": (40, 4, 4, 20), "w": (2, 2, 8, 3, 3, 20)},
            }[name]
            kind = {"float": np.float32, "double": np.float64}[dtype]
            given = {n: cupy.zeros(shape, kind) for n, shape in shapes.items()}
            with softgpu.launched() as launched:
                y = OPS[name].cuda(**given)
                OPS[name].backward.cuda(y, **given, bias=None, y=y)
            products = 2 if name == "matmul" else 3  # its gradients come together
            assert sum(tile.expression in kernel for kernel in launched) == products
    finally:
        for cached in caches:
            cached.cache_clear()
