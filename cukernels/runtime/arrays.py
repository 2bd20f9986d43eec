"""Where arrays live: on the host (NumPy) or on a GPU (CuPy).

The only file that imports CuPy, and it does so late: a program that never asks for a GPU never
pays for the import. The only private name of CuPy that is used stands here too.
"""

from __future__ import annotations

import importlib.util
import operator
import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any  # numpy.ndarray or cupy.ndarray: the type decides where an op runs

INSTALL_CUDA = (
    "Install CuPy with `pip install 'cukernels[cuda13]'` (or `cuda12` for a CUDA 12 driver)."
)

# What a user can do about a device with too little memory.
LOWER = "batch_size of a network, max_stack_bytes of a search, or the number of samples"

is_c_contiguous = operator.attrgetter("_c_contiguous")
"""Whether the elements of a CuPy array lie in C's order. `x.flags` says the same, and costs more
than all the rest of a launch, for it makes an object each time."""


def check_private_names() -> None:
    """Raise ImportError if CuPy's arrays no longer have the private name that a launch reads."""
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
        If `x` is an array of neither.
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
    """Import CuPy and return it; None where it is not installed."""
    if importlib.util.find_spec("cupy") is None:
        return None
    return importlib.import_module("cupy")


def resolve_device(device: str) -> str:
    """Turn a `device` parameter into "cpu" or "cuda:N".

    Parameters
    ----------
    device : str
        "cpu", "cuda" (the first GPU), "cuda:N", or "auto". "auto" is the CPU: from which size of
        data and model on a GPU is faster has not been measured yet, and below it a GPU is slower.

    Raises
    ------
    ValueError
        If the name is none of these.
    ImportError
        If a GPU is asked for and CuPy is missing.
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
    wanted = int(index or 0)
    cupy = installed_cupy()
    if cupy is None:
        raise ImportError(f"device={device!r} needs CuPy, which is not installed. {INSTALL_CUDA}")

    try:
        found = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(
            f"device={device!r}: CuPy is installed, but no NVIDIA GPU can be used ({error}). "
            "Check the driver with `nvidia-smi`, or use device='cpu'."
        ) from error
    if wanted >= found:
        raise RuntimeError(f"device={device!r}: this machine has {found} GPU(s), from cuda:0.")
    return f"cuda:{wanted}"


def to_device(x: np.ndarray, device: str) -> Array:
    """Return `x` on a device that `resolve_device` named; on the CPU it is `x` itself."""
    if device == "cpu":
        return x
    import cupy

    with cupy.cuda.Device(int(device.partition(":")[2])):
        return cupy.asarray(x)


def like(x: np.ndarray, reference: Array) -> Array:
    """Return a host array on the device where `reference` is; on the CPU it is `x` itself."""
    return x if isinstance(reference, np.ndarray) else to_device(x, f"cuda:{reference.device.id}")


def current(device: str, lower: str = LOWER) -> AbstractContextManager[None]:
    """Make a device that `resolve_device` named the one on which kernels run and arrays are made.

    CuPy launches on the current device, wherever the arrays are. On the CPU nothing changes.

    Parameters
    ----------
    device : str
        "cpu" or "cuda:N".
    lower : str
        What a user should lower where the device's memory does not suffice.

    Raises
    ------
    MemoryError
        On leaving, if the device's memory did not suffice; it says how many bytes were asked for,
        and how many there are.
    """
    return nullcontext() if device == "cpu" else _current(device, lower)


@contextmanager
def _current(device: str, lower: str) -> Iterator[None]:
    import cupy

    with cupy.cuda.Device(int(device.partition(":")[2])):
        try:
            yield
        except cupy.cuda.memory.OutOfMemoryError as error:
            asked = re.search(r"allocating ([\d,]+) bytes", str(error))
            free, total = cupy.cuda.runtime.memGetInfo()
            raise MemoryError(
                f"{device} is out of memory: {asked[1] if asked else 'more'} bytes were asked for, "
                f"and {free:,} of {total:,} are free. Lower {lower}, or use device='cpu'."
            ) from error


def to_host(x: Array) -> np.ndarray:
    """Return `x` as a NumPy array; a NumPy array is returned as it is."""
    return x if isinstance(x, np.ndarray) else namespace(x).asnumpy(x)
