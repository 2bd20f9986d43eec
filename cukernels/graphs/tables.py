"""Tables on the device that the host fills while the device reads them."""

from __future__ import annotations

from math import prod
from types import ModuleType
from typing import Any

import numpy as np

from cukernels.runtime.arrays import Array


class Table:
    """A table of two epochs on the device, and its twin on the host.

    One half can be filled while the other one is read. The host's memory is pinned: so the copy
    does not make the host wait.

    Parameters
    ----------
    xp : module
        CuPy.
    shape : tuple of int
        The shape of an epoch's table.
    dtype : dtype
        The dtype.

    Attributes
    ----------
    device : array of shape (2 * shape[0], *shape[1:])
        Both halves, one after the other.
    """

    def __init__(self, xp: ModuleType, shape: tuple[int, ...], dtype: Any) -> None:
        self.device = xp.empty((2 * shape[0], *shape[1:]), dtype)
        self._host = pinned(xp, self.device.shape, dtype)
        self._steps = shape[0]

    def fill(self, half: int, values: np.ndarray, stream: Any) -> None:
        """Copy an epoch's table into a half, by a stream. The last copy of the half is over."""
        host = self.host(half)
        host[...] = values.reshape(host.shape)
        if host.nbytes:
            device = self.device[half * self._steps :]
            device.data.copy_from_host_async(host.ctypes.data, host.nbytes, stream)

    def host(self, half: int) -> np.ndarray:
        """Return the host's twin of a half."""
        return self._host[half * self._steps : (half + 1) * self._steps]


def pinned(xp: ModuleType, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array on the host, which copies to and from the device need not wait for."""
    count = prod(shape)
    memory = xp.cuda.alloc_pinned_memory(max(count, 1) * np.dtype(dtype).itemsize)
    return np.frombuffer(memory, dtype, count).reshape(shape)


def read(x: Array, into: np.ndarray, stream: Any) -> None:
    """Begin to copy an array of the device to a pinned one of the same shape and dtype."""
    if into.nbytes:
        x.data.copy_to_host_async(into.ctypes.data, into.nbytes, stream)
