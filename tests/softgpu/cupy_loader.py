"""Bring CuPy onto the library: before its import, while it is imported, and after."""

from __future__ import annotations

import gc
import importlib.metadata
import os
import platform
import re
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from softgpu.library import Library

KNOWN = "CuPy 14 for CUDA 12 and 13 (the wheels cupy-cuda12x and cupy-cuda13x) on x86-64 Linux"
OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation
# The extension modules that the CUDA runtime is linked into.
PATCHED = (
    "cupy_backends.cuda.api.runtime", "cupy.cuda.cub", "cupy.cuda.thrust", "cupy.cuda.jitify",
    "cupy.random._generator_api",
)  # fmt: skip


def prepare(library: Library, cache: Path) -> None:
    """Set what CuPy reads when it is imported, and wait for that."""
    if "cupy" in sys.modules or "cupy_backends" in sys.modules:
        raise ImportError("softgpu.install() comes too late: CuPy was imported before")
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise ImportError(f"softgpu needs {KNOWN}, and this is {platform.machine()} {sys.platform}")
    os.environ |= environment(cache)
    sys.meta_path.insert(0, Finder(library))


def environment(cache: Path) -> dict[str, str]:
    """The variables that CuPy needs to hand PTX to the driver, and kernels to name their lines.

    The cache must be one of our own: for CuPy, the PTX and the machine code of a kernel are the
    same thing. Kernels of CUB come as machine code only, so there are no accelerators.
    """
    return {
        "CUPY_COMPILE_WITH_PTX": "1",
        "CUPY_ACCELERATORS": "",
        "CUPY_CACHE_DIR": str(cache),
        "CUKERNELS_LINEINFO": os.environ.get("CUKERNELS_LINEINFO", "1"),
    }


class Finder:
    """Patches modules when Python looks for them, and finishes CuPy when it has been imported."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "cupy" and name not in PATCHED:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        if name == "cupy":
            spec.loader = _Finishing(spec.loader)
        elif why := self._library.patch(spec.origin or ""):
            raise ImportError(
                f"softgpu cannot bring {name} onto the software GPU: {why}. "
                f"Found {_found()}; known are {KNOWN}."
            )
        return spec


def _found() -> str:
    """The wheels of CuPy that are installed, and their versions."""
    names = {
        f"{d.metadata['Name']} {d.version}"
        for d in importlib.metadata.distributions()
        if re.match("cupy", d.metadata["Name"] or "")
    }
    return ", ".join(sorted(names)) or "no wheel of CuPy"


class _Finishing:
    """CuPy's loader, which changes a little of CuPy once it has run."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _without_pool(module)
        # A thread remembers how many devices there were when it first allocated: let this one do
        # it while all of them are visible.
        module.cuda.alloc(1)
        module.cuda.get_current_stream()


def _without_pool(cupy: Any) -> None:
    """Give every array memory of its own, so that the driver knows where it ends."""
    memory, error = cupy.cuda.memory, cupy.cuda.runtime.CUDARuntimeError

    def allocate(size: int) -> Any:
        for last in (False, True):
            try:
                return memory.MemoryPointer(memory.Memory(size), 0)
            except error as refused:
                if refused.status != OUT_OF_MEMORY:
                    raise
                if last:  # as CuPy's pool says it
                    free, total = cupy.cuda.runtime.memGetInfo()
                    raise memory.OutOfMemoryError(size, total - free, total) from None
            gc.collect()
        raise AssertionError

    cupy.cuda.set_allocator(allocate)
