"""The GPU in software: each kind of defect is planted in a small kernel, and must be found.

Its driver, streams, and CuPy on it are tested in test_softgpu_*.py.
"""

from __future__ import annotations

import numpy as np
import pytest

from _cuda_calls import refused
from cukernels.gpu.kernel import OPTIONS
from cukernels.gpu.source import source

# Reverses 64 numbers through shared memory.
REVERSE = """
template <typename T>
__global__ void reverse(const T* x, T* y, int n) {
    __shared__ T tile[64];
    tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[63 - threadIdx.x];
}
"""

# The same through dynamic shared memory, filled by asynchronous copies.
COPY = """
template <typename T>
__global__ void reverse(const T* x, T* y, int n) {
    T* tile = dynamic_shared<T>();
    if (threadIdx.x < 16) cp_async<16>(tile + 4 * threadIdx.x, x + 4 * threadIdx.x);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    y[threadIdx.x] = tile[63 - threadIdx.x];
}
"""

# Sums of neighbours, twice: what lanes exchange through shared memory and by shuffles.
WARPS = """
template <typename T>
__global__ void reverse(const T* x, T* y, int n) {
    __shared__ T tile[64];
    tile[threadIdx.x] = x[threadIdx.x];
    __syncwarp();
    const T other = tile[threadIdx.x ^ 1];
    y[threadIdx.x] = other + __shfl_xor_sync(full_warp, other, 1);
}
"""


PRELUDE = source("prelude.cuh")


def kernel(cupy, code):
    module = cupy.RawModule(
        code=f'{PRELUDE}\n#line 1 "test.cu"\n{code}',
        options=OPTIONS,
        name_expressions=("reverse<float>",),
    )
    return module.get_function("reverse<float>")


def run(cupy, code, *, threads=64, grid=(1, 1, 1), shared=None, n=64):
    """What a kernel makes of 0, 1, 2 ...: 64 numbers."""
    if shared is None:
        shared = 256 if "dynamic_shared" in code else 0
    x, y = cupy.asarray(np.arange(n, dtype=np.float32)), cupy.zeros(64, np.float32)
    kernel(cupy, code)(grid, (threads, 1, 1), (x, y, np.int32(64)), shared_mem=shared)
    return cupy.asnumpy(y)


@pytest.mark.parametrize("code", [REVERSE, COPY], ids=["static", "asynchronous"])
def test_runs_a_kernel(code, cupy):
    np.testing.assert_array_equal(run(cupy, code), np.arange(64)[::-1])


def test_lanes_exchange_through_memory_and_shuffles(cupy):
    pairs = np.arange(64) // 2 * 4 + 1
    np.testing.assert_array_equal(run(cupy, WARPS), pairs)


def test_fresh_memory_holds_nan(cupy, softgpu):
    for dtype in (np.float32, np.float64):
        assert np.isnan(cupy.asnumpy(cupy.empty(3, dtype))).all()


