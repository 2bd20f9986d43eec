"""Counters with which the blocks of a launch find out who is the last: `is_last_block`."""

from __future__ import annotations

import threading

from cukernels.runtime.arrays import Array, namespace

_LEAST = 4096  # counters of an array, which is 16 KB


def counters(x: Array, n: int) -> Array:
    """Return at least `n` counters on the device of `x`, for a launch on the current stream.

    They are unsigned integers and all 0. A launch leaves them so (the last block sets them back),
    and the launches of a stream come one after the other. So all of them share one array. It is
    never given back, as a CUDA graph may refer to it.
    """
    xp = namespace(x)
    key = (x.device.id, xp.cuda.get_current_stream().ptr)
    if not hasattr(_own, "made"):
        _own.made = {}
    made = _own.made.setdefault(key, [])
    if not made or made[-1].size < n:
        made.append(xp.zeros(max(n, _LEAST, 2 * made[-1].size if made else 0), "uint32"))
    return made[-1]


# Of each thread, by device and stream: all arrays, of which the last is in use. (A thread has its
# own, as CUDA's stream "per thread" has the same address in all of them.)
_own = threading.local()
