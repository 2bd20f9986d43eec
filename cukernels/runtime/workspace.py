"""Memory that a training step finds again in the next one.

What a step makes on its way there and back is gone when it ends. Handed out anew each time, large
arrays cost more than what is computed in them: the system takes them back when they are freed, and
fills the next ones with zeros page by page. So within a `with` block of a workspace the NumPy
bodies lay their results one after the other into its memory, and the next block begins at its
start again. Outside of one, `empty` is `numpy.empty`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from math import prod
from typing import Any

import numpy as np

_LARGE = 2**18  # bytes, below which memory is as quickly had from the system's allocator
_LINE = 64  # bytes, of a cache line and of the longest vectors

_own = threading.local()
_NONE: AbstractContextManager[None] = nullcontext()


class Workspace:
    """Memory of one thread at a time, for the arrays made in a `with` block.

    They are valid until the next block of the same workspace.
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
        """Return an array with anything in it; what does not fit yet will in the next block."""
        begin = self._first + self._used
        n_bytes = prod(shape) * np.dtype(dtype).itemsize
        self._used += -(-n_bytes // _LINE) * _LINE
        if self._first + self._used > self._memory.size:
            return np.empty(shape, dtype)
        return np.ndarray(shape, dtype, self._memory, begin)


class Workspaces:
    """As many workspaces as threads need one at the same time."""

    def __init__(self) -> None:
        self._free: list[Workspace] = []

    def block(self, n_bytes: int) -> AbstractContextManager[None]:
        """A block of a workspace that no other thread is in; of none where little is made."""
        return _NONE if n_bytes < _LARGE else self._one()

    @contextmanager
    def _one(self) -> Iterator[None]:
        try:
            workspace = self._free.pop()
        except IndexError:
            workspace = Workspace()
        with workspace:
            yield
        self._free.append(workspace)


def is_active() -> bool:
    """Whether the calling thread is in a workspace."""
    return getattr(_own, "workspace", None) is not None


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array with anything in it, of the calling thread's workspace if it is in one."""
    workspace = getattr(_own, "workspace", None)
    return np.empty(shape, dtype) if workspace is None else workspace.empty(shape, dtype)
