"""The one door to the GPU: instantiate a kernel's template, check and cast its arguments, launch.

A `.cu` file holds `__global__` templates; a `Kernel` names one of them and lists the template
arguments that it is used with, so that every instance can be compiled and tested before anybody
needs it. The declaration in the `.cu` file is the only place that gives the types of the
arguments: arrays are checked against it and numbers are cast to it.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.shared_memory import allow
from cukernels.runtime.signature import Signature

OPTIONS = ("-std=c++17",)

_SOURCES = {  # no two files have one name, so that an include need not say where its file lies
    file.name: file for file in Path(__file__).parent.parent.rglob("*.cu*")
}
_INCLUDE = re.compile(r'#include "([\w.]+)"')
_DECLARATION = re.compile(
    r"template\s*<([^<>]*)>\s*__global__\s+void\s+"
    r"(?:__launch_bounds__\s*\((?:[^()]|\([^()]*\))*\)\s*)?(\w+)\s*\(([^()]*)\)"
)
_DTYPES = {
    "float": np.float32,
    "double": np.float64,
    "int": np.int32,
    "unsigned": np.uint32,
    "int64": np.int64,
    "uint64": np.uint64,
    "bool": np.bool_,
    "byte": np.uint8,
}
_CTYPES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
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
        Template arguments, as they stand between the angle brackets.
    since : int, default=75
        The least compute capability that has the instructions, as 80 for 8.0.
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
        """Names of the template's parameters, and type and name of the function's."""
        for templates, name, arguments in _DECLARATION.findall(source(self.file)):
            if name == self.name:
                parameters = [_split(p) for p in _strip(arguments).split(",")]
                return [_split(p)[1] for p in templates.split(",")], parameters
        raise LookupError(f"{self.file} declares no __global__ template {self.name}")


KERNELS: list[Kernel] = []


class Instance:
    """A kernel with its template arguments, ready to be launched on whatever device is current."""

    def __init__(self, kernel: Kernel, arguments: tuple[str, ...]) -> None:
        self.kernel = kernel
        self.arguments = arguments
        self.expression = f"{kernel.name}<{', '.join(arguments)}>"
        self._functions: dict[Any, Any] = {}
        self._static_shared: dict[Any, int] = {}

    @functools.cached_property
    def parameters(self) -> list[tuple[np.dtype, bool]]:
        """Of each argument the dtype, and whether it is an array."""
        names, parameters = self.kernel.declaration
        given = dict(zip(names, self.arguments, strict=True))
        return [_parameter(given, type_) for type_, _ in parameters]

    @functools.cached_property
    def _signature(self) -> Signature:
        return Signature.of(self.parameters)

    def __call__(self, grid: Grid, block: int, *arguments: Any, shared: int = 0) -> None:
        """Launch.

        Parameters
        ----------
        grid : (int, int, int)
            Blocks along x, y and z; nothing is launched where one is 0.
        block : int
            Threads of a block.
        *arguments : array, None, int or float
            In the order of the declaration; None is a null pointer.
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
        if 0 in grid:
            return
        cupy = sys.modules["cupy"]
        device = cupy.cuda.runtime.getDevice()
        packed = self.packed(arguments, device)
        function = self._functions.get((cupy, device, shared)) or self.function(shared)
        function(grid, (block, 1, 1), packed, shared)

    def packed(self, arguments: tuple[Any, ...], device: int = 0) -> tuple[Any, ...]:
        """Check arrays, and cast numbers to the types that the kernel declares."""
        count, dtypes, arrays_of, numbers_of, cast, in_order = self._signature
        if len(arguments) != count:
            raise TypeError(f"{self.expression} takes {count} arguments, got {len(arguments)}")
        arrays = arrays_of(arguments)
        for dtype, x in zip(dtypes, arrays, strict=True):
            # CuPy makes an object of `x.flags`, which costs more than all the rest
            if x is not None and (
                x.dtype is not dtype or not x._c_contiguous or x.data.device_id != device
            ):
                self._check(arguments, device)
        return in_order(arrays + cast(numbers_of(arguments)))

    def _check(self, arguments: tuple[Any, ...], device: int) -> None:
        """Raise TypeError unless arrays are what the kernel declares."""
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
        """CuPy's function for the current device, allowed so much dynamic shared memory."""
        cupy = sys.modules["cupy"]
        key = (cupy, cupy.cuda.runtime.getDevice(), shared)
        if key not in self._functions:
            raw = self._raw()
            allow(raw, shared)
            self._functions[key] = raw.kernel  # of this device; `raw` looks it up at every call
        return self._functions[key]

    @property
    def static_shared(self) -> int:
        """Bytes of shared memory that a block has on the current device before any dynamic."""
        cupy = sys.modules["cupy"]
        key = (cupy, cupy.cuda.runtime.getDevice())
        if key not in self._static_shared:
            self._static_shared[key] = self._raw().shared_size_bytes
        return self._static_shared[key]

    def _raw(self) -> Any:
        """CuPy's kernel; compiled when it is first asked for."""
        module = sys.modules["cupy"].RawModule(
            code=source(self.kernel.file),
            options=OPTIONS,
            name_expressions=(self.expression,),
        )
        return module.get_function(self.expression)


