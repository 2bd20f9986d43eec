"""How much memory is free."""

from __future__ import annotations

import os
from pathlib import Path

_SOMETHING = 2**32  # where the system does not say


def free_memory() -> int:
    """Bytes of main memory that can be had without swapping; half of all where that is not told."""
    table = Path("/proc/meminfo")
    if table.exists():
        for line in table.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return _SOMETHING
