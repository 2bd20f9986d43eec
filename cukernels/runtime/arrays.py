"""Where arrays live: on the host (NumPy) or on a GPU (CuPy).

This is the only file that imports CuPy, and it does so only when a GPU is asked for, so a program
that stays on the CPU never pays for the import. The one private name of CuPy that the package uses
stands here too.
"""

from __future__ import annotations

import importlib.util
import operator
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from types import ModuleType
from typing import Any, ParamSpec, TypeAlias, TypeVar

import numpy as np

from cukernels.runtime.interrupts import while_set

P = ParamSpec("P")
Result = TypeVar("Result")

Array: TypeAlias = Any  # numpy.ndarray or cupy.ndarray: the type decides where an op runs

INSTALL_CUDA = (
    "Install CuPy with `pip install 'cukernels[cuda13]'` (or `cuda12` for a CUDA 12 driver)."
)

_NO_MEMORY = 2  # cudaErrorMemoryAllocation

# What a user can do about a device with too little memory.
LOWER = (
    "batch_size or hidden_layer_sizes of a network, max_stack_bytes of a search, or the number of "
    "samples"
)

is_c_contiguous = operator.attrgetter("_c_contiguous")
"""Whether a CuPy array is C-contiguous. `x.flags` says the same, but it makes an object at every
access, which costs more than all the rest of a launch."""


def check_private_names() -> None:
    """Raise ImportError if CuPy's arrays lack the private name that a launch reads."""
    cupy = sys.modules.get("cupy")
    if cupy is not None and not hasattr(cupy.ndarray, "_c_contiguous"):
        raise ImportError(
            "cupy.ndarray has no _c_contiguous. cukernels needs it for checking the arrays of a "
            "kernel. It is a private name, which any release may change; installed is CuPy "
            f"{cupy.__version__}. Install a release of CuPy that has it, or a newer release of "
            "cukernels."
        )


def namespace(x: Array) -> ModuleType:
    """Return the array module of `x`: `numpy` or `cupy`.

    Raises
    ------
    TypeError
        If `x` is neither a NumPy nor a CuPy array.
    """
    if isinstance(x, np.ndarray | np.generic):
        return np
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(x, cupy.ndarray):
        return cupy
    raise TypeError(f"expected a NumPy or CuPy array, got {type(x).__name__}")


def special(x: Array) -> ModuleType:
    """Return the special functions for `x`: `scipy.special` or `cupyx.scipy.special`."""
    if namespace(x) is np:
        import scipy.special

        return scipy.special
    import cupyx.scipy.special

    return cupyx.scipy.special


def installed_cupy() -> ModuleType | None:
    """Import CuPy and return it, or return None if it is not installed.

    Raises
    ------
    ImportError
        If it is installed and broken. The message has what CuPy raised, and what to do.
    """
    if importlib.util.find_spec("cupy") is None:
        return None
    try:
        return importlib.import_module("cupy")
    except Exception as error:  # CuPy looks for libraries and makes a folder while it is imported
        advice = (
            "CUPY_CACHE_DIR has to name a folder that can be made."
            if isinstance(error, OSError)
            else INSTALL_CUDA
        )
        raise ImportError(
            f"CuPy is installed, but importing it raises {type(error).__name__}: {error}. {advice}"
        ) from error


_turn: ContextVar[int] = ContextVar("_turn", default=0)


def cuda_in_turn(
    number: int, function: Callable[P, Result], /, *args: P.args, **kwargs: P.kwargs
) -> Result:
    """Call a function for which the bare name "cuda" means the GPU of this number.

    Numbers past the last GPU begin anew with the first.
    """
    return while_set(_turn, number, function, *args, **kwargs)


def cuda_turn() -> int:
    """Return the number that `cuda_in_turn` gave to the calling thread, or 0."""
    return _turn.get()