def _parameter(given: dict[str, str], type_: str) -> tuple[np.dtype, bool]:
    """Return the dtype of a declared type, and whether it is that of an array."""
    words = [given.get(word, word) for word in re.findall(r"\w+|\*", type_)]
    ctype = next(word for word in words if word not in ("const", "__restrict__", "*"))
    return np.dtype(_DTYPES[ctype]), "*" in words


@functools.cache
def source(file: str) -> str:
    """Return the text of a `.cu` file with its own headers in place.

    CuPy's cache of compiled kernels knows a kernel by its text: a header that only the compiler
    sees could change unnoticed.
    """
    seen: set[str] = set()

    def expand(name: str) -> Iterator[str]:
        seen.add(name)
        yield f'#line 1 "{name}"'
        for number, line in enumerate(_SOURCES[name].read_text().splitlines(), 1):
            include = _INCLUDE.match(line)
            if include is None:
                yield "" if line == "#pragma once" else line
            else:
                if include[1] not in seen:
                    yield from expand(include[1])
                yield f'#line {number + 1} "{name}"'

    return "\n".join(expand(file)) + "\n"


def ctype(x: Array) -> str:
    """Return the C++ name of an array's dtype."""
    return _CTYPES[x.dtype]


@functools.cache
def _device_facts(cupy: Any, device: int) -> tuple[int, int]:
    properties = cupy.cuda.Device(device)
    return int(properties.compute_capability), properties.attributes["MultiProcessorCount"]


def architecture(x: Array) -> int:
    """Return the compute capability of an array's device, as 90 for 9.0."""
    return _device_facts(namespace(x), x.device.id)[0]


def multiprocessors(x: Array) -> int:
    """Return how many multiprocessors an array's device has."""
    return _device_facts(namespace(x), x.device.id)[1]


def contiguous(x: Array) -> Array:
    """Return `x` itself if it is C-contiguous, else a copy that is."""
    return x if x.flags.c_contiguous else namespace(x).ascontiguousarray(x)


def stacked(x: Array, own: int) -> tuple[Array, int]:
    """Return where a stack of models begins, and how many elements lie between two of them.

    The weights of M models are views of one array of shape (M, P): each model's are contiguous,
    but the stack is not. A kernel takes the first model and the stride.

    Parameters
    ----------
    x : array of shape (*own) or (M, *own)
        One array for all models, or one each.
    own : int
        The number of axes that belong to a model.

    Returns
    -------
    first : array
        A contiguous array that begins where the stack begins.
    stride : int
        Elements from one model to the next; 0 where all share one.
    """
    if x.ndim == own or x.shape[0] == 1:
        return contiguous(x), 0
    if x.ndim != own + 1:
        raise ValueError(f"a stack has one axis before the {own} of a model, got shape {x.shape}")
    first = x[0]
    if not first.flags.c_contiguous or x.strides[0] < 0:
        x = namespace(x).ascontiguousarray(x)
        first = x[0]
    return first, x.strides[0] // x.itemsize


def _strip(text: str) -> str:
    """Take comments out of C++ text."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


def _split(parameter: str) -> tuple[str, str]:
    """Split a C++ parameter into its type and its name."""
    match = re.fullmatch(r"\s*(.*?[\s*])(\w+)\s*(?:=.*)?", parameter, flags=re.DOTALL)
    assert match, f"not a parameter: {parameter!r}"
    return match[1].strip(), match[2]
