"""The compiled library, as Python sees it."""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, c_char_p, c_double, c_int, c_int64, c_size_t, c_uint32, c_uint64
from pathlib import Path
from typing import Any, NamedTuple

# Of control.cpp and patch.cpp. Those that return an int return 0, or an error.
FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "softgpu_patch": (c_int, [c_char_p]),
    "softgpu_add_device": (c_int, [c_int, c_uint64]),
    "softgpu_set": (c_int, [c_char_p, c_int64]),
    "softgpu_get": (c_int, [c_char_p, POINTER(c_int64)]),
    "softgpu_set_capacity": (c_int, [c_int, c_uint64]),
    "softgpu_memory": (c_int, [c_int, POINTER(c_uint64), POINTER(c_uint64)]),
    "softgpu_counts": (None, [POINTER(c_uint64)]),
    "softgpu_record": (None, [c_int]),
    "softgpu_records": (c_uint64, []),
    "softgpu_read_record": (c_int, [c_uint64, c_char_p, c_size_t, POINTER(c_uint32)]),
    "softgpu_kernels": (c_uint64, []),
    "softgpu_usage": (
        c_int,
        [c_uint64, c_char_p, c_size_t, POINTER(c_uint64), POINTER(c_double)],
    ),
    "cuGetErrorString": (c_int, [c_int, POINTER(c_char_p)]),
}


class Launch(str):
    """The name of a kernel that has run, as `kernel<float, 4>`, with its grid and block."""

    grid: tuple[int, ...]
    block: tuple[int, ...]


class Usage(NamedTuple):
    """What a kernel has cost so far."""

    name: str
    launches: int
    seconds: float


class Library:
    """libcuda.so.1. CuPy finds it by that name once it is loaded."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        for name, (result, arguments) in FUNCTIONS.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments

        # Another one of that name, which is loaded already, would be CuPy's.
        if ctypes.CDLL("libcuda.so.1")._handle != self._library._handle:
            raise ImportError("NVIDIA's libcuda.so.1 is loaded in this process already")

    def words(self, error: int) -> str:
        """Why the last call of this thread was refused."""
        text = c_char_p()
        self._library.cuGetErrorString(error, ctypes.byref(text))
        return (text.value or b"").decode()

    def patch(self, path: str) -> str:
        """Put the library's runtime into an extension module; returns "", or why not."""
        error = self._library.softgpu_patch(os.fsencode(path))
        return self.words(error) if error else ""

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function; raise ValueError with its words if it refuses."""
        if error := getattr(self._library, name)(*arguments):
            raise ValueError(self.words(error))

    def option(self, name: str) -> int:
        """The value of an option."""
        value = c_int64()
        self.call("softgpu_get", name.encode(), ctypes.byref(value))
        return value.value

    def set_option(self, name: str, value: int) -> None:
        """Change an option."""
        self.call("softgpu_set", name.encode(), int(value))

    def memory(self, device: int) -> tuple[int, int]:
        """Bytes of a device that are in use, and that may be."""
        used, capacity = c_uint64(), c_uint64()
        self.call("softgpu_memory", device, ctypes.byref(used), ctypes.byref(capacity))
        return used.value, capacity.value

    def counts(self) -> tuple[int, ...]:
        """Copies to the host, to devices, within devices, and waits, so far."""
        four = (c_uint64 * 4)()
        self._library.softgpu_counts(four)
        return tuple(four)

    def record(self, on: bool) -> None:
        """Keep which kernels run, or no more."""
        self._library.softgpu_record(on)

    def recorded(self) -> int:
        """How many have been kept."""
        return self._library.softgpu_records()

    def launches(self, begin: int = 0) -> list[Launch]:
        """The kernels that have run since recording began."""
        name, six = ctypes.create_string_buffer(1000), (c_uint32 * 6)()
        found = []
        for i in range(begin, self.recorded()):
            self.call("softgpu_read_record", i, name, len(name), six)
            launch = Launch(name.value.decode())
            launch.grid, launch.block = tuple(six[:3]), tuple(six[3:])
            found.append(launch)
        return found

    def usage(self) -> list[Usage]:
        """What every kernel has cost, the dearest first."""
        name, launches, seconds = ctypes.create_string_buffer(1000), c_uint64(), c_double()
        given = name, len(name), ctypes.byref(launches), ctypes.byref(seconds)
        found = []
        for i in range(self._library.softgpu_kernels()):
            self.call("softgpu_usage", i, *given)
            found.append(Usage(name.value.decode(), launches.value, seconds.value))
        return sorted(found, key=lambda usage: -usage.seconds)
