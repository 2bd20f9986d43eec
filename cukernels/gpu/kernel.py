"""The one door to the GPU: instantiate a kernel's template, check and cast its arguments, launch.

A `.cu` file holds `__global__` templates. A `Kernel` names one of them and lists the template
arguments that it is used with, so that tests can compile every instance. The types of a kernel's
arguments are stated once, in its declaration in the `.cu` file: arrays are checked against it, and
numbers are cast to it.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from cukernels.gpu.precompile import RECORDING, noted
from cukernels.gpu.shared_memory import allow
from cukernels.gpu.signature import Signature
from cukernels.gpu.source import DTYPES, declaration, parameter_of, source
from cukernels.runtime.arrays import Array, check_private_names, is_c_contiguous, namespace

# With CUKERNELS_LINEINFO=1 in the environment, kernels carry the lines of their source, which
# profilers, compute-sanitizer and the GPU in software name. That costs no time, and another cache.
_NAMES_LINES = os.environ.get("CUKERNELS_LINEINFO", "0") != "0"
OPTIONS = ("-std=c++17", *(["-lineinfo"] if _NAMES_LINES else []))

_CTYPES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
Grid = tuple[int, int, int]


class Kernel:
    """One `__global__` template, and the template arguments that it is used with.

    Parameters
    ----------
    file : str
        The name of the `.cu` file.
    name : str
        The name of the template.
    instances : iterable of tuple of str
        The template arguments of each instance, as C++ text.
    since : int, default=75
        The least compute capability that has the kernel's instructions, as 80 for 8.0.
    """

    def __init__(
        self, file: str, name: str, instances: Iterable[tuple[Any, ...]], since: int = 75
    ) -> None:
        self.file, self.name, self.since = file, name, since
        self.instances = {
            arguments: Instance(self, arguments)
            for arguments in (tuple(map(str, instance)) for instance in instances)
        }
        KERNELS.append(self)

    def __getitem__(self, arguments: tuple[str, ...] | str) -> Instance:
        """Return the instance with these template arguments."""
        return self.instances[(arguments,) if isinstance(arguments, str) else arguments]

    @functools.cached_property
    def declaration(self) -> tuple[list[str], list[tuple[str, str]]]:
        """Names of the template's parameters, and (type, name) of each of the function's."""
        return declaration(self.file, self.name)


KERNELS: list[Kernel] = []


class Instance:
    """A kernel with its template arguments, which can be launched on the current device."""

    def __init__(self, kernel: Kernel, arguments: tuple[str, ...]) -> None:
        self.kernel = kernel
        self.arguments = arguments
        self.expression = f"{kernel.name}<{', '.join(arguments)}>"
        self._functions: dict[Any, Any] = {}
        self._static_shared: dict[Any, int] = {}

    @functools.cached_property
    def parameters(self) -> list[tuple[np.dtype, bool]]:
        """The dtype of each argument, and whether it is an array."""
        names, parameters = self.kernel.declaration
        given = dict(zip(names, self.arguments, strict=True))
        return [parameter_of(given, type_) for type_, _ in parameters]

    @functools.cached_property
    def _signature(self) -> Signature:
        return Signature.of(self.parameters)

    def __call__(self, grid: Grid, block: int, *arguments: Any, shared: int = 0) -> None:
        """Launch the kernel on the current device and stream.

        Parameters
        ----------
        grid : (int, int, int)
            Blocks along x, y and z; if one is 0, nothing is launched.
        block : int
            Threads of a block.
        *arguments : array, None, int or float
            In the order of the declaration; None becomes a null pointer.
        shared : int, default=0
            Bytes of dynamic shared memory.

        Raises
        ------
        TypeError
            If an array is not contiguous, not of the dtype that the kernel declares, or not on the
            current device.
        OverflowError
            If an integer does not fit the declared type.
        """
        if 0 in grid or (RECORDING and noted(self, shared)):
            return
        cupy = sys.modules["cupy"]
        device = cupy.cuda.runtime.getDevice()
        packed = self.packed(arguments, device)
        function = self._functions.get((cupy, device, shared)) or self.function(shared)
        function(grid, (block, 1, 1), packed, shared)

    def packed(self, arguments: tuple[Any, ...], device: int = 0) -> tuple[Any, ...]:
        """Check the arrays, and cast the numbers to the types that the kernel declares."""
        count, dtypes, arrays_of, numbers_of, cast, in_order = self._signature
        if len(arguments) != count:
            raise TypeError(f"{self.expression} takes {count} arguments, got {len(arguments)}")
        arrays = arrays_of(arguments)
        # The common case is decided here, in a few comparisons; `_check` finds the words.
        try:
            for dtype, x in zip(dtypes, arrays, strict=True):
                if x is not None and (
                    x.dtype is not dtype or not is_c_contiguous(x) or x.data.device_id != device
                ):
                    self._check(arguments, device)
        except AttributeError:
            check_private_names()
            raise
        return in_order(arrays + cast(numbers_of(arguments)))

    def _check(self, arguments: tuple[Any, ...], device: int) -> None:
        """Raise the TypeError that says which array is not what the kernel declares."""
        declared = zip(arguments, self.parameters, self.kernel.declaration[1], strict=True)
        for x, (dtype, is_array), (_, name) in declared:
            if x is None or not is_array:
                continue
            if x.dtype != dtype or not x.flags.c_contiguous:
                layout = "" if x.flags.c_contiguous else ", not contiguous"
                raise TypeError(
                    f"{self.expression}: {name} must be a contiguous {dtype} array, got "
                    f"{x.dtype}{layout}"
                )
            if x.device.id != device:
                raise TypeError(
                    f"{self.expression}: {name} is on cuda:{x.device.id}, and the current device "
                    f"is cuda:{device}; choose it by `with cupy.cuda.Device({x.device.id}):`"
                )

    def function(self, shared: int = 0) -> Any:
        """CuPy's function for the current device, permitted this much dynamic shared memory."""
        cupy = sys.modules["cupy"]
        key = (cupy, cupy.cuda.runtime.getDevice(), shared)
        if key not in self._functions:
            raw = self._raw()
            allow(raw, shared)
            # `raw` would look up the device's function at every launch; `raw.kernel` is that one
            self._functions[key] = raw.kernel
        return self._functions[key]

    def is_ready(self, shared: int) -> bool:
        """Whether the current device has the function, with this much dynamic shared memory."""
        cupy = sys.modules["cupy"]
        return (cupy, cupy.cuda.runtime.getDevice(), shared) in self._functions

    @property
    def static_shared(self) -> int:
        """Bytes of static shared memory of a block on the current device."""
        cupy = sys.modules["cupy"]
        key = (cupy, cupy.cuda.runtime.getDevice())
        if key not in self._static_shared:
            self._static_shared[key] = self._raw().shared_size_bytes
        return self._static_shared[key]

    def _raw(self) -> Any:
        """CuPy's kernel, which is compiled at the first use."""
        module = sys.modules["cupy"].RawModule(
            code=source(self.kernel.file),
            options=OPTIONS,
            name_expressions=(self.expression,),
        )
        return module.get_function(self.expression)


