"""How much shared memory a block can have, and how a kernel is allowed to have it.

A block's shared memory is static (the kernel's own variables) plus dynamic (the bytes that a launch
gives), and every limit is on both together. Without being asked, the driver gives a block 48 KB.
It gives more dynamic shared memory to a function whose limit has been raised.
"""

from __future__ import annotations

import threading
from typing import Any

UNASKED = 48 * 1024  # bytes that any block can have, static and dynamic

_RAISING = threading.Lock()


def shared_limit(architecture: int) -> int:
    """Return how many bytes of shared memory a block can have, static and dynamic."""
    if architecture < 80:
        return 64 * 1024
    if architecture >= 120 or architecture // 10 == 8 and architecture not in (80, 87):
        return 99 * 1024
    return (163 if architecture < 90 else 227) * 1024


def allow(function: Any, dynamic: int) -> None:
    """Let launches of a function on the current device have so much dynamic shared memory.

    CuPy gives one function to all that ask for the same kernel, so a limit that somebody else has
    raised further stays: it is never lowered, whatever the order of launches and of threads.

    Parameters
    ----------
    function : cupy.RawKernel
        The kernel.
    dynamic : int
        Bytes.
    """
    if dynamic + function.shared_size_bytes <= UNASKED:
        return
    with _RAISING:
        raised = max(dynamic, function.max_dynamic_shared_size_bytes)
        function.max_dynamic_shared_size_bytes = raised