DEFECTS = {
    "a missing barrier": (REVERSE, "    __syncthreads();\n", "", "uninitialised"),
    "a missing barrier, and the right answer": (
        REVERSE,
        "__syncthreads();\n    y[threadIdx.x] = tile[63 - threadIdx.x];",
        "if (threadIdx.x >= 32) y[threadIdx.x] = tile[63 - threadIdx.x];\n"
        "    __syncthreads();\n    if (threadIdx.x < 32) y[threadIdx.x] = tile[63 - threadIdx.x];",
        "race: reads",
    ),
    "a write after reads of others": (
        REVERSE, "tile[63 - threadIdx.x];",
        "tile[63 - threadIdx.x];\n    if (threadIdx.x >= 32) tile[threadIdx.x] = 0;",
        "race: writes",
    ),
    "a missing barrier of the warp": (WARPS, "    __syncwarp();\n", "", "race: reads"),
    "a barrier of the warp, where one of the block is needed": (
        REVERSE, "__syncthreads", "__syncwarp", "uninitialised",
    ),
    "a store past the end": (REVERSE, "y[threadIdx.x]", "y[threadIdx.x + 1]", "out of bounds: wr"),
    "a load before the beginning": (REVERSE, "= x[threadIdx.x]", "= x[int(threadIdx.x) - 1]",
                                    "out of bounds: reads"),
    "an index past a shared array": (REVERSE, "tile[63 -", "tile[64 -", "out of bounds: reads"),
    "an index past dynamic shared memory": (COPY, "tile[63 -", "tile[64 -", "out of bounds: reads"),
    "a wild pointer": (REVERSE, "y[threadIdx.x] =", "y[threadIdx.x + (1ll << 40)] =",
                       "no argument"),
    "shared memory that nobody wrote": (
        REVERSE, "tile[threadIdx.x] =", "if (threadIdx.x != 5) tile[threadIdx.x] =",
        "uninitialised",
    ),
    "a missing wait": (COPY, "    cp_async_wait<0>();\n", "", "cp.async under way"),
    "a wait for too little": (COPY, "wait<0>", "wait<1>", "cp.async under way"),
    "a missing commit": (COPY, "    cp_async_commit();\n", "", "cp.async under way"),
    "a missing barrier after a wait": (COPY, "    __syncthreads();\n", "", "race: reads"),
    "an asynchronous copy past its source": (COPY, "x + 4 * threadIdx.x", "x + 4 * threadIdx.x + 4",
                                             "out of bounds: reads"),
    "a copy to where none may begin": (COPY, "tile + 4 *", "tile + 1 + 4 *", "misaligned"),
    "a vector load from where none may begin": (
        REVERSE, "= x[threadIdx.x]",
        "= load<2>(x + threadIdx.x / 2)[0] + load<2>(x + threadIdx.x / 2)[1]", "misaligned",
    ),
    "a barrier that some threads miss": (
        REVERSE, "tile[63 - threadIdx.x];",
        "tile[63 - threadIdx.x];\n    if (threadIdx.x < 32) __syncthreads();", "divergent barrier",
    ),
    "threads at two barriers": (
        REVERSE, "tile[63 - threadIdx.x];",
        "tile[63 - threadIdx.x];\n    if (threadIdx.x < 32)\n        __syncthreads();\n    else\n"
        "        __syncthreads();", "divergent barrier",
    ),
    "a shuffle that some lanes miss": (
        WARPS, "__shfl_xor_sync(full_warp, other, 1)",
        "(threadIdx.x % 32 ? __shfl_xor_sync(full_warp, other, 1) : other)", "divergent barrier",
    ),
    "two threads that write one place": (REVERSE, "y[threadIdx.x]", "y[threadIdx.x / 2]",
                                         "race: writes"),
}  # fmt: skip


KINDS = "|".join(sorted({message for *_, message in DEFECTS.values()}))


@pytest.mark.parametrize("defect", DEFECTS)
def test_finds(defect, cupy, softgpu):
    """Whatever the order of warps, which may decide what shows first."""
    code, right, wrong, message = DEFECTS[defect]
    assert right in code
    for seed, words in ((0, message), (1, KINDS), (2, KINDS), (3, KINDS)):
        with softgpu.settings(seed=seed), refused(words):
            run(cupy, code.replace(right, wrong, 1))


# What the driver refuses to launch: (a kernel, arguments of `run`, the reason).
REFUSALS = {
    "more dynamic shared memory than static bytes leave": (COPY.replace(
        "    __syncthreads();\n    y[threadIdx.x] =",
        "    __shared__ T more[64];\n    more[threadIdx.x] = 1;\n    __syncthreads();\n"
        "    y[threadIdx.x] = more[63 - threadIdx.x] *",
    ), {"shared": 48 * 1024}, r"limit is 48896 \(256 static\)"),
    "more than 48 KB": (COPY, {"shared": 48 * 1024 + 1}, r"limit is 49152 \(0 static\)"),
    "a grid that is too deep": (REVERSE, {"grid": (1, 1, 2**16)}, "a grid of"),
    "more threads than a block can have": (REVERSE, {"threads": 1025}, "a block of .1025, 1, 1"),
    "more threads than the kernel is bounded to": (
        REVERSE.replace("void reverse", "void __launch_bounds__(2 * 16, 1) reverse"), {},
        "64 threads, of 32",
    ),
}  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS)
def test_refuses_what_the_driver_refuses(refusal, cupy, softgpu):
    code, arguments, message = REFUSALS[refusal]
    with refused(f"INVALID_VALUE.*{message}"):
        run(cupy, code, **arguments)


@pytest.mark.parametrize("cupy", ["86"], indirect=True, ids="sm_{}".format)
def test_a_limit_of_shared_memory_is_the_functions(cupy, softgpu):
    """Of one device; of all modules with the same text; and never more than the device has."""

    def reverse():
        return kernel(cupy, REVERSE)

    here = cupy.cuda.Device().id
    static = reverse().shared_size_bytes
    assert (static, reverse().max_dynamic_shared_size_bytes) == (256, 48 * 1024 - 256)
    reverse().max_dynamic_shared_size_bytes = 99 * 1024 - static
    assert reverse().max_dynamic_shared_size_bytes == 99 * 1024 - static
    with refused("101376 dynamic and 256 static bytes .* of 101376"):
        reverse().max_dynamic_shared_size_bytes = 99 * 1024
    with cupy.cuda.Device(0):
        assert reverse().max_dynamic_shared_size_bytes == 48 * 1024 - 256
        other = reverse().kernel
    with refused(f"of cuda:0, where cuda:{here} is current"):
        other((1, 1, 1), (64, 1, 1), ())


