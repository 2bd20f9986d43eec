"""How much shared memory a block can have, and how a kernel gets more than the default.

A block's shared memory is static (the kernel's own variables) plus dynamic (the bytes given at the
launch), and every limit is on their sum. By default the driver gives a block at most 48 KB. A
kernel can have more dynamic shared memory once its limit has been raised.
"""

from __future__ import annotations

import threading
from typing import Any

UNASKED = 48 * 1024  # bytes that a block can have by default, static and dynamic

_RAISING = threading.Lock()


def shared_limit(architecture: int) -> int:
    """Return how many bytes of shared memory a block can have at most, static and dynamic."""
    if architecture < 80:
        return 64 * 1024
    if architecture >= 120 or architecture // 10 == 8 and architecture not in (80, 87):
        return 99 * 1024
    return (163 if architecture < 90 else 227) * 1024


def allow(function: Any, dynamic: int) -> None:
    """Raise the limit of a kernel on the current device to this much dynamic shared memory.

    CuPy hands the same function to everybody who asks for a kernel. So a limit is never lowered,
    whatever the order of launches and of threads: another launch may need it.

    Parameters
    ----------
    function : cupy.RawKernel
        The kernel.
    dynamic : int
        Bytes of dynamic shared memory.
    """
    if dynamic + function.shared_size_bytes <= UNASKED:
        return
    with _RAISING:
        raised = max(dynamic, function.max_dynamic_shared_size_bytes)
        function.max_dynamic_shared_size_bytes = raised
