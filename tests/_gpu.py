"""Which GPU the tests run on: one of the machine's, or else the one in software."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import zlib
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

EACH = ("90", "80", "75")  # compute capabilities of devices of the software GPU
INSTALL = "pip install -e '.[kernels]'"


def is_asked_for(config: pytest.Config) -> bool:
    """Whether tests with the marker `gpu` may run."""
    return "not gpu" not in config.getoption("markexpr")


def is_software() -> bool:
    """Whether CuPy has the software GPU."""
    return "softgpu" in sys.modules and sys.modules["softgpu"].is_installed()


def install() -> None:
    """Put the software GPU under CuPy where it can be built and there is no other."""
    if importlib.util.find_spec("cupy") is None or shutil.which("g++") is None:
        return
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return
    import softgpu

    if not softgpu.real_gpu():
        softgpu.install()


def why_not() -> str:
    """Why no test can run on a GPU; "" if they can."""
    if importlib.util.find_spec("cupy") is None:
        return f"needs CuPy: {INSTALL}"
    import cupy

    try:
        cupy.cuda.nvrtc.getVersion()
    except Exception:  # of several kinds, by CuPy's release and by what is missing
        return f"needs NVRTC: {INSTALL}"
    try:
        return "" if cupy.cuda.runtime.getDeviceCount() else "needs a GPU"
    except cupy.cuda.runtime.CUDARuntimeError:
        return "needs a GPU, or g++ on Linux on x86-64 to build the one in software"


def require_gpu() -> None:
    """Skip the calling test where there is no GPU; fail it in continuous integration."""
    if reason := why_not():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason} (CI=true, so it may not be skipped)", pytrace=False)
        pytest.skip(reason)


def capabilities() -> list[str]:
    """The compute capability of each device, as "90" for 9.0."""
    from cupy.cuda import Device, runtime

    return [Device(i).compute_capability for i in range(runtime.getDeviceCount())]


def device_of(capability: str) -> int:
    """The number of the first device of a compute capability; the calling test needs one."""
    found = capabilities()
    if capability not in found:
        pytest.skip(f"needs a GPU of compute capability {capability}, there is {', '.join(found)}")
    return found.index(capability)


def each_capability(config: pytest.Config) -> list[str]:
    """What a test on each device runs on: three in software, or the real one."""
    if not is_asked_for(config) or is_software() or why_not():
        return list(EACH)
    return capabilities()[:1]


def unlucky(name: str) -> AbstractContextManager[Any]:
    """In software: an order of warps and blocks drawn from a test's name; no lucky rounding."""
    if not is_software():
        return nullcontext()
    import softgpu

    return softgpu.settings(seed=zlib.crc32(name.encode()) | 1, rough=True)


def environment() -> dict[str, str]:
    """What a process of its own needs to have the same GPU."""
    return sys.modules["softgpu"].environment() if is_software() else {}


def header() -> str:
    """What the tests say at their top."""
    if reason := why_not():
        return f"GPU: none ({reason})"
    if is_software():
        return f"GPU: in software, as sm_{', sm_'.join(capabilities())}"
    import cupy

    name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return f"GPU: {name}, sm_{capabilities()[0]}"