def test_names_the_line(cupy, softgpu):
    code = REVERSE.replace("y[threadIdx.x]", "y[threadIdx.x + 1]")
    words = r"reverse<float>.*test\.cu:7.*thread 63: .*byte 256 of argument 1, which has 256"
    with softgpu.settings(seed=0), refused(words):
        run(cupy, code)


BLOCKS = """
template <typename T>
__global__ void reverse(const T* x, T* y, int n) {
    y[blockIdx.x] = x[blockIdx.x];
    TAIL
}
"""


@pytest.mark.parametrize("seed", range(4))
def test_blocks_do_not_see_each_other(seed, cupy, softgpu):
    """In whatever order they run."""
    own = BLOCKS.replace("TAIL", "")
    other = BLOCKS.replace("TAIL", "if (blockIdx.x > 0) y[blockIdx.x] += y[blockIdx.x - 1];")
    with softgpu.settings(seed=seed):
        run(cupy, own, threads=1, grid=(64, 1, 1))
        with refused(r"race: (reads|writes) .* of block \("):
            run(cupy, other, threads=1, grid=(2, 1, 1))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("fence", ["__threadfence();", ""], ids=["fence", "no fence"])
def test_the_last_block_sees_the_others_after_a_fence(seed, fence, cupy, softgpu):
    """The usual end of a reduction: the last block to count itself sums what all have left."""
    code = """
template <typename T>
__global__ void reverse(const T* x, T* y, int n) {
    y[blockIdx.x] = x[blockIdx.x];
    FENCE
    int* done = reinterpret_cast<int*>(y + 8);
    if (atomicAdd(done, 1) == 7)
        for (int i = 0; i < 8; i++) y[9] += y[i];
}
""".replace("FENCE", fence)
    with softgpu.settings(seed=seed):
        if fence:
            assert run(cupy, code, threads=1, grid=(8, 1, 1))[9] == sum(range(8))
        else:
            with refused("race: reads"):
                run(cupy, code, threads=1, grid=(8, 1, 1))


TENSOR_CORES = pytest.mark.parametrize("cupy", ["80", "90"], indirect=True, ids="sm_{}".format)


@TENSOR_CORES
def test_tensor_core_fragments(cupy):
    """The product that mma.m16n8k8 computes from the registers of a warp."""
    code = """
template <typename T>
__global__ void reverse(const T* x, T* y, int n) {
    const T *a = x, *b = x + 128;  // (16, 8) and (8, 8)
    const int g = lane_id() / 4, t = lane_id() % 4;
    const auto bits = [](float x) { return __float_as_uint(x); };  // small integers are exact
    const unsigned left[4] = {bits(a[g * 8 + t]), bits(a[(g + 8) * 8 + t]),
                              bits(a[g * 8 + t + 4]), bits(a[(g + 8) * 8 + t + 4])};
    const unsigned right[2] = {bits(b[t * 8 + g]), bits(b[(t + 4) * 8 + g])};
    float d[4] = {1, 1, 1, 1};
    mma_tf32(d, left, right);
    if (g < 4) y[g * 8 + 2 * t] = d[0], y[g * 8 + 2 * t + 1] = d[1];
    if (g < 4) y[(g + 4) * 8 + 2 * t] = d[2], y[(g + 4) * 8 + 2 * t + 1] = d[3];
}
"""
    got = run(cupy, code, threads=32, n=192).reshape(8, 8)
    a, b = np.arange(128.0).reshape(16, 8), np.arange(128.0, 192.0).reshape(8, 8)
    np.testing.assert_array_equal(got, (a @ b + 1)[[0, 1, 2, 3, 8, 9, 10, 11]])


@TENSOR_CORES
def test_rounds_to_tf32(cupy):
    """Ten bits after the point, ties away from zero."""
    code = """
template <typename T>
__global__ void reverse(const T* x, T* y, int n) {
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(1 + x[threadIdx.x] / 4096));
    y[threadIdx.x] = __uint_as_float(bits);
}
"""
    exact = 1 + np.arange(64) / 4096
    np.testing.assert_array_equal(run(cupy, code), np.floor(exact * 1024 + 0.5) / 1024)
