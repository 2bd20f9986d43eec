"""The part of CuPy that we use, on host memory, and stricter than CuPy.

Arrays do not mix with NumPy's. What CuPy would do with cuBLAS or cuSPARSE raises, for the kernels
are to do without them. New memory holds NaN. Copies to the host are counted.
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

FORBIDDEN = {"matmul", "dot", "vdot", "inner", "einsum", "tensordot", "linalg", "random", "fft"}
NEVER_ON_DEVICE = "not to be had: CuPy would load one of NVIDIA's libraries for it"
_POISON = {"f": np.nan, "i": -(2**30), "u": 2**30, "b": True}


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):  # noqa: N801
    """An array that only kernels and the functions of this module can read."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, host: np.ndarray) -> None:
        self._host = host

    @property
    def device(self) -> Any:
        return Device(0)

    @property
    def data(self) -> Any:
        return types.SimpleNamespace(ptr=self._host.ctypes.data)

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed, as in CuPy")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if ufunc is np.matmul:
            raise AssertionError(f"matmul: {NEVER_ON_DEVICE}")
        return _call(getattr(ufunc, method), *inputs, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return _call(function, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in FORBIDDEN or name in ("tolist", "item", "ctypes"):
            raise AttributeError(name)
        value = getattr(self._host, name)
        if callable(value):
            return functools.partial(_call, value)
        return ndarray(value) if isinstance(value, np.ndarray) else value

    def __getitem__(self, index: Any) -> ndarray:
        return _wrap(self._host[_unwrap(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        _refuse(value)
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


def asnumpy(x: ndarray) -> np.ndarray:
    counter.host_reads += 1
    return x._host.copy()


def asarray(x: Any, dtype: Any = None, **kwargs: Any) -> ndarray:
    if isinstance(x, ndarray):
        return ndarray(x._host.astype(dtype or x.dtype, copy=False))
    counter.uploads += 1
    return ndarray(np.array(x, dtype=dtype, order="C"))


def array(x: Any, dtype: Any = None, copy: bool = True, **kwargs: Any) -> ndarray:
    return ndarray(np.array(_unwrap(x), dtype=dtype))


def empty(shape: Any, dtype: Any = np.float64, **kwargs: Any) -> ndarray:
    """New memory, full of what a kernel must not take for a result."""
    return ndarray(np.full(shape, _POISON[np.dtype(dtype).kind], dtype))


def empty_like(x: ndarray, dtype: Any = None, **kwargs: Any) -> ndarray:
    return empty(kwargs.get("shape") or x.shape, dtype or x.dtype)


def _refuse(x: Any) -> None:
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {type(x)}: a NumPy array among those of the device")


def _unwrap(x: Any) -> Any:
    if isinstance(x, ndarray):
        return x._host
    if isinstance(x, tuple | list):
        return type(x)(map(_unwrap, x))
    return x


def _wrap(x: Any) -> Any:
    if isinstance(x, np.ndarray | np.generic):
        return ndarray(np.asarray(x))
    return type(x)(map(_wrap, x)) if isinstance(x, tuple | list) else x


def _call(function: Any, *args: Any, **kwargs: Any) -> Any:
    for value in (*args, *kwargs.values()):
        for part in value if isinstance(value, tuple | list) else (value,):
            _refuse(part)
    return _wrap(
        function(*map(_unwrap, args), **{name: _unwrap(value) for name, value in kwargs.items()})
    )


class RawKernel:
    """A kernel compiled by g++; its arguments are checked against what it may touch."""

    max_dynamic_shared_size_bytes = 48 * 1024

    def __init__(self, code: str, expression: str) -> None:
        self._kernel = HostKernel(code, expression)

    def __call__(
        self,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        args: tuple[Any, ...],
        *,
        shared_mem: int = 0,
    ) -> None:
        assert shared_mem <= self.max_dynamic_shared_size_bytes, "more shared memory than asked for"
        assert 0 < grid[0] < 2**31 and 0 < grid[1] < 2**16 and 0 < grid[2] < 2**16, f"grid {grid}"
        assert 0 < block[0] <= 1024 and block[1:] == (1, 1), f"block {block}"
        values: list[bytes] = []
        buffers: dict[int, tuple[str, int, int, int]] = {}
        for i, x in enumerate(args):
            if not isinstance(x, ndarray):
                assert isinstance(x, np.generic), f"argument {i}: {type(x)} has no declared size"
                values.append(x.tobytes())
                continue
            values.append(np.uintp(x._host.ctypes.data).tobytes())
            whole = x._host
            while isinstance(whole.base, np.ndarray):
                whole = whole.base
            begin, end = np.lib.array_utils.byte_bounds(whole)
            if end > begin:
                granule = min(4, whole.itemsize)
                buffers[begin] = (f"argument {i}", begin, end - begin, granule)
        counter.launches.append(self._kernel.expression)
        self._kernel.launch(grid, block[0], values, list(buffers.values()), shared_mem)


class RawModule:
    def __init__(self, *, code: str, options: tuple, name_expressions: tuple) -> None:
        self._code, self._names = code, name_expressions

    def get_function(self, name: str) -> RawKernel:
        assert name in self._names
        return RawKernel(self._code, name)


class Device:
    """The one device; `emulated_cupy` sets what it can do."""

    compute_capability = "90"
    attributes = {"MultiProcessorCount": 4}
    id = 0

    def __init__(self, number: int = 0) -> None:
        assert number == 0

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

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
def installed(architecture: str = "90", multiprocessors: int = 4) -> Iterator[types.ModuleType]:
    """Put the stand-in where `import cupy` finds it; yields the module.

    Parameters
    ----------
    architecture : str, default="90"
        Compute capability of the device.
    multiprocessors : int, default=4
        How many it has.
    """
    runtime = _module(
        "cupy.cuda.runtime",
        getDeviceCount=lambda: 1,
        getDevice=lambda: 0,
        CUDARuntimeError=type("CUDARuntimeError", (RuntimeError,), {}),
    )
    capabilities = {
        "compute_capability": architecture,
        "attributes": {"MultiProcessorCount": multiprocessors},
    }
    cuda = _module("cupy.cuda", Device=type("Device", (Device,), capabilities), runtime=runtime)
    cupy = _module(
        "cupy", cuda=cuda, ndarray=ndarray, RawModule=RawModule, asnumpy=asnumpy,
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
    try:
        yield cupy
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
