"""The software GPU under CuPy: CuPy's own functions against NumPy's, and what a driver refuses."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import softgpu

pytestmark = pytest.mark.gpu

RNG = np.random.default_rng(0)
F = RNG.standard_normal((37, 53)).astype(np.float32)
ARRAYS = {
    "f32": F, "f64": F.astype(np.float64), "f16": F.astype(np.float16), "bool": F > 0,
    "i64": RNG.integers(-50, 50, F.shape), "i32": RNG.integers(-50, 50, F.shape, np.int32),
    "u8": RNG.integers(0, 255, F.shape, np.uint8),
}  # fmt: skip
ON_ALL = {
    "add": lambda xp, a: a + a,
    "sum": lambda xp, a: a.sum(dtype=np.float64 if a.dtype.kind == "f" else None),
    "max": lambda xp, a: a.max(1),
    "argmax": lambda xp, a: a.argmax(1),
    "transpose": lambda xp, a: xp.ascontiguousarray(a.T),
    "fancy": lambda xp, a: a[xp.asarray([3, 1, -1, 3])],
    "astype": lambda xp, a: a.astype(np.float64) + a.astype(np.float32),
    "where": lambda xp, a: xp.where(a > 0, a, a * 0),
    "mask": lambda xp, a: a[a > 0],
    "cumsum": lambda xp, a: xp.cumsum(a, 1),
}
UNARY = [
    "exp",
    "log1p",
    "sqrt",
    "sin",
    "cos",
    "tanh",
    "abs",
    "floor",
    "ceil",
    "rint",
    "sign",
    "square",
    "expm1",
    "arctan",
    "sinh",
    "cbrt",
    "exp2",
    "isnan",
]
SMALL, POSITIVE = ("exp", "sinh", "expm1", "exp2"), ("log1p", "sqrt")
OTHERS = {
    "moments": lambda xp, a: a.mean(0) + a.var(0) + a.std(0),
    "stack": lambda xp, a: xp.concatenate([a, xp.stack([a[0], a[1]])]),
    "slices": lambda xp, a: xp.roll(xp.pad(a[::-2, 3:40:5], 2), 3, axis=0),
    "nonzero": lambda xp, a: xp.nonzero(a > 1)[0],
    "bincount": lambda xp, a: xp.bincount((a.ravel() > 0).astype(np.int64)),
    "complex": lambda xp, a: xp.abs(a + 1j * a),
    "clip": lambda xp, a: xp.clip(xp.take(a, xp.asarray([1, 2]), 1), -1, 1).round(2),
    "power": lambda xp, a: a**3 + xp.abs(a) ** 0.3,
}


@pytest.fixture(scope="module")
def cupy():
    """CuPy on the devices in software."""
    if softgpu.real_gpu():
        pytest.skip("a GPU is there")
    if not importlib.util.find_spec("cupy"):
        pytest.skip("needs CuPy")
    softgpu.install()
    import cupy

    return cupy


@pytest.fixture
def refused(cupy):
    """A context in which the driver or the runtime must refuse a call, with these words."""
    errors = cupy.cuda.driver.CUDADriverError, cupy.cuda.runtime.CUDARuntimeError
    return lambda words=None: pytest.raises(errors, match=words)


def same(cupy, operation, a: np.ndarray) -> None:
    rtol, atol = (2e-2, 0.5) if a.dtype == np.float16 else (1e-4, 1e-4)
    got = cupy.asnumpy(operation(cupy, cupy.asarray(a)))
    np.testing.assert_allclose(got, operation(np, a), rtol=rtol, atol=atol)


def kernel(cupy, code: str, **options):
    return cupy.RawKernel('extern "C" __global__ void k' + code, "k", **options)


# CuPy's functions --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ARRAYS)
@pytest.mark.parametrize("name", ON_ALL)
def test_on_all_dtypes(cupy, name, dtype):
    same(cupy, ON_ALL[name], ARRAYS[dtype])


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", UNARY)
def test_unary(cupy, name, dtype):
    a = ARRAYS[dtype] * (3 if name in SMALL else 30)
    same(cupy, lambda xp, a: getattr(xp, name)(a), abs(a) if name in POSITIVE else a)


@pytest.mark.parametrize("name", OTHERS)
def test_others(cupy, name):
    same(cupy, OTHERS[name], F)


def test_templates_blocks_of_two_dimensions_and_variables(cupy):
    module = cupy.RawModule(
        code="""
        __device__ int counter = 5;
        template <typename T> __global__ void k(T* o) {
            const int row = blockIdx.x * blockDim.y + threadIdx.y;
            o[row * blockDim.x + threadIdx.x] = threadIdx.y * 100 + threadIdx.x;
            if (threadIdx.x == 0) atomicAdd(&counter, 1);
        }""",
        options=("-std=c++17",),
        name_expressions=("k<float>",),
    )
    out = cupy.zeros(70, np.float32)
    with softgpu.launched() as launched:
        module.get_function("k<float>")((1,), (10, 7), (out,))
    assert list(launched) == ["k<float>"]
    assert launched[0].grid == (1, 1, 1) and launched[0].block == (10, 7, 1)
    expected = np.arange(7)[:, None] * 100 + np.arange(10)
    np.testing.assert_array_equal(cupy.asnumpy(out).reshape(7, 10), expected)
    assert cupy.ndarray((1,), np.int32, module.get_global("counter"))[0] == 12
    assert any(usage.name == "k<float>" and usage.launches for usage in softgpu.profile())


# Faults and limits -------------------------------------------------------------------------------

FAULTS = {
    "bounds": ("(float* x) { x[threadIdx.x + (1 << 20)] = 1; }", 32, "out of bounds"),
    "null": ("(float* x) { *(float*)((size_t)x & 8) = 1; }", 32, "out of bounds"),
    "alignment": ("(float* x) { *(float*)((char*)x + 2) = 1; }", 32, "no multiple"),
    "race": (
        "(float* x) { __shared__ float s[32]; s[threadIdx.x] = 1; x[threadIdx.x % 4] "
        "= s[31 - threadIdx.x]; }", 32, "barrier|sync",
    ),
    "unwritten": (
        "(float* x) { __shared__ float s[32]; x[threadIdx.x % 4] = s[threadIdx.x]; }",
        32, "nobody",
    ),
    "barrier": ("(float* x) { if (threadIdx.x < 40) __syncthreads(); x[0] = 1; }", 64, "barrier"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_faults(cupy, refused, name):
    code, threads, words = FAULTS[name]
    x = cupy.zeros(4, np.float32)
    with refused(words):
        kernel(cupy, code)((1,), (threads,), (x,))
    assert float(cupy.zeros(4).sum()) == 0  # goes on


def test_a_fault_says_where(cupy, refused):
    code = "(float* x) {\n  const int i = threadIdx.x;\n  x[i] = i;\n}"
    with refused(r"(?s)k\b.*:3\b.*thread") as raised:
        kernel(cupy, code)((2,), (5,), (cupy.zeros(4, np.float32),))
    assert "argument 0" in str(raised.value)


def test_use_after_free(cupy, refused):
    x = cupy.zeros(1000, np.float32)
    address = x.data.ptr
    del x
    y = cupy.zeros(1000, np.float32)
    assert y.data.ptr != address
    with refused("out of bounds"):
        kernel(cupy, "(float* x) { *x = 1; }")((1,), (1,), (np.uint64(address),))


def test_limits_of_a_launch(cupy, refused):
    k = kernel(
        cupy,
        "(float* x) { extern __shared__ float s[]; __shared__ float t[64]; int i = threadIdx.x;"
        " t[i] = x[i]; __syncthreads(); s[0] = t[x[1] > 0]; x[0] = s[0]; }",
    )
    x = cupy.zeros(4, np.float32)
    with refused(r"INVALID_VALUE: k: 49152 bytes .* limit is 48896 \(256 static\)"):
        k((1,), (1,), (x,), shared_mem=49152)
    assert k.shared_size_bytes == 256 and k.max_dynamic_shared_size_bytes == 48896
    k.max_dynamic_shared_size_bytes = 49152
    k((1,), (1,), (x,), shared_mem=49152)
    with refused(r"of dynamic shared memory, where the limit is 49152 \(256 static\)"):
        k((1,), (1,), (x,), shared_mem=49153)
    with refused("a grid of \\(1, 65536, 1\\)"):
        k((1, 65536), (1,), (x,))
    with refused("1025 threads|a block of"):
        k((1,), (1025,), (x,))


@pytest.mark.parametrize(("device", "most"), [(0, 227), (1, 163), (2, 64), (3, 99)])
def test_opt_in_shared_memory(cupy, refused, device, most):
    with cupy.cuda.Device(device) as current:
        assert current.attributes["MaxSharedMemoryPerBlockOptin"] == most << 10
        k = kernel(cupy, "(int* x) { __shared__ int s[64]; s[threadIdx.x] = 1; *x = s[0]; }")
        k.max_dynamic_shared_size_bytes = (most << 10) - 256
        words = f"{most << 10} dynamic and 256 static bytes .* of {most << 10}"
        with refused(words):
            k.max_dynamic_shared_size_bytes = most << 10
        assert k.max_dynamic_shared_size_bytes == (most << 10) - 256


def test_launch_bounds_and_arguments(cupy, refused):
    code = 'extern "C" __global__ void __launch_bounds__(32) k(int* x) { *x = 1; }'
    with refused("INVALID_VALUE.*64 threads, of 32"):
        cupy.RawKernel(code, "k")((1,), (64,), (cupy.zeros(1, np.int32),))
    code = 'struct S { int x[1025]; }; extern "C" __global__ void k(S s, int* x) { *x = s.x[3]; }'
    with refused("more than 4096 bytes of arguments"):
        big = np.zeros(1, np.dtype((np.void, 4100)))[0]
        cupy.RawKernel(code, "k")((1,), (1,), (big, cupy.zeros(1, np.int32)))


def test_a_limit_is_a_devices(cupy):
    kernels = []
    for device in (0, 1):
        with cupy.cuda.Device(device):
            kernels.append(kernel(cupy, "(int* x) { *x = 1; }"))
            if device == 0:
                kernels[0].max_dynamic_shared_size_bytes = 100_000
            assert kernels[device].max_dynamic_shared_size_bytes == (100_000, 49152)[device]


# Memory ------------------------------------------------------------------------------------------


def test_memory(cupy, refused):
    runtime = cupy.cuda.runtime
    assert np.isnan(cupy.asnumpy(cupy.empty(100, np.float32))).all()
    before = runtime.memGetInfo()
    x = cupy.empty(1000, np.uint8)
    assert before[0] - runtime.memGetInfo()[0] == 1000
    with refused("a copy from.*leave"):
        runtime.memcpy(np.zeros(1001, np.uint8).ctypes.data, x.data.ptr, 1001, 2)
    with refused("is on a device"):
        runtime.memcpy(x.data.ptr, x.data.ptr, 10, 0)
    with refused("a memset.*leave"):
        runtime.memset(x.data.ptr + 1, 0, 1000)
    address = runtime.malloc(10)
    with refused("cudaFree"):
        runtime.free(address + 4)
    runtime.free(address)
    with refused("freed before"):
        runtime.free(address)
    with pytest.raises(cupy.cuda.memory.OutOfMemoryError, match="1,099,511,627,776 bytes"):
        cupy.empty(1 << 40, np.uint8)


def test_limited_memory(cupy):
    with softgpu.limited_memory(1000, device=1), cupy.cuda.Device(1):
        assert cupy.cuda.runtime.memGetInfo() == (1000, softgpu.MEMORY)
        x = cupy.empty(600, np.uint8)
        with pytest.raises(cupy.cuda.memory.OutOfMemoryError):
            cupy.empty(600, np.uint8)
        del x
        cupy.empty(600, np.uint8)
    cupy.empty(6000, np.uint8)


def test_pinned_memory_and_asynchronous_pool(cupy):
    pinned = np.frombuffer(cupy.cuda.alloc_pinned_memory(80), np.float64, 10)
    pinned[:] = np.arange(10)
    x = cupy.empty(10)
    x.set(pinned)
    np.testing.assert_array_equal(cupy.asnumpy(x * 2), np.arange(10) * 2)
    pool = cupy.cuda.MemoryAsyncPool()
    with cupy.cuda.using_allocator(pool.malloc):
        assert float(cupy.ones(10).sum()) == 10


def test_transfers(cupy):
    with softgpu.transfers() as counted:
        x = cupy.asarray(F)
        assert (counted.to_device, counted.to_host, counted.within_device) == (1, 0, 0)
        x.copy()
        cupy.asnumpy(x)
        float(x[0, 0])
        cupy.cuda.Device().synchronize()
    x.get()
    assert (counted.to_device, counted.to_host) == (1, 2)
    assert counted.synchronizations >= 1


# Several devices ---------------------------------------------------------------------------------


def test_devices(cupy, refused):
    assert cupy.cuda.runtime.getDeviceCount() == 4
    with cupy.cuda.Device(1) as device:
        assert device.compute_capability == "80"
        assert device.attributes["MultiProcessorCount"] == 108
        x = cupy.arange(5)
        assert x.device.id == 1 and int((x + 1).sum()) == 15
        k = kernel(cupy, "(long long* x) { x[0] = 7; }")
        k((1,), (1,), (x,))
        function = k.kernel
    with cupy.cuda.Device(0):
        np.testing.assert_array_equal(cupy.asnumpy(cupy.asarray(x) + 1), [8, 2, 3, 4, 5])
        with refused("out of bounds"):
            k((1,), (1,), (np.uint64(x.data.ptr),))
        with refused("of cuda:1, where cuda:0 is current"):
            function((1,), (1,), (x,))


def test_visible(cupy, refused):
    with softgpu.visible(0), refused("cudaErrorNoDevice"):
        cupy.cuda.runtime.getDeviceCount()
    with softgpu.visible(1):
        assert cupy.cuda.runtime.getDeviceCount() == 1
        with refused("device 1 of 1"):
            cupy.cuda.Device(1).use()
    assert cupy.cuda.runtime.getDeviceCount() == 4


# Streams, captures, graphs -----------------------------------------------------------------------


def test_events_and_callbacks(cupy):
    stream = cupy.cuda.Stream(non_blocking=True)
    first, last, called = cupy.cuda.Event(), cupy.cuda.Event(), []
    with stream:
        first.record()
        cupy.zeros(1000).sum()
        stream.launch_host_func(called.append, "host function")
        last.record()
    last.synchronize()
    assert cupy.cuda.get_elapsed_time(first, last) >= 0 and called == ["host function"]


def test_graph(cupy, refused):
    stream = cupy.cuda.Stream(non_blocking=True)
    x = cupy.arange(8, dtype=np.float32)
    y, z = cupy.empty(8, np.float32), cupy.zeros(8, np.float32)
    with stream:
        stream.begin_capture()
        assert stream.is_capturing()
        cupy.add(cupy.multiply(x, 2, out=y), 1, out=z)
        y.data.memset_async(0, 16)
        graph = stream.end_capture()
    assert not stream.is_capturing() and float(z.sum()) == 0
    for change in (1, 10):
        x *= change
        graph.upload(stream)
        with softgpu.launched() as launched:
            graph.launch(stream)
        assert len(launched) == 2
        doubled = np.arange(8) * change * 2
        np.testing.assert_array_equal(cupy.asnumpy(z), doubled + 1)
        np.testing.assert_array_equal(cupy.asnumpy(y), np.where(np.arange(8) < 4, 0, doubled))
    del x
    with refused("out of bounds"):
        graph.launch(stream)


@pytest.mark.parametrize("mode", [0, 1, 2], ids=["global", "thread-local", "relaxed"])
@pytest.mark.parametrize("what", ["stream", "device", "query", "malloc", "legacy", "pageable"])
def test_what_a_capture_refuses(cupy, refused, what, mode):
    runtime, stream = cupy.cuda.runtime, cupy.cuda.Stream(non_blocking=what != "legacy")
    x, host = cupy.zeros(8), np.zeros(8)
    call = {
        "stream": stream.synchronize,
        "device": cupy.cuda.Device().synchronize,
        "query": lambda: stream.done,  # which tells by its value
        "malloc": lambda: runtime.malloc(1 << 20),
        "legacy": lambda: runtime.memsetAsync(x.data.ptr, 0, 64, 0),
        "pageable": lambda: runtime.memcpyAsync(x.data.ptr, host.ctypes.data, 64, 1, stream.ptr),
    }[what]
    stream.begin_capture(mode=mode)
    if what == "malloc" and mode == 2:
        runtime.free(call())
        stream.end_capture()
        return
    with contextlib.nullcontext() if what == "query" else refused():
        call()
    with refused("Invalidated"):
        stream.end_capture()


def test_other_threads_may_allocate_in_a_thread_local_capture(cupy, refused):
    for mode, broken in ((0, True), (1, False)):
        stream = cupy.cuda.Stream(non_blocking=True)
        stream.begin_capture(mode=mode)

        def other() -> None:
            with contextlib.suppress(cupy.cuda.runtime.CUDARuntimeError):
                cupy.cuda.runtime.malloc(10)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        with refused("Invalidated") if broken else contextlib.nullcontext():
            stream.end_capture()


def test_other_streams_join_a_capture(cupy, refused):
    s, t = cupy.cuda.Stream(non_blocking=True), cupy.cuda.Stream(non_blocking=True)
    x, y = cupy.zeros(8), cupy.zeros(8)

    def fork(join: bool):
        s.begin_capture()
        t.wait_event(s.record())
        y.data.memset_async(1, 64, t)
        x.data.memset_async(1, 64, s)
        if join:
            s.wait_event(t.record())
        return s.end_capture()

    fork(True).launch(s)
    assert (x == y).all() and float(x.sum()) != 0
    with refused("Unjoined"):
        fork(False)
    assert not t.is_capturing()
    s.begin_capture()
    with refused("Isolation"):
        s.wait_event(t.record())
    with refused("Invalidated"):
        s.end_capture()


# Settings, processes -----------------------------------------------------------------------------


def test_settings(cupy, refused):
    x = cupy.zeros(4, np.float32)
    race = kernel(cupy, FAULTS["race"][0])
    unwritten = kernel(cupy, FAULTS["unwritten"][0])
    with softgpu.settings(races=False, strict=False):
        race((1,), (32,), (x,))
        unwritten((1,), (32,), (x,))
    with softgpu.settings(null=True):
        race((1,), (32,), (x,))
    with refused():
        race((1,), (32,), (x,))
    with softgpu.settings(sticky=True):
        with refused():
            race((1,), (32,), (x,))
        with refused("cudaErrorLaunchFailure"):
            cupy.cuda.Device().synchronize()
    cupy.cuda.Device().synchronize()


def test_children(cupy):
    code = "import cupy; print(cupy.cuda.Device(2).compute_capability, int(cupy.arange(5).sum()))"
    child = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | softgpu.environment(),
        capture_output=True,
        text=True,
    )
    assert child.stdout.split() == ["75", "10"], child.stderr


def test_a_script_runs_on_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import sys, cupy; print(sys.argv[1], cupy.cuda.runtime.getDeviceCount())")
    child = subprocess.run(
        [sys.executable, "-m", "softgpu", str(script), "word"],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent), "SOFTGPU_DEVICES": "80,75"},
        capture_output=True,
        text=True,
    )
    assert child.stdout.split() == ["word", "2"], child.stderr


def test_comes_too_late():
    code = "import sys; sys.modules['cupy'] = sys; import softgpu; softgpu.install()"
    child = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
    )
    assert "ImportError: softgpu.install() comes too late" in child.stderr


def test_a_module_that_cannot_be_patched(cupy, tmp_path):
    patch = softgpu._installed().patch
    assert "no symbol table, or no CUDA runtime" in patch(cupy._core.core.__file__)
    text = tmp_path / "module.so"
    text.write_text("text" * 100)
    assert "no module for x86-64" in patch(str(text))


def test_every_module_with_a_runtime_is_known(cupy):
    """A module of CuPy's that is not patched would call NVIDIA's runtime, which finds no driver."""
    from softgpu.cupy_loader import PATCHED

    folder = Path(cupy.__file__).parent
    found = {
        ".".join([file.parent.relative_to(folder.parent).as_posix().replace("/", "."), name])
        for package in (folder, folder.parent / "cupy_backends", folder.parent / "cupyx")
        for file in package.rglob("*.so")
        if b"cudaStreamEndCapture\0" in file.read_bytes() and (name := file.name.split(".")[0])
    }
    assert found == set(PATCHED)


def test_what_is_missing_says_so(cupy, refused):
    with refused("cudaErrorNotSupported: cudaMallocArray is not in softgpu"):
        cupy.cuda.runtime.mallocArray(0, 0, 0, 0)
