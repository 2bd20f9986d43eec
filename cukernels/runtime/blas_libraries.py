"""The BLAS libraries of this process, and how many threads each may use.

threadpoolctl finds them. From its version 3.8 on, the thread that first sets the size of an
OpenBLAS pool keeps control of it, and sizes that other threads set are silently ignored. But a fit
may begin in one thread and end in another, so OpenBLAS's own functions are called here. They are
also faster, which matters to predictions of one sample.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from threadpoolctl import ThreadpoolController


@dataclass(frozen=True, eq=False)
class Blas:
    """A BLAS library.

    Attributes
    ----------
    name : str
        What threadpoolctl calls it: "openblas", "mkl", "blis" or "flexiblas".
    path : str
        Its file.
    is_of_a_thread : bool
        Whether a limit applies only to the thread that sets it. Else it applies to the process.
    get_num_threads, set_num_threads : callable
        Return the limit; set it.
    """

    name: str
    path: str
    is_of_a_thread: bool
    get_num_threads: Callable[[], int]
    set_num_threads: Callable[[int], object]


def blas_libraries() -> list[Blas]:
    """Return the libraries that are loaded; finding them takes 1 to 2 ms."""
    found = ThreadpoolController().select(user_api="blas").lib_controllers
    return [_described(library) for library in found]


def _described(found: Any) -> Blas:
    name, path = found.internal_api, found.filepath
    if name == "openblas" and found.threading_layer != "openmp":
        return Blas(name, path, False, *_of_a_pool(found))
    return Blas(
        name,
        path,
        name in ("openblas", "mkl"),
        lambda: found.num_threads or 1,
        found.set_num_threads,
    )


def _of_a_pool(found: Any) -> tuple[Callable[[], int], Callable[[int], object]]:
    """Return OpenBLAS's functions for its pool of threads."""
    getter = next(name for name in found.check_symbols if hasattr(found.dynlib, name))
    # PyDLL keeps the interpreter's lock: to wait for it again would take far longer than to read.
    reads = ctypes.PyDLL(found.filepath)
    return getattr(reads, getter), getattr(found.dynlib, getter.replace("_get_", "_set_"))
