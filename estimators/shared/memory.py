"""How much memory is free."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cukernels.runtime import current

_SOMETHING = 2**32  # where the system does not say


def free_memory(device: str = "cpu") -> int:
    """Bytes that can be had on a device that `resolve_device` named.

    Of main memory without swapping, or half of all where that is not told; of a GPU's what the
    driver and CuPy's pool have.
    """
    if device == "cpu":
        return _free_main_memory()
    with current(device):
        cupy = sys.modules["cupy"]
        free, _ = cupy.cuda.runtime.memGetInfo()
        return int(free) + int(cupy.get_default_memory_pool().free_bytes())


def _free_main_memory() -> int:
    table = Path("/proc/meminfo")
    if table.exists():
        for line in table.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return _SOMETHING
