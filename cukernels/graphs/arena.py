"""Memory for the arrays that recorded work makes on its way."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

_ROUNDED = 512  # bytes that the memory of an array is a multiple of, as in CuPy's pool


class Arena:
    """Memory of which arrays get the same pieces again if they are made again in the same order.

    What is given back stays here, by its size. So work that makes the same arrays a second time
    allocates nothing, and a CUDA graph that refers to them may go on after they are gone, as nobody
    else gets their memory. It comes from the allocator that is CuPy's when the arena is made, and
    goes back when neither the arena nor any of the arrays is left.

    Parameters
    ----------
    xp : module
        CuPy.
    """

    def __init__(self, xp: ModuleType) -> None:
        self._cuda = xp.cuda
        self._allocate = xp.cuda.get_allocator()
        self._free: dict[int, list[Any]] = {}

    def used(self) -> AbstractContextManager[None]:
        """Return a context in which new arrays of the calling thread have their memory here."""
        return self._cuda.using_allocator(self._malloc)

    def _malloc(self, size: int) -> Any:
        size = max(-(-size // _ROUNDED), 1) * _ROUNDED
        free = self._free.setdefault(size, [])
        block = free.pop() if free else self._allocate(size)
        memory = self._cuda.UnownedMemory(block.ptr, size, _Lease(block, free), block.device_id)
        return self._cuda.MemoryPointer(memory, 0)


class _Lease:
    """A piece of memory while an array has it."""

    def __init__(self, block: Any, free: list[Any]) -> None:
        self._block, self._free = block, free

    def __del__(self) -> None:
        self._free.append(self._block)