def ctype(x: Array) -> str:
    """Return the C++ name of an array's dtype."""
    return _CTYPES[x.dtype]


@functools.cache
def _device_facts(cupy: Any, device: int) -> tuple[int, int]:
    """Compute capability of a device, and the number of its multiprocessors."""
    properties = cupy.cuda.Device(device)
    return int(properties.compute_capability), properties.attributes["MultiProcessorCount"]


def architecture(x: Array) -> int:
    """Return the compute capability of an array's device, as 90 for 9.0."""
    return _device_facts(namespace(x), x.device.id)[0]


def multiprocessors(x: Array) -> int:
    """Return how many multiprocessors an array's device has."""
    return _device_facts(namespace(x), x.device.id)[1]


def facts_of(device: str) -> tuple[int, int]:
    """Return the compute capability of a device named "cuda:N", and its multiprocessors.

    CuPy is imported, as by all that names a device so.
    """
    return _device_facts(sys.modules["cupy"], int(device.partition(":")[2] or 0))


def contiguous(x: Array, dtype: Any = None) -> Array:
    """Return `x` itself if it is C-contiguous and of a dtype (None: any), else a copy that is."""
    if dtype is not None and x.dtype != dtype:
        x = x.astype(dtype)
    return x if x.flags.c_contiguous else namespace(x).ascontiguousarray(x)
