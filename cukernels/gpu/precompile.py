"""Compile the kernels that a computation needs side by side, before it needs the first of them.

NVRTC takes a quarter of a second for a kernel, and a first fit needs dozens of kernels. It would
meet them one after the other. So it runs its first step in `recorded`, where launches are noted and
not made. What is noted is then compiled on all cores; NVRTC compiles on as many as it is called on.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from cukernels.runtime.precision import current_precision

Need = tuple[Any, int]  # an instance of a kernel, and its bytes of dynamic shared memory

RECORDING: dict[int, dict[Need, None]] = {}
"""What the threads that are in `recorded` have noted so far, by the thread. A launch looks first
whether this is empty, which costs it next to nothing."""

_known: set[Hashable] = set()


@contextmanager
def recorded() -> Iterator[dict[Need, None]]:
    """Let launches of this thread be noted, and not be made.

    Yields
    ------
    needs : dict
        Its keys are the instances that were to be launched, with their bytes of dynamic shared
        memory. Arrays that they would have filled are left as they are.
    """
    me = threading.get_ident()
    outer = RECORDING.get(me)
    needs: dict[Need, None] = {}
    RECORDING[me] = needs
    try:
        yield needs
    finally:
        del RECORDING[me]
        if outer is not None:
            RECORDING[me] = outer


def noted(instance: Any, shared: int) -> bool:
    """Note a launch if this thread is in `recorded`, and return whether it is."""
    needs = RECORDING.get(threading.get_ident())
    if needs is None:
        return False
    needs[instance, shared] = None
    return True


def precompile(needs: Iterable[Need]) -> int:
    """Compile kernels for the current device, and load them, on all cores at once.

    Parameters
    ----------
    needs : iterable of (Instance, int)
        As `recorded` yields them.

    Returns
    -------
    n_compiled : int
        How many of them were not ready. What is in CuPy's cache on the disk needs no compiler, but
        has to be read and loaded.
    """
    cupy = sys.modules["cupy"]
    device = cupy.cuda.Device().id
    missing = [need for need in needs if not need[0].is_ready(need[1])]

    def load(need: Need) -> None:
        with cupy.cuda.Device(device):
            need[0].function(need[1])

    if len(missing) > 1:  # a single one is compiled by its launch
        with ThreadPoolExecutor(min(len(missing), cores())) as pool:
            list(pool.map(load, missing))
    return len(missing)


def precompile_once(key: Hashable, compute: Callable[[], Any]) -> None:
    """Precompile what a computation launches, unless this has been done for an equal key.

    Parameters
    ----------
    key : hashable
        What the choice of kernels follows from, as shapes and dtypes. An equal key costs nothing
        but its comparison.
    compute : callable
        Computes on the current device. It is called once, in `recorded`. So it must not depend on
        what is in arrays on the device, nor change anything but such arrays.
    """
    key = (sys.modules["cupy"].cuda.Device().id, current_precision(), key)
    if key in _known:
        return
    with recorded() as needs:
        compute()
    precompile(needs)
    _known.add(key)


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
