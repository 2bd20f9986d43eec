"""The constants of this machine, measured in less than a second by the package's own ops."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cukernels.runtime.arrays import installed_cupy, resolve_device
from cukernels.runtime.machine import Machine, Rate
from cukernels.runtime.machine_file import load, save
from cukernels.runtime.registry import OPS
from cukernels.runtime.version import __version__
from cukernels.runtime.workers import threads

Call = Callable[[], Any]
Place = Callable[[np.ndarray], Any]

_BUDGET = 0.02  # seconds for the repetitions of one call
_SMALL = 64  # rows and columns of a product whose time is that of the call
_COPIED = 1 << 24  # bytes
_IN_GRAPH = 32  # products
# A product of a small network's step: the least that a kernel of a graph takes.
_OF_A_STEP = (200, 784, 100)


@functools.cache
def machine_of(device: str, n_threads: int) -> Machine:
    """Return the constants for a GPU and a number of threads: those of the file, or new ones."""
    return load(*_identity(device), __version__, n_threads) or calibrate(device)


def calibrate(device: str = "cuda") -> Machine:
    """Measure how fast this machine's CPU and one of its GPUs are.

    ``device="auto"`` asks for this when it first has a fit or a prediction that may be worth a
    GPU. The constants are kept in a file in the folder CUKERNELS_CACHE_DIR, by default
    ``~/.cache/cukernels``, for this GPU, driver, version and number of threads. Call this to
    measure again, as on a machine that was busy then.

    Parameters
    ----------
    device : str, default="cuda"
        "cuda" (the first GPU) or "cuda:N".

    Returns
    -------
    machine : Machine
        The constants, which ``print`` shows. They hold from now on.

    Raises
    ------
    TypeError, ValueError
        If `device` is no text, or names no GPU.
    ImportError, RuntimeError
        If there is no CuPy or no such GPU.

    Examples
    --------
    >>> import cukernels
    >>> print(cukernels.calibrate())  # doctest: +SKIP
    """
    if not isinstance(device, str):
        raise TypeError(
            f"device is {device!r}: name a GPU by text, as 'cuda' or 'cuda:0', and not by a number"
        )
    device = resolve_device(device)
    if device == "cpu":
        raise ValueError("calibrate measures a GPU beside the CPU: name it, as device='cuda:0'")
    cupy = installed_cupy()
    assert cupy is not None
    with cupy.cuda.Device(int(device[5:])):
        wait = cupy.cuda.runtime.deviceSynchronize
        on_gpu = _rates(cupy.asarray, wait, {"float32": 2048, "float64": 1024})
        on_cpu = _rates(np.asarray, lambda: None, {"float32": 512, "float64": 512})
        bytes_ = np.zeros(_COPIED, np.uint8)
        there = cupy.asarray(bytes_)
        machine = Machine(
            *_identity(device),
            __version__,
            threads(),
            launch=on_gpu["float32"].latency,
            replay=_replay_seconds(cupy, wait),
            up=_rate(lambda n: functools.partial(cupy.asarray, bytes_[:n]), (256, _COPIED), wait),
            down=_rate(lambda n: functools.partial(cupy.asnumpy, there[:n]), (256, _COPIED), wait),
            on_cpu=on_cpu,
            on_gpu=on_gpu,
        )
    save(machine)
    machine_of.cache_clear()
    return machine


def _identity(device: str) -> tuple[str, str]:
    """The name of a GPU, and the version of its driver."""
    runtime = installed_cupy().cuda.runtime  # type: ignore[union-attr]
    name = runtime.getDeviceProperties(int(device[5:]))["name"]
    driver = str(runtime.driverGetVersion())
    release = Path("/proc/driver/nvidia/version")
    if release.exists() and (found := re.search(r"\s(\d+\.[\d.]+)\s", release.read_text())):
        driver = f"{found[1]} for CUDA {driver}"
    return name.decode() if isinstance(name, bytes) else name, driver


def seconds_of(call: Call, wait: Call) -> float:
    """Return what a call takes: the least time of several rounds of calls."""
    call()  # it may have to compile
    wait()
    begun = time.perf_counter()
    call()
    wait()
    once = max(time.perf_counter() - begun, 1e-7)
    n_calls = max(1, min(20, int(_BUDGET / 4 / once)))
    least, end = once, time.perf_counter() + _BUDGET
    while time.perf_counter() < end:
        begun = time.perf_counter()
        for _ in range(n_calls):
            call()
        wait()
        least = min(least, (time.perf_counter() - begun) / n_calls)
    return least


def _rate(
    call_of: Callable[[int], Call],
    sizes: tuple[int, int],
    wait: Call,
    amount: Callable[[int], float] = float,
) -> Rate:
    """Return the rate of a computation from its times at two sizes."""
    small, large = (seconds_of(call_of(size), wait) for size in sizes)
    more = amount(sizes[1]) - amount(sizes[0])
    per_second = more / max(large - small, 0.01 * large)
    return Rate(max(small - amount(sizes[0]) / per_second, 0.1 * small), per_second)


def _rates(place: Place, wait: Call, large: Mapping[str, int]) -> dict[str, Rate]:
    """Return the rates of all kinds of work where `place` puts arrays."""
    rng = np.random.default_rng(0)

    def product(n: int, dtype: str) -> Call:
        a = place(rng.random((n, n)).astype(dtype))
        return functools.partial(_body("matmul", a), a, a)

    def sparse(n: int) -> Call:
        columns = place(rng.integers(n, size=32 * n).astype(np.int32))
        values = place(rng.random(32 * n).astype(np.float32))
        begins = place(np.arange(0, 32 * n + 1, 32, dtype=np.int32))
        b = place(rng.random((n, 32)).astype(np.float32))
        return functools.partial(_body("csr_matmul", b), values, columns, begins, b)

    def online(n_features: int) -> Call:
        x = place(rng.standard_normal((_SMALL, n_features)).astype(np.float32))
        y = place(rng.integers(10, size=_SMALL))
        w, b, eta = place(np.zeros((10, n_features), np.float32)), place(np.zeros(10)), 1.0
        return functools.partial(_body("perceptron_sweep", x), x, y, w, b, eta)

    rates = {
        dtype: _rate(
            functools.partial(product, dtype=dtype), (_SMALL, n), wait, lambda n: 2.0 * n**3
        )
        for dtype, n in large.items()
    }
    rates["sparse"] = _rate(sparse, (_SMALL, 4096), wait, lambda n: 2.0 * 32 * 32 * n)
    sweep = _rate(online, (_SMALL, 2048), wait, lambda n: 2.0 * 10 * _SMALL * n)
    rates["online"] = Rate(sweep.latency / _SMALL, sweep.per_second)  # of one sample
    return rates


def _body(name: str, x: Any) -> Callable[..., Any]:
    """The body of an op for arrays such as this one."""
    return OPS[name].body(x)


def _replay_seconds(cupy: Any, wait: Call) -> float:
    """Return what a product takes in a graph of many that is replayed."""
    m, k, n = _OF_A_STEP
    a, b, dy, db = (cupy.zeros(shape, np.float32) for shape in ((m, k), (k, n), (m, n), (k, n)))

    def multiply() -> None:
        _body("matmul_backward", a)(dy, a, b, None, dy, needs=("b",), out={"b": db})

    multiply()  # what is captured may neither compile nor allocate
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        multiply()
        stream.begin_capture()
        for _ in range(_IN_GRAPH):
            multiply()
        graph = stream.end_capture()
        return seconds_of(functools.partial(graph.launch, stream), wait) / _IN_GRAPH
