"""Where `device="auto"` computes: on the GPU where it is expected to be clearly faster."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path

from cukernels.gpu.calibration import machine_of
from cukernels.runtime.arrays import cuda_turn, device_memory, resolve_device
from cukernels.runtime.machine import Work
from cukernels.runtime.workers import threads

GPU = "cuda:0"
"""The device that "auto" takes, but in the jobs of a search, which take the GPUs in turn."""

_DRIVERS = ("/dev/nvidiactl", "/dev/dxg")  # NVIDIA's driver on Linux, and under WSL


def chosen_device(device: str, work: Callable[[], Work], *, verbose: object = False) -> str:
    """Turn a `device` parameter into "cpu" or "cuda:N", for a given piece of work.

    Parameters
    ----------
    device : str
        As `resolve_device` takes it. "auto" means the GPU if there is one that is expected to be
        clearly faster than the CPU. That includes the start of CUDA, whether it has started or
        not: so the choice does not depend on what a process has done before.
    work : callable
        Returns what is to be done. It is only called for "auto", where there may be a GPU.
    verbose : object, default=False
        If it is true, what "auto" has chosen is printed, with the reason. Where there is no GPU
        there is nothing to choose.

    Raises
    ------
    ValueError, ImportError, RuntimeError
        As `resolve_device` raises them.
    """
    if device != "auto":
        return resolve_device(device)
    if not may_have_gpu():
        return "cpu"
    chosen, reason = _choice(work())
    if verbose:
        print(f"device='auto' is {chosen}: {reason}")  # noqa: T201
    return chosen


def _choice(work: Work) -> tuple[str, str]:
    """Return the device, and why it was chosen."""
    if work.is_small:
        return "cpu", "there is too little to do for a GPU"
    try:
        gpu = resolve_device("cuda") if cuda_turn() else GPU
        machine = machine_of(gpu, threads())
        free, _ = device_memory(gpu)
        on_cpu, on_gpu = machine.seconds_on_cpu(work), machine.seconds_on_gpu(work)
    except Exception as error:  # noqa: BLE001 (whatever it is, this GPU is of no use)
        return "cpu", f"the GPU cannot be used ({type(error).__name__}: {error})"
    if work.memory > free:
        return "cpu", f"it needs {work.memory:,.0f} bytes, and {gpu} has {free:,} free"
    reason = f"expected are {on_cpu:.2g} s on the CPU and {on_gpu:.2g} s on {gpu}"
    return (gpu if machine.prefers_gpu(work) else "cpu"), reason


@functools.cache
def may_have_gpu() -> bool:
    """Whether CuPy is installed and a driver is there, as far as can be seen without CuPy."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    has_driver = sys.platform == "win32" or any(Path(driver).exists() for driver in _DRIVERS)
    return has_driver and importlib.util.find_spec("cupy") is not None
