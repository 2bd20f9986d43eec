"""On a GPU, what only hardware answers in full.

Shapes that fill the device, arrays of more than 2**31 elements, what libraries are loaded, and what
compute-sanitizer finds. The GPU in software, which is slow, runs the shapes with fewer rows.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import _gpu
import cukernels
from _on_a_gpu import placed
from _op_cases import assert_close, assert_same_bits, each_dtype
from cukernels.runtime.cases import bound_to_backward, cast, copied, results
from cukernels.runtime.precision import precision
from cukernels.runtime.registry import OPS

ROOT = Path(__file__).parent.parent


@pytest.fixture
def hardware(cupy):
    """A GPU that is not in software."""
    if _gpu.is_software():
        pytest.skip("only hardware tells this")


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def classes(*shape, below):
    return np.random.default_rng(shape).integers(below, size=shape)


# By op: arguments of sizes that networks have, which fill the device. In software, which is slow,
# there are a part as many rows.
LARGE = {
    "matmul": [
        lambda part: {
            "a": normal(2048 // part, 784), "b": normal(784, 100), "bias": normal(100),
            "activation": "relu",
        },
        lambda part: {"a": normal(100, 2048 // part), "b": normal(2048 // part, 784)},
        lambda part: {  # a long sum
            "a": normal(784 // part, 60_000 // part), "b": normal(10, 60_000 // part),
            "transpose_b": True,
        },
        lambda part: {
            "a": normal(1023 // part, 1025), "b": normal(1021 // part, 1025), "transpose_b": True,
        },
        lambda part: {
            "a": normal(30, 256 // part, 64), "b": normal(30, 64, 32), "bias": normal(30, 32),
        },
    ],
    "conv2d": [
        lambda part: {
            "x": normal(64 // part, 28, 28, 1), "w": normal(32, 3, 3, 1), "padding": "same",
        },
        lambda part: {
            "x": normal(64 // part, 14, 14, 32), "w": normal(64, 3, 3, 32), "bias": normal(64),
            "padding": "same", "activation": "relu",
        },
        lambda part: {
            "x": normal(3, 16 // part, 15, 15, 8), "w": normal(3, 24, 5, 5, 8), "stride": 2,
        },
    ],
    "max_pool2d": [lambda part: {"x": normal(64 // part, 28, 28, 32), "pool_size": 2}],
    "batch_norm": [
        lambda part: {"x": normal(64 // part, 14, 14, 48), "gamma": normal(48), "beta": normal(48)},
    ],
    "layer_norm": [
        lambda part: {"x": normal(2048 // part, 300), "gamma": normal(300), "beta": normal(300)},
        lambda part: {
            "x": normal(4, 64 // part, 14, 14, 32), "gamma": normal(4, 32), "beta": normal(4, 32),
        },
    ],
    "softmax_cross_entropy": [
        lambda part: {"z": normal(4096 // part, 10), "y": classes(4096 // part, below=10)},
        lambda part: {"z": normal(2, 512 // part, 1000), "y": classes(2, 512 // part, below=1000)},
    ],
    "softmax": [
        lambda part: {"x": normal(3000 // part, 1000)},
        lambda part: {"x": normal(100_000 // part, 10)},
    ],
    "gelu": [lambda part: {"x": normal(1_000_003 // part)}],
    "gather_rows": [
        lambda part: {"x": normal(5000 // part, 784), "rows": classes(4, 512, below=5000 // part)},
    ],
    "dropout": [
        lambda part: {
            "x": normal(3, 100_001 // part), "rate": np.array([0.1, 0.5, 0.9]),
            "seed": np.arange(3, dtype=np.uint64), "step": np.arange(3),
        },
    ],
    "add_loss": [
        lambda part: {
            "total": normal(2, 150), "loss": normal(2), "params": normal(2, 1_200_000 // part),
            "l2": normal(2), "size": np.ones(2), "n_decayed": 1_199_999 // part,
        },
    ],
}  # fmt: skip


@each_dtype
@pytest.mark.parametrize(
    ("op", "made"),
    [
        pytest.param(OPS[name], made, id=f"{name}-{i}")
        for name, cases in LARGE.items()
        for i, made in enumerate(cases)
    ],
)
def test_op_that_fills_the_device(op, made, dtype, cupy, on_poisoned_memory):
    arguments = made(16 if _gpu.is_software() else 1)
    given = cast(arguments, dtype)
    calls = [(op, given)]
    if op.backward and not op.name.startswith(("gather", "dropout")):
        bound = bound_to_backward(op, cast(arguments, np.float64), np.random.default_rng(0))
        calls.append((op.backward, cast(bound, dtype)))
    for own, bound in calls:
        exact = results(own, own.reference, copied(cast(bound, np.float64)))
        got = results(own, own.cuda, placed(cupy, copied(bound)))
        assert_close(got, exact, bound, dtype)
        assert_same_bits(got, results(own, own.cuda, placed(cupy, copied(bound))))


@pytest.mark.each_device
@pytest.mark.parametrize("name", ["tf32", "bf16"])
def test_less_precision_is_what_was_asked_for(name, cupy):
    """As far from the exact product as the bits that are kept say, and no nearer."""
    if int(cupy.cuda.Device().compute_capability) < 80:
        pytest.skip("tensor cores of this device have no such numbers")
    m, n = (100, 60) if _gpu.is_software() else (512, 300)
    a, b = normal(m, 700).astype(np.float32), normal(700, n).astype(np.float32)
    exact = a.astype(np.float64) @ b
    scale = np.sqrt(700)

    def error() -> float:
        y = cukernels.matmul(cupy.asarray(a), cupy.asarray(b))
        return float(np.sqrt(np.mean((cupy.asnumpy(y) - exact) ** 2)) / scale)

    full = error()
    with precision(name):
        coarse = error()
    kept = {"tf32": 11, "bf16": 8}[name]
    assert 2.0**-kept / 8 < coarse < 2.0**-kept
    assert full < 2.0**-21


def test_more_than_2_to_the_31_elements(cupy):
    free, _ = cupy.cuda.runtime.memGetInfo()
    n = 2**31 + 4096
    if free < 3 * 4 * n:
        pytest.skip(f"needs {3 * 4 * n >> 30} GB of free memory on the device")
    x = cupy.zeros((n // 4096, 4096), np.float32)
    x[-1] = cupy.arange(-2048, 2048)
    y = cukernels.relu(x)
    assert float(y[-1].sum()) == sum(range(2048)) and float(y[-2].sum()) == 0
    del y
    rows = cupy.array([[0, n // 4096 - 1], [1, n // 4096 - 1]])
    np.testing.assert_array_equal(
        cupy.asnumpy(cukernels.gather_rows(x, rows)[1, 1]), np.arange(-2048, 2048)
    )
    del x
    cupy.get_default_memory_pool().free_all_blocks()


# The process -----------------------------------------------------------------------------------


def started(*words: str, command: tuple[str, ...] = (), **environment: str) -> str:
    """The output of `_on_a_gpu.py` in a process of its own."""
    script = str(Path(__file__).with_name("_on_a_gpu.py"))
    run = subprocess.run(
        [*command, sys.executable, script, *words],
        capture_output=True, text=True, cwd=ROOT, env=os.environ | _gpu.environment() | environment,
    )  # fmt: skip
    assert run.returncode == 0, (run.stdout + run.stderr)[-5000:]
    return run.stdout


def test_no_library_of_kernels_is_loaded(cupy):
    libraries = started("everything").split()
    assert any(name.startswith("libcuda") for name in libraries), libraries
    unwanted = re.compile("lib(cublas|cudnn|curand|cusparse|cufft|cusolver|cutensor|nccl)")
    assert [name for name in libraries if unwanted.match(name)] == []


@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "synccheck"])
def test_compute_sanitizer_finds_nothing(tool, hardware):
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        pytest.skip("needs compute-sanitizer, which comes with the CUDA toolkit")
    output = started("ops", command=(sanitizer, "--tool", tool, "--error-exitcode", "9"))
    assert re.search("ERROR SUMMARY: 0 errors|RACECHECK SUMMARY: 0 hazards", output), output[-5000:]


def test_first_use(tmp_path, capsys, hardware):
    """Kernels are compiled once for all processes; here are the seconds."""
    cold, warm = (
        [float(word) for word in started("first-fit", CUPY_CACHE_DIR=str(tmp_path)).split()]
        for _ in range(2)
    )
    with capsys.disabled():
        print(
            f"\na first fit, kernels to be compiled: {cold[0]:.2f} s; in a new process with "
            f"CuPy's cache warm: {warm[0]:.2f} s; the next one: {warm[1]:.3f} s"
        )
    assert warm[0] < cold[0]
