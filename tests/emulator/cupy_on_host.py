"""The part of CuPy that we use, on host memory, and stricter than CuPy.

Arrays do not mix with NumPy's, nor with those of another device. What CuPy would do with cuBLAS or
cuSPARSE raises, for the kernels are to do without them. New memory holds NaN. Copies to the host
are counted. There may be several devices, and little memory on them.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from typing import Any

import numpy as np
import scipy.special

from emulator.compiler import HostKernel

FORBIDDEN = {
    "matmul", "dot", "vdot", "inner", "outer", "einsum", "tensordot", "kron", "convolve",
    "correlate", "cov", "corrcoef", "linalg", "random", "fft",
}  # fmt: skip
NEVER_ON_DEVICE = "not to be had: CuPy would load one of NVIDIA's libraries for it"
_POISON = {"f": np.nan, "i": -(2**30), "u": 2**30, "b": True}


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):  # noqa: N801
    """An array that only kernels and the functions of this module can read."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, host: np.ndarray, device: int | None = None) -> None:
        self._host = host
        self._number = _current[-1] if device is None else device

    @property
    def device(self) -> Any:
        return Device(self._number)

    @property
    def data(self) -> Any:
        return types.SimpleNamespace(ptr=self._host.ctypes.data, device_id=self._number)

    @property
    def _c_contiguous(self) -> bool:
        return self._host.flags.c_contiguous

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed, as in CuPy")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if ufunc is np.matmul:
            raise AssertionError(f"matmul: {NEVER_ON_DEVICE}")
        _on_current(*inputs, *kwargs.values())
        return _call(getattr(ufunc, method), *inputs, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return _call(function, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in FORBIDDEN or name in ("tolist", "item", "ctypes"):
            raise AttributeError(name)
        value = getattr(self._host, name)
        if callable(value):
            return functools.partial(_call, getattr(np.ndarray, name), self)
        return ndarray(value, self._number) if isinstance(value, np.ndarray) else value

    def __getitem__(self, index: Any) -> ndarray:
        return _call(lambda host: host[_unwrap(index)], self)

    def __setitem__(self, index: Any, value: Any) -> None:
        _refuse(value)
        _on_current(self, value)
        self._host[_unwrap(index)] = _unwrap(value)

    def __len__(self) -> int:
        return len(self._host)

    def __bool__(self) -> bool:
        return bool(asnumpy(self))

    def __int__(self) -> int:
        return int(asnumpy(self))

    def __float__(self) -> float:
        return float(asnumpy(self))

    def __index__(self) -> int:
        return self._host.__index__()

    def __repr__(self) -> str:
        return f"device {self._host!r}"

    def get(self) -> np.ndarray:
        return asnumpy(self)


class _Counter:
    host_reads = 0
    uploads = 0
    launches: list[str] = []


counter = _Counter()
_current = [0]  # the device that is current, after those around it
_memory: list[float] = [np.inf]  # bytes that an array may have


def asnumpy(x: ndarray) -> np.ndarray:
    counter.host_reads += 1
    return x._host.copy()


def asarray(x: Any, dtype: Any = None, **kwargs: Any) -> ndarray:
    if isinstance(x, ndarray):
        _on_current(x)
        return ndarray(x._host.astype(dtype or x.dtype, copy=False))
    counter.uploads += 1
    return _new(np.array(x, dtype=dtype, order="C"))


def array(x: Any, dtype: Any = None, copy: bool = True, **kwargs: Any) -> ndarray:
    return _new(np.array(_unwrap(x), dtype=dtype))


def empty(shape: Any, dtype: Any = np.float64, **kwargs: Any) -> ndarray:
    """New memory, full of what a kernel must not take for a result."""
    dtype = np.dtype(dtype)
    _allocate(int(np.prod(shape, dtype=object)) * dtype.itemsize)
    return ndarray(np.full(shape, _POISON[dtype.kind], dtype))


def empty_like(x: ndarray, dtype: Any = None, **kwargs: Any) -> ndarray:
    return empty(kwargs.get("shape") or x.shape, dtype or x.dtype)


class OutOfMemoryError(MemoryError):
    """As CuPy's."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,}).")


def _allocate(size: int) -> None:
    if size > _memory[-1]:
        raise OutOfMemoryError(size, 0)


def _new(host: np.ndarray) -> ndarray:
    _allocate(host.nbytes)
    return ndarray(host)


def _refuse(x: Any) -> None:
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {type(x)}: a NumPy array among those of the device")


def _on_current(*values: Any) -> None:
    """Refuse to compute with arrays of another device, which CuPy may or may not do."""
    for x in values:
        if isinstance(x, tuple | list):
            _on_current(*x)
        elif isinstance(x, ndarray) and x._number != _current[-1]:
            raise ValueError(f"an array of cuda:{x._number}, where cuda:{_current[-1]} is current")


def _unwrap(x: Any) -> Any:
    if isinstance(x, ndarray):
        return x._host
    if isinstance(x, tuple | list):
        return type(x)(map(_unwrap, x))
    return x


def _call(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a function of NumPy's; only a view may be taken of an array of another device."""
    given = [*args, *kwargs.values()]
    for value in given:
        for part in value if isinstance(value, tuple | list) else (value,):
            _refuse(part)
    result = function(*map(_unwrap, args), **{name: _unwrap(x) for name, x in kwargs.items()})

    def wrap(x: Any) -> Any:
        if isinstance(x, tuple | list):
            return type(x)(map(wrap, x))
        if not isinstance(x, np.ndarray | np.generic):
            return x
        for value in given:
            if isinstance(value, ndarray) and np.may_share_memory(x, value._host):
                return ndarray(np.asarray(x), value._number)
        _on_current(*given)
        return _new(np.asarray(x))

    return wrap(result)


# What the CUDA Programming Guide gives a block of shared memory ("Technical Specifications per
# Compute Capability"), in KB, without being asked and at most.
UNASKED = 48
OPT_IN = {
    "75": 64, "80": 163, "86": 99, "87": 163, "89": 99, "90": 227, "100": 227, "103": 227,
    "120": 99, "121": 99,
}  # fmt: skip
ARGUMENT_BYTES = 4096  # of a launch

_host_kernel = functools.cache(HostKernel)


class DriverError(RuntimeError):
    """As CuPy's CUDADriverError: the driver refuses a call."""


class Function:
    """A kernel on one device, as the driver has it, with the driver's rules.

    The limit on dynamic shared memory is the function's. It leaves room for the static bytes, and
    is 48 KB less these as long as nobody sets it.
    """

    def __init__(self, code: str, expression: str, device: int) -> None:
        self._kernel, self._device = _host_kernel(code, expression), device
        self.static_shared = self._kernel.static_shared
        self._dynamic_limit = UNASKED * 1024 - self.static_shared

    @property
    def dynamic_limit(self) -> int:
        return self._dynamic_limit

    @dynamic_limit.setter
    def dynamic_limit(self, size: int) -> None:
        device = sys.modules["cupy"].cuda.Device(self._device)
        most = device.attributes["MaxSharedMemoryPerBlockOptin"]
        if not 0 <= size + self.static_shared <= most:
            raise DriverError(
                f"CUDA_ERROR_INVALID_VALUE: {self._kernel.expression}: {size} dynamic and "
                f"{self.static_shared} static bytes of shared memory, of {most}"
            )
        self._dynamic_limit = size

    def __call__(
        self,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        args: tuple[Any, ...],
        shared_mem: int = 0,
    ) -> None:
        self._check(grid, block, shared_mem)
        values: list[bytes] = []
        buffers: dict[int, tuple[str, int, int, int]] = {}
        for i, x in enumerate(args):
            if x is None:
                values.append(np.uintp(0).tobytes())
                continue
            if not isinstance(x, ndarray):
                assert isinstance(x, np.generic), f"argument {i}: {type(x)} has no declared size"
                values.append(x.tobytes())
                continue
            _on_current(x)
            values.append(np.uintp(x._host.ctypes.data).tobytes())
            whole = x._host
            while isinstance(whole.base, np.ndarray):
                whole = whole.base
            begin, end = np.lib.array_utils.byte_bounds(whole)
            if end > begin:
                granule = min(4, whole.itemsize)
                buffers[begin] = (f"argument {i}", begin, end - begin, granule)
        if sum(map(len, values)) > ARGUMENT_BYTES:
            self._refuse(f"more than {ARGUMENT_BYTES} bytes of arguments")
        counter.launches.append(self._kernel.expression)
        self._kernel.launch(grid, block[0], values, list(buffers.values()), shared_mem)

    def _check(self, grid: Any, block: Any, shared: int) -> None:
        """Refuse what the driver refuses to launch."""
        if self._device != _current[-1]:
            self._refuse(f"of cuda:{self._device}, where cuda:{_current[-1]} is current")
        if not (0 < grid[0] < 2**31 and 0 < grid[1] < 2**16 and 0 < grid[2] < 2**16):
            self._refuse(f"a grid of {grid}")
        assert block[1:] == (1, 1), f"block {block}"
        if not 0 < block[0] <= self._kernel.most_threads:
            self._refuse(f"{block[0]} threads, of {self._kernel.most_threads}")
        if shared > self._dynamic_limit:
            self._refuse(
                f"{shared} bytes of dynamic shared memory, where the limit is "
                f"{self._dynamic_limit} ({self.static_shared} static)"
            )

    def _refuse(self, why: str) -> None:
        raise DriverError(f"CUDA_ERROR_INVALID_VALUE: {self._kernel.expression}: {why}")


# CuPy remembers modules by their text, options and names, for each device; so functions are shared.
_functions: dict[tuple[Any, ...], Function] = {}


class RawKernel:
    """A kernel compiled by g++; its arguments are checked against what it may touch."""

    def __init__(self, code: str, options: tuple, expression: str) -> None:
        self._key = code, options, expression

    @property
    def kernel(self) -> Function:
        key = (*self._key, _current[-1])
        if key not in _functions:
            _functions[key] = Function(self._key[0], self._key[2], _current[-1])
        return _functions[key]

    @property
    def shared_size_bytes(self) -> int:
        return self.kernel.static_shared

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        return self.kernel.dynamic_limit

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size: int) -> None:
        self.kernel.dynamic_limit = size

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        self.kernel(*args, **kwargs)


class RawModule:
    def __init__(self, *, code: str, options: tuple, name_expressions: tuple) -> None:
        self._code, self._options, self._names = code, options, name_expressions

    def get_function(self, name: str) -> RawKernel:
        assert name in self._names
        return RawKernel(self._code, self._options, name)


class Device:
    """A device; `installed` says how many there are, and what they can do."""

    compute_capability = "90"
    attributes = {"MultiProcessorCount": 4, "MaxSharedMemoryPerBlockOptin": OPT_IN["90"] * 1024}
    count: float = np.inf

    def __init__(self, number: int | None = None) -> None:
        self.id = _current[-1] if number is None else number
        assert 0 <= self.id < self.count

    def __enter__(self) -> Device:
        _current.append(self.id)
        return self

    def __exit__(self, *error: Any) -> None:
        _current.pop()

    def synchronize(self) -> None:
        pass


def _module(name: str, **contents: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    vars(module).update(contents)
    return module


def _functions_of(library: Any) -> Any:
    """A module's `__getattr__` that runs the functions of another one on the host."""

    def find(name: str) -> Any:
        if name in FORBIDDEN:
            raise AssertionError(f"{name}: {NEVER_ON_DEVICE}")
        value = getattr(library, name)
        if isinstance(value, type) or not callable(value):
            return value
        return functools.partial(_call, value)

    return find


@contextmanager
def installed(
    architecture: str = "90", multiprocessors: int = 4, devices: int = 1, memory: int = 2**40
) -> Iterator[types.ModuleType]:
    """Put the stand-in where `import cupy` finds it; yields the module.

    Parameters
    ----------
    architecture : str, default="90"
        Compute capability of the device.
    multiprocessors : int, default=4
        How many it has.
    devices : int, default=1
        How many such devices there are.
    memory : int, default=2**40
        Bytes that an array on one of them may have.
    """
    runtime = _module(
        "cupy.cuda.runtime",
        getDeviceCount=lambda: devices,
        getDevice=lambda: _current[-1],
        memGetInfo=lambda: (memory, 2 * memory),
        CUDARuntimeError=type("CUDARuntimeError", (RuntimeError,), {}),
    )
    capabilities = {
        "compute_capability": architecture,
        "attributes": {
            "MultiProcessorCount": multiprocessors,
            "MaxSharedMemoryPerBlockOptin": OPT_IN[architecture] * 1024,
        },
        "count": devices,
    }
    cuda = _module(
        "cupy.cuda", Device=type("Device", (Device,), capabilities), runtime=runtime,
        memory=_module("cupy.cuda.memory", OutOfMemoryError=OutOfMemoryError),
    )  # fmt: skip
    cupy = _module(
        "cupy", cuda=cuda, ndarray=ndarray, RawModule=RawModule, asnumpy=asnumpy,
        get_default_memory_pool=lambda: types.SimpleNamespace(free_bytes=lambda: 0),
        asarray=asarray, array=array, empty=empty, empty_like=empty_like, counter=counter,
        __getattr__=_functions_of(np),
    )  # fmt: skip
    special = _module("cupyx.scipy.special", __getattr__=_functions_of(scipy.special))
    scipy_ = _module("cupyx.scipy", special=special)
    modules = {
        "cupy": cupy, "cupy.cuda": cuda, "cupy.cuda.runtime": runtime,
        "cupyx": _module("cupyx", scipy=scipy_), "cupyx.scipy": scipy_,
        "cupyx.scipy.special": special,
    }  # fmt: skip
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    _memory.append(memory)
    functions = _functions.copy()
    _functions.clear()
    try:
        yield cupy
    finally:
        _memory.pop()
        _functions.clear()
        _functions.update(functions)
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
