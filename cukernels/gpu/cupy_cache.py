"""Fill CuPy's cache of compiled kernels for any architecture, also where there is no GPU.

CuPy compiles a kernel, stores it, and loads it onto the device. Here it stops when the kernel is
stored. What is stored, and under which name, is up to CuPy all the same: so a process with a GPU
finds it. All private names of CuPy's compiler that the package uses stand in this file.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from cukernels.gpu.kernel import OPTIONS, Instance
from cukernels.gpu.source import source

_BACKEND, _CLASS = "_kernel_cache_backend", "_DiskKernelCacheBackend"
_ARCHITECTURE_OPTION = "_get_arch_for_options_for_nvrtc"


class _StoredError(Exception):
    """The kernel is in the cache, and need not be loaded."""

    def __init__(self, compiled: bool) -> None:
        self.compiled = compiled


@contextmanager
def without_device() -> Iterator[None]:
    """Let CuPy compile for an architecture that is named, without a device, and load nothing.

    It holds for all threads, so it is for a process that does nothing else.

    Raises
    ------
    ImportError
        If this release of CuPy lacks a name that this needs.
    """
    compiler = _checked().cuda.compiler
    disk = getattr(compiler, _CLASS)

    class Storing(disk):  # type: ignore[misc, valid-type]
        """The cache on the disk, which ends the work on a kernel that it has."""

        def load(self, name: str) -> None:
            if super().load(name) is not None:
                raise _StoredError(compiled=False)

        def save(self, name: str, cubin: bytes, source: str) -> None:
            super().save(name, cubin, source)
            raise _StoredError(compiled=True)

    before = getattr(compiler, _BACKEND), getattr(compiler, _ARCHITECTURE_OPTION)
    setattr(compiler, _BACKEND, Storing())
    # it remembers an answer for each device, and so asks which one is current
    setattr(compiler, _ARCHITECTURE_OPTION, before[1].__wrapped__)
    try:
        yield
    finally:
        setattr(compiler, _BACKEND, before[0])
        setattr(compiler, _ARCHITECTURE_OPTION, before[1])


def store(instance: Instance, architecture: int) -> bool:
    """Compile an instance into the cache; return whether it was not there. In `without_device`."""
    try:
        sys.modules["cupy"]._core.core.compile_with_cache(
            source(instance.kernel.file),
            OPTIONS,
            arch=str(architecture),
            prepend_cupy_headers=False,
            name_expressions=(instance.expression,),
        )
    except _StoredError as stored:
        return stored.compiled
    raise ImportError(_words("a cache that stores every kernel"))


def _checked() -> ModuleType:
    """Return CuPy; raise ImportError if it lacks a private name that is needed here."""
    cupy = sys.modules["cupy"]
    for name in (
        f"cuda.compiler.{_CLASS}.load",
        f"cuda.compiler.{_CLASS}.save",
        f"cuda.compiler.{_BACKEND}",
        f"cuda.compiler.{_ARCHITECTURE_OPTION}.__wrapped__",
        "_core.core.compile_with_cache",
    ):
        try:
            operator.attrgetter(name)(cupy)
        except AttributeError:
            raise ImportError(_words(f"cupy.{name}")) from None
    return cupy


def _words(lacks: str) -> str:
    version: Any = getattr(sys.modules["cupy"], "__version__", "?")
    return (
        f"CuPy has no {lacks}. cukernels needs it for compiling kernels where there is no GPU. It "
        f"is private, so any release may change it; installed is CuPy {version}. Install a release "
        "of CuPy that has it, or a newer release of cukernels."
    )
