"""Memory that one training step reuses from the step before.

The arrays that a step makes in its forward and backward passes are not needed after it. Allocating
large arrays anew costs more than the computation in them: the system takes them back when they are
freed, and fills the next ones with zeros page by page. So inside the `with` block of a workspace
the NumPy bodies place their results in its memory, one after the other, and the next block begins
at the start of that memory again. Outside of such a block `empty` is `numpy.empty`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import prod
from typing import Any, TypeVar

import numpy as np

from cukernels.runtime.interrupts import and_surely
from cukernels.runtime.recording import recorded

Result = TypeVar("Result")

LARGE = 2**18
"""The least bytes that a workspace is kept for; less is allocated as quickly in the usual way."""
_LINE = 64  # bytes of a cache line, and of the longest SIMD vectors

_own = threading.local()  # the workspace that the thread is in


class Workspace:
    """Memory of one thread at a time, for the arrays made in a `with` block.

    The arrays are valid until the next block of the same workspace begins.
    """

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)
        self._first = self._used = 0

    def __enter__(self) -> None:
        if self._first + self._used > self._memory.size:
            self._memory = np.empty(self._used + _LINE, np.uint8)
            self._first = -self._memory.ctypes.data % _LINE
        self._used = 0
        _own.workspace = self

    def __exit__(self, *exception: object) -> None:
        _own.workspace = None

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an uninitialised array, outside of the workspace if it does not fit.

        The next block enlarges the workspace, so that everything fits then.
        """
        begin = self._first + self._used
        n_bytes = prod(shape) * np.dtype(dtype).itemsize
        self._used += -(-n_bytes // _LINE) * _LINE
        if self._first + self._used > self._memory.size:
            return recorded(np.empty(shape, dtype))
        return recorded(np.ndarray(shape, dtype, self._memory, begin))


class Workspaces:
    """A pool of workspaces, as many as are in use at the same time.

    Attributes
    ----------
    scratch : dict
        Memory for `workers.scratch` of the recordings that lie in these workspaces.
    """

    def __init__(self) -> None:
        self._free: list[Workspace] = []
        self.scratch: dict[Any, Any] = {}

    def compute(self, n_bytes: int, function: Callable[[], Result]) -> Result:
        """Return ``function()``, computed in a free workspace, or in none if it makes few bytes.

        After Ctrl-C the thread is in no workspace, wherever it struck: else arrays that the user
        makes afterwards would share their memory.
        """
        if n_bytes < LARGE:
            return function()
        try:
            workspace = self._free.pop()
        except IndexError:
            workspace = Workspace()

        def work() -> Result:
            workspace.__enter__()
            return function()

        result = and_surely(work, workspace.__exit__)
        self._free.append(workspace)
        return result


def is_active() -> bool:
    """Whether the calling thread is in a workspace."""
    return getattr(_own, "workspace", None) is not None


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an uninitialised array, from the calling thread's workspace if it is in one."""
    workspace = getattr(_own, "workspace", None)
    return recorded(np.empty(shape, dtype)) if workspace is None else workspace.empty(shape, dtype)
