"""How much memory is free."""

from __future__ import annotations

import os
from pathlib import Path

from cukernels.runtime import LOWER, device_memory

_WORDS = "out of memory: "
_ASSUMED = 2**32  # bytes, where the system does not say how many there are


def free_memory(device: str = "cpu") -> int:
    """Return how many bytes are free on a device, which `resolve_device` has named.

    On the CPU these are the bytes that are available without swapping, or half of the memory where
    the system does not say. On a GPU they are those that the driver has, and those that CuPy's
    pool holds without using them.
    """
    return _free_main_memory() if device == "cpu" else device_memory(device)[0]


def out_of_memory(error: MemoryError) -> MemoryError:
    """Return an error that tells what to lower; that of a GPU, which does, is returned itself."""
    if _WORDS in str(error):
        return error
    asked = str(error).rstrip(".") or "an allocation failed"  # NumPy names the bytes and the shape
    return MemoryError(f"the host is {_WORDS}{asked}. Lower {LOWER}.")


def _free_main_memory() -> int:
    table = Path("/proc/meminfo")
    if table.exists():
        for line in table.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return _ASSUMED
