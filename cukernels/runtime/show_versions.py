"""What a bug report should contain: versions, devices, and which bodies the ops have."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from threadpoolctl import threadpool_info

from cukernels.runtime.arrays import installed_cupy
from cukernels.runtime.registry import OPS
from cukernels.runtime.version import __version__

_PACKAGES = ("numpy", "scipy", "scikit-learn", "threadpoolctl", "joblib")
_EXTRAS = (
    "matplotlib",
    "tqdm",
    "onnx",
    "onnxruntime",
    "skl2onnx",
    "skops",
    "dask",
    "pandas",
    "polars",
)
_CUPY = ("cupy-cuda12x", "cupy-cuda13x", "cupy", "nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12")


def show_versions() -> None:
    """Print versions of Python and packages, the machine, its GPUs, and the bodies of the ops.

    ``python -m cukernels`` prints the same and also checks every op on this machine. Paste its
    output into a bug report.

    Examples
    --------
    >>> import cukernels
    >>> cukernels.show_versions()  # doctest: +SKIP
    """
    print("\n".join(report()))  # noqa: T201


def report() -> list[str]:
    """Return the lines that `show_versions` prints."""
    lines = ["System"]
    lines += _table(
        {
            "python": f"{platform.python_version()} ({sys.executable})",
            "machine": platform.platform(),
            "cores": str(len(os.sched_getaffinity(0)))
            if hasattr(os, "sched_getaffinity")
            else str(os.cpu_count()),
        }
    )
    installed = {"cukernels": __version__} | {
        name: found for name in (*_PACKAGES, *_EXTRAS) if (found := _version(name))
    }
    lines += ["", "Packages", *_table(installed)]
    pools = {
        pool["internal_api"]: f"{pool['version'] or '?'}, {pool['num_threads']} thread(s)"
        for pool in threadpool_info()
    }
    lines += ["", "Thread pools", *_table(pools or {"none": ""})]
    lines += ["", "CUDA", *_table(cuda_facts())]
    lines += ["", "Ops and their bodies", *body_table()]
    return lines


def cuda_facts() -> dict[str, str]:
    """Return the versions of CuPy and CUDA, the cache of kernels, and a line for each GPU."""
    facts = {name: found for name in _CUPY if (found := _version(name))}
    try:
        cupy = installed_cupy()
    except ImportError as error:
        return facts | {"GPU": f"none can be used: {error}"}
    if cupy is None:
        return facts | {"GPU": "none can be used: CuPy is not installed"}
    for name, ask in (
        ("NVRTC", lambda: ".".join(map(str, cupy.cuda.nvrtc.getVersion()))),
        ("driver", lambda: _dotted(cupy.cuda.runtime.driverGetVersion())),
    ):
        facts[name] = _answer(ask)
    facts["cache"] = kernel_cache()
    facts["devices"] = _answer(lambda: str(cupy.cuda.runtime.getDeviceCount()))
    for device in cuda_devices():
        facts[device] = _answer(lambda device=device: _describe(cupy, device))
    return facts


def kernel_cache() -> str:
    """Return the folder in which CuPy keeps compiled kernels."""
    return os.environ.get("CUPY_CACHE_DIR", os.path.expanduser("~/.cupy/kernel_cache"))


def cuda_devices() -> list[str]:
    """Return the names of the GPUs of this machine that can be used, as "cuda:0"."""
    try:
        cupy = installed_cupy()
        count = 0 if cupy is None else cupy.cuda.runtime.getDeviceCount()
    except Exception:  # noqa: BLE001 (a report is asked for where something is broken)
        return []
    return [f"cuda:{i}" for i in range(count)]


def body_table() -> list[str]:
    """Return a line for each op with the bodies that it has."""
    width = max(map(len, OPS))
    lines = [f"  {'':{width}}  reference  numpy  cuda"]
    for name, op in OPS.items():
        marks = [" yes " if body else "  -  " for body in (op.numpy, op.cuda)]
        lines.append(f"  {name:{width}}    yes      {marks[0]}  {marks[1]}".rstrip())
    return lines


def _describe(cupy: Any, device: str) -> str:
    index = int(device.partition(":")[2])
    facts = cupy.cuda.runtime.getDeviceProperties(index)
    name = facts["name"].decode() if isinstance(facts["name"], bytes) else facts["name"]
    return (
        f"{name}, compute capability {facts['major']}.{facts['minor']}, "
        f"{facts['totalGlobalMem'] / 2**30:.1f} GiB, {facts['multiProcessorCount']} multiprocessors"
    )


def _answer(ask: Any) -> str:
    """What `ask` returns, or its error: without a GPU, most questions raise one."""
    try:
        return ask()
    except Exception as error:  # noqa: BLE001
        return f"unknown ({error})"


def _dotted(number: int) -> str:
    """Write a version of CUDA such as 13020 as 13.2; CUDA reports 0 if there is none."""
    return "none" if number == 0 else f"{number // 1000}.{number % 1000 // 10}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _table(facts: dict[str, str]) -> list[str]:
    width = max(map(len, facts), default=0)
    return [f"  {name:>{width}}: {value}" for name, value in facts.items()]
