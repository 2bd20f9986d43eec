"""The tests on an NVIDIA GPU: `make gpu`, or `pytest -m gpu`. Without that they are left out.

Every op and the estimators' trainings on the real device, against the same references as on the
host; then what no stand-in can tell: repeatability to the bit, shapes that fill the device, arrays
of more than 2**31 elements, what libraries are loaded, and what compute-sanitizer finds.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_digits

import cukernels
from _cuda_models import (
    CONVNETS,
    IMAGE_LABELS,
    IMAGES,
    LOSS,
    MLPS,
    PERCEPTRONS,
    SOLVERS,
    SPARSE,
    WEIGHT,
    X,
    Y,
    assert_alone_as_in_a_stack,
    assert_same_linear_model,
    assert_same_network,
    on_both,
)
from _on_a_gpu import placed
from _op_cases import assert_close, assert_right, each_case, each_dtype
from cukernels.runtime.cases import (
    backwards,
    bound_to_backward,
    cast,
    contiguous,
    copied,
    results,
    unaligned,
)
from cukernels.runtime.precision import precision
from cukernels.runtime.registry import OPS
from estimators import (
    BatchNorm,
    ConvNetClassifier,
    Dense,
    Dropout,
    LogisticRegression,
    MLPClassifier,
    Perceptron,
)
from estimators.layers.dense import Scores
from estimators.neural.loop import Data
from estimators.neural.network import Network

ROOT = Path(__file__).parent.parent


def why_not() -> str:
    """Why nothing here can run on this machine; "" if it can."""
    if importlib.util.find_spec("cupy") is None:
        return "needs CuPy: pip install -e '.[cuda13]' (or cuda12)"
    import cupy

    try:
        return "" if cupy.cuda.runtime.getDeviceCount() else "needs an NVIDIA GPU"
    except cupy.cuda.runtime.CUDARuntimeError:
        return "needs an NVIDIA GPU and its driver"


if WHY_NOT := why_not():
    pytest.skip(WHY_NOT, allow_module_level=True)

import cupy  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@pytest.fixture
def poisoned(monkeypatch):
    """New memory on the device holds NaN, so that an element which nobody writes shows."""
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


# Ops -------------------------------------------------------------------------------------------


def assert_same_bits(one: list[np.ndarray], other: list[np.ndarray]) -> None:
    assert [a.tobytes() for a in one] == [a.tobytes() for a in other]


@each_dtype
@each_case()
def test_op(case, dtype, poisoned):
    """Against the definition, with the inputs left as they are, and twice with the same bits."""
    assert_right(case, case.op.cuda, dtype, layouts=[contiguous], place=cupy.asarray)
    given = cast(case.arguments, dtype)
    assert_same_bits(
        *(results(case.op, case.op.cuda, placed(cupy, copied(given))) for _ in range(2))
    )


@each_dtype
@each_case()
def test_layout_is_of_no_consequence(case, dtype):
    layouts = [backwards, unaligned]
    assert_right(case, case.op.cuda, dtype, layouts=layouts, place=cupy.asarray)


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def classes(*shape, below):
    return np.random.default_rng(shape).integers(below, size=shape)


# By op: arguments of sizes that networks have, which fill the device.
LARGE = {
    "matmul": [
        {"a": normal(2048, 784), "b": normal(784, 100), "bias": normal(100), "activation": "relu"},
        {"a": normal(100, 2048), "b": normal(2048, 784), "transpose_b": False},
        {"a": normal(784, 60_000), "b": normal(10, 60_000), "transpose_b": True},  # a long sum
        {"a": normal(1023, 1025), "b": normal(1021, 1025), "transpose_b": True},
        {"a": normal(30, 256, 64), "b": normal(30, 64, 32), "bias": normal(30, 32)},
    ],
    "conv2d": [
        {"x": normal(64, 28, 28, 1), "w": normal(32, 3, 3, 1), "padding": "same"},
        {
            "x": normal(64, 14, 14, 32), "w": normal(64, 3, 3, 32), "bias": normal(64),
            "padding": "same", "activation": "relu",
        },
        {"x": normal(3, 16, 15, 15, 8), "w": normal(3, 24, 5, 5, 8), "stride": 2},
    ],
    "max_pool2d": [{"x": normal(64, 28, 28, 32), "pool_size": 2}],
    "batch_norm": [{"x": normal(64, 14, 14, 48), "gamma": normal(48), "beta": normal(48)}],
    "layer_norm": [
        {"x": normal(2048, 300), "gamma": normal(300), "beta": normal(300)},
        {"x": normal(4, 64, 14, 14, 32), "gamma": normal(4, 32), "beta": normal(4, 32)},
    ],
    "softmax_cross_entropy": [
        {"z": normal(4096, 10), "y": classes(4096, below=10)},
        {"z": normal(2, 512, 1000), "y": classes(2, 512, below=1000)},
    ],
    "softmax": [{"x": normal(3000, 1000)}, {"x": normal(100_000, 10)}],
    "gelu": [{"x": normal(1_000_003)}],
    "gather_rows": [{"x": normal(5000, 784), "rows": classes(4, 512, below=5000)}],
    "dropout": [
        {"x": normal(3, 100_001), "rate": np.array([0.1, 0.5, 0.9]),
         "seed": np.arange(3, dtype=np.uint64), "step": np.arange(3)},
    ],
    "add_loss": [
        {"total": normal(2, 150), "loss": normal(2), "params": normal(2, 1_200_000),
         "l2": normal(2), "size": np.ones(2), "n_decayed": 1_199_999},
    ],
}  # fmt: skip


@each_dtype
@pytest.mark.parametrize(
    ("op", "arguments"),
    [
        pytest.param(OPS[name], arguments, id=f"{name}-{i}")
        for name, cases in LARGE.items()
        for i, arguments in enumerate(cases)
    ],
)
def test_op_that_fills_the_device(op, arguments, dtype, poisoned):
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


@pytest.mark.parametrize("name", ["tf32", "bf16"])
def test_less_precision_is_what_was_asked_for(name):
    """As far from the exact product as the bits that are kept say, and no nearer."""
    if int(cupy.cuda.Device().compute_capability) < 80:
        pytest.skip("tensor cores of this device have no such numbers")
    a, b = normal(512, 700).astype(np.float32), normal(700, 300).astype(np.float32)
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


def test_more_than_2_to_the_31_elements():
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


# Estimators ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", MLPS)
def test_mlp(case, dtype):
    model, samples, labels, fit = MLPS[case]
    if model.solver == "lbfgs" and dtype == "float32":
        pytest.skip("line searches double rounding errors at every iteration")
    host, device = on_both(clone(model).set_params(dtype=dtype), samples, labels, **fit)
    assert_same_network(host, device, samples, LOSS[dtype])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CONVNETS)
def test_convnet(case, dtype):
    model = clone(CONVNETS[case]).set_params(dtype=dtype)
    if model.solver == "lbfgs" and dtype == "float32":
        pytest.skip("line searches double rounding errors at every iteration")
    host, device = on_both(model, IMAGES, IMAGE_LABELS)
    assert_same_network(host, device, IMAGES, LOSS[dtype])


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weights"])
@pytest.mark.parametrize("samples", [X, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_logistic_regression(solver, samples, weight):
    model = LogisticRegression(solver=solver, tol=1e-8)
    host, device = on_both(model, samples, Y, sample_weight=weight)
    assert_same_linear_model(host, device, samples, 1e-6)


@pytest.mark.parametrize("samples", [X, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("case", PERCEPTRONS)
def test_perceptron(case, samples):
    model = Perceptron(**{"max_iter": 4} | PERCEPTRONS[case])
    host, device = on_both(model, samples, Y, sample_weight=WEIGHT)
    assert_same_linear_model(host, device, samples, 1e-10)


DIGITS, DIGIT_LABELS = load_digits(return_X_y=True)
DIGITS = DIGITS / 16
WHOLE = {
    "mlp": MLPClassifier((300, 100), batch_size=128, max_iter=10, random_state=0),
    "mlp-dropout": MLPClassifier(
        (256,), dropout=0.3, batch_norm=True, batch_size=200, max_iter=5, random_state=0
    ),
    "convnet": ConvNetClassifier((16, 32), batch_size=128, max_iter=4, random_state=0),
    "logistic": LogisticRegression(max_iter=200),
    "perceptron": Perceptron(max_iter=10, tol=None),
}


@pytest.mark.parametrize("name", WHOLE)
def test_training_on_digits(name):
    """The same losses as on the CPU and as good a model; the same bits in every run."""
    host, device = on_both(WHOLE[name], DIGITS, DIGIT_LABELS)
    again = clone(device).fit(DIGITS, DIGIT_LABELS)
    for attribute in ("coefs_", "coef_", "intercepts_", "intercept_"):
        if hasattr(device, attribute):
            for a, b in zip(getattr(device, attribute), getattr(again, attribute), strict=True):
                assert a.tobytes() == b.tobytes()
    if hasattr(host, "loss_curve_"):
        assert device.loss_curve_ == again.loss_curve_
        np.testing.assert_allclose(device.loss_curve_, host.loss_curve_, rtol=1e-4)
    scores = [model.score(DIGITS, DIGIT_LABELS) for model in (host, device)]
    assert abs(scores[0] - scores[1]) < 0.005


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_a_model_is_the_same_to_the_bit_in_a_stack_and_alone(kind):
    layers = [Dense(130), Dropout(0.3), Dense(40, "identity"), BatchNorm(), Scores(10)]
    network = Network(layers, (64,))
    samples = DIGITS.astype(np.float32)
    samples = sp.csr_matrix(samples) if kind == "sparse" else cupy.asarray(samples)
    data = Data(samples, cupy.asarray(DIGIT_LABELS))
    assert_alone_as_in_a_stack(network, data, len(DIGITS))


def test_another_device():
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("needs a second GPU")
    first, second = (
        clone(WHOLE["convnet"]).set_params(device=name).fit(DIGITS, DIGIT_LABELS)
        for name in ("cuda:0", "cuda:1")
    )
    np.testing.assert_allclose(first.loss_curve_, second.loss_curve_, rtol=1e-5)


# The process -----------------------------------------------------------------------------------


def started(*words: str, command: tuple[str, ...] = (), **environment: str) -> str:
    """The output of `_on_a_gpu.py` in a process of its own."""
    script = str(Path(__file__).with_name("_on_a_gpu.py"))
    run = subprocess.run(
        [*command, sys.executable, script, *words],
        capture_output=True, text=True, cwd=ROOT, env=os.environ | environment,
    )  # fmt: skip
    assert run.returncode == 0, (run.stdout + run.stderr)[-5000:]
    return run.stdout


def test_no_library_of_kernels_is_loaded():
    libraries = started("everything").split()
    assert any(name.startswith("libcuda") for name in libraries), libraries
    unwanted = re.compile("lib(cublas|cudnn|curand|cusparse|cufft|cusolver|cutensor|nccl)")
    assert [name for name in libraries if unwanted.match(name)] == []


@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "synccheck"])
def test_compute_sanitizer_finds_nothing(tool):
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        pytest.skip("needs compute-sanitizer, which comes with the CUDA toolkit")
    output = started("ops", command=(sanitizer, "--tool", tool, "--error-exitcode", "9"))
    assert re.search("ERROR SUMMARY: 0 errors|RACECHECK SUMMARY: 0 hazards", output), output[-5000:]


def test_first_use(tmp_path, capsys):
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