def resolve_device(device: str) -> str:
    """Turn a `device` parameter into "cpu" or "cuda:N".

    Parameters
    ----------
    device : str
        "cpu", "cuda" (the first GPU, or the one of `cuda_in_turn`), "cuda:N", or "auto". "auto"
        means the CPU here, where nothing is known of the work; `cukernels.gpu.chosen_device`
        chooses for a given piece of work.

    Raises
    ------
    ValueError
        If `device` is not one of these names.
    ImportError
        If a GPU is asked for and CuPy is missing or broken.
    RuntimeError
        If a GPU is asked for that this machine does not have.
    """
    if device in ("auto", "cpu"):
        return "cpu"
    kind, _, index = device.partition(":")
    if kind != "cuda" or (":" in device and not index.isdecimal()):
        raise ValueError(
            f"Unknown device {device!r}: expected 'auto', 'cpu', 'cuda' or 'cuda:N' (as 'cuda:1')."
        )
    try:
        cupy = installed_cupy()
    except ImportError as error:
        raise ImportError(f"device={device!r}: {error}") from error
    if cupy is None:
        raise ImportError(f"device={device!r} needs CuPy, which is not installed. {INSTALL_CUDA}")

    try:
        found = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(
            f"device={device!r}: CuPy is installed, but no NVIDIA GPU can be used ({error}). "
            "Check the driver with `nvidia-smi`, or use device='cpu'."
        ) from error
    wanted = int(index) if index else _turn.get() % max(found, 1)
    if wanted >= found:
        raise RuntimeError(f"device={device!r}: this machine has {found} GPU(s), from cuda:0.")
    return f"cuda:{wanted}"


def to_device(x: np.ndarray, device: str) -> Array:
    """Copy `x` to a device that `resolve_device` named; for the CPU return `x` itself."""
    if device == "cpu":
        return x
    import cupy

    with cupy.cuda.Device(int(device.partition(":")[2])):
        return cupy.asarray(x)


def like(x: np.ndarray, reference: Array) -> Array:
    """Copy a host array to the device of `reference`; if that is the CPU, return `x` itself."""
    return x if isinstance(reference, np.ndarray) else to_device(x, f"cuda:{reference.device.id}")


def current(device: str, lower: str = LOWER) -> AbstractContextManager[None]:
    """Make a device that `resolve_device` named the one on which kernels run and arrays are made.

    CuPy launches kernels on the current device, wherever their arrays are, so a fit on another
    device has to be run inside this context. For the CPU the context does nothing.

    Parameters
    ----------
    device : str
        "cpu" or "cuda:N".
    lower : str
        What the error tells the user to lower if the device runs out of memory.

    Raises
    ------
    MemoryError
        If the device ran out of memory inside the context. The message says how many bytes were
        asked for and how many are free.
    """
    return nullcontext() if device == "cpu" else _current(device, lower)


@contextmanager
def _current(device: str, lower: str) -> Iterator[None]:
    import cupy

    with cupy.cuda.Device(int(device.partition(":")[2])):
        try:
            yield
        except (cupy.cuda.memory.OutOfMemoryError, cupy.cuda.runtime.CUDARuntimeError) as error:
            # Without CuPy's pool (`cupy.cuda.set_allocator(None)`) it is the runtime's own error
            if getattr(error, "status", _NO_MEMORY) != _NO_MEMORY:
                raise
            asked = re.search(r"allocating ([\d,]+) bytes", str(error))
            free, total = cupy.cuda.runtime.memGetInfo()
            raise MemoryError(
                f"{device} is out of memory: {asked[1] if asked else 'more'} bytes were asked for, "
                f"and {free:,} of {total:,} are free. Lower {lower}, or use device='cpu'."
            ) from error


def device_memory(device: str) -> tuple[int, int]:
    """Return how many bytes of a GPU are free, and how many it has.

    Those are free that the driver has, and those that CuPy's pool holds without using them.
    """
    cupy = importlib.import_module("cupy")
    with cupy.cuda.Device(int(device.partition(":")[2])):
        free, total = cupy.cuda.runtime.memGetInfo()
        return int(free) + int(cupy.get_default_memory_pool().free_bytes()), int(total)


def to_host(x: Array) -> np.ndarray:
    """Return `x` as a NumPy array; a NumPy array is returned as it is."""
    return x if isinstance(x, np.ndarray) else namespace(x).asnumpy(x)
