"""The driver of the GPU in software: limits of launches, memory, devices, processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from _cuda_calls import raw_kernel, refused

pytestmark = pytest.mark.usefixtures("softgpu")


def test_templates_blocks_of_two_dimensions_and_variables(cupy, softgpu):
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
def test_faults(cupy, name):
    code, threads, words = FAULTS[name]
    x = cupy.zeros(4, np.float32)
    with refused(words):
        raw_kernel(cupy, code)((1,), (threads,), (x,))
    assert float(cupy.zeros(4).sum()) == 0  # goes on


def test_a_fault_says_where(cupy):
    code = "(float* x) {\n  const int i = threadIdx.x;\n  x[i] = i;\n}"
    with refused(r"(?s)k\b.*:3\b.*thread") as raised:
        raw_kernel(cupy, code, options=("-lineinfo",))((2,), (5,), (cupy.zeros(4, np.float32),))
    assert "argument 0" in str(raised.value)


def test_use_after_free(cupy):
    x = cupy.zeros(1000, np.float32)
    address = x.data.ptr
    del x
    y = cupy.zeros(1000, np.float32)
    assert y.data.ptr != address
    with refused("out of bounds"):
        raw_kernel(cupy, "(float* x) { *x = 1; }")((1,), (1,), (np.uint64(address),))


def test_limits_of_a_launch(cupy):
    k = raw_kernel(
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
def test_opt_in_shared_memory(cupy, device, most):
    with cupy.cuda.Device(device) as current:
        assert current.attributes["MaxSharedMemoryPerBlockOptin"] == most << 10
        k = raw_kernel(cupy, "(int* x) { __shared__ int s[64]; s[threadIdx.x] = 1; *x = s[0]; }")
        k.max_dynamic_shared_size_bytes = (most << 10) - 256
        words = f"{most << 10} dynamic and 256 static bytes .* of {most << 10}"
        with refused(words):
            k.max_dynamic_shared_size_bytes = most << 10
        assert k.max_dynamic_shared_size_bytes == (most << 10) - 256


def test_launch_bounds_and_arguments(cupy):
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
            kernels.append(raw_kernel(cupy, "(int* x) { *x = 1; }"))
            if device == 0:
                kernels[0].max_dynamic_shared_size_bytes = 100_000
            assert kernels[device].max_dynamic_shared_size_bytes == (100_000, 49152)[device]


# Memory ------------------------------------------------------------------------------------------


def test_memory(cupy):
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


def test_limited_memory(cupy, softgpu):
    with softgpu.limited_memory(1000, device=1), cupy.cuda.Device(1):
        assert cupy.cuda.runtime.memGetInfo() == (1000, softgpu.MEMORY)
        x = cupy.empty(600, np.uint8)
        with pytest.raises(cupy.cuda.memory.OutOfMemoryError):
            cupy.empty(600, np.uint8)
        del x
        cupy.empty(600, np.uint8)
    cupy.empty(6000, np.uint8)


def test_failing_allocations(cupy, softgpu):
    cupy.get_default_memory_pool().free_all_blocks()
    runtime = cupy.cuda.runtime
    with softgpu.failing_allocations(2, 1) as failing:
        runtime.free(runtime.malloc(8))
        assert not failing.failed
        with pytest.raises(runtime.CUDARuntimeError, match="MemoryAllocation"):
            runtime.malloc(8)
        assert failing.failed == 1
        runtime.free(runtime.malloc(8))
    with softgpu.failing_allocations(1):
        with pytest.raises(cupy.cuda.memory.OutOfMemoryError):
            cupy.empty(1 << 20)
        with pytest.raises(runtime.CUDARuntimeError, match="MemoryAllocation"):
            runtime.hostAlloc(8, 0)
    cupy.empty(1 << 20)


def test_pinned_memory_and_asynchronous_pool(cupy):
    pinned = np.frombuffer(cupy.cuda.alloc_pinned_memory(80), np.float64, 10)
    pinned[:] = np.arange(10)
    x = cupy.empty(10)
    x.set(pinned)
    np.testing.assert_array_equal(cupy.asnumpy(x * 2), np.arange(10) * 2)
    pool = cupy.cuda.MemoryAsyncPool()
    with cupy.cuda.using_allocator(pool.malloc):
        assert float(cupy.ones(10).sum()) == 10


def test_transfers(cupy, softgpu):
    with softgpu.transfers() as counted:
        x = cupy.asarray(np.ones((2, 3), np.float32))
        assert (counted.to_device, counted.to_host, counted.within_device) == (1, 0, 0)
        x.copy()
        cupy.asnumpy(x)
        float(x[0, 0])
        cupy.cuda.Device().synchronize()
    x.get()
    assert (counted.to_device, counted.to_host) == (1, 2)
    assert counted.synchronizations >= 1


# Several devices ---------------------------------------------------------------------------------


def test_devices(cupy):
    assert cupy.cuda.runtime.getDeviceCount() == 4
    with cupy.cuda.Device(1) as device:
        assert device.compute_capability == "80"
        assert device.attributes["MultiProcessorCount"] == 108
        x = cupy.arange(5)
        assert x.device.id == 1 and int((x + 1).sum()) == 15
        k = raw_kernel(cupy, "(long long* x) { x[0] = 7; }")
        k((1,), (1,), (x,))
        function = k.kernel
    with cupy.cuda.Device(0):
        np.testing.assert_array_equal(cupy.asnumpy(cupy.asarray(x) + 1), [8, 2, 3, 4, 5])
        with refused("out of bounds"):
            k((1,), (1,), (np.uint64(x.data.ptr),))
        with refused("of cuda:1, where cuda:0 is current"):
            function((1,), (1,), (x,))


def test_visible(cupy, softgpu):
    with softgpu.visible(0), refused("cudaErrorNoDevice"):
        cupy.cuda.runtime.getDeviceCount()
    with softgpu.visible(1):
        assert cupy.cuda.runtime.getDeviceCount() == 1
        with refused("device 1 of 1"):
            cupy.cuda.Device(1).use()
    assert cupy.cuda.runtime.getDeviceCount() == 4


# Settings, processes -----------------------------------------------------------------------------


def test_settings(cupy, softgpu):
    x = cupy.zeros(4, np.float32)
    race = raw_kernel(cupy, FAULTS["race"][0])
    unwritten = raw_kernel(cupy, FAULTS["unwritten"][0])
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


def test_children(cupy, softgpu):
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


def test_comes_too_late(softgpu):
    code = "import sys; sys.modules['cupy'] = sys; import softgpu; softgpu.install()"
    child = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
    )
    assert "ImportError: softgpu.install() comes too late" in child.stderr


def test_a_module_that_cannot_be_patched(cupy, tmp_path, softgpu):
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


def test_what_is_missing_says_so(cupy):
    with refused("cudaErrorNotSupported: cudaMallocArray is not in softgpu"):
        cupy.cuda.runtime.mallocArray(0, 0, 0, 0)
