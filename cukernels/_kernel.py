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
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cukernels._array import Array, namespace

OPTIONS = ("-std=c++17",)
STATIC_SHARED_LIMIT = 48 * 1024  # bytes that a block gets without asking

_FOLDER = Path(__file__).parent
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
_NULL = np.uintp(0)

# Sizes and strides are the same launch after launch, and looking one up is cheaper than a cast.
_SCALARS = {
    name: functools.lru_cache(maxsize=4096)(dtype) if "int" in name or name == "unsigned" else dtype
    for name, dtype in _DTYPES.items()
}

Grid = tuple[int, int, int]


class Kernel:
    """One `__global__` template, and the template arguments that it is used with.

    Parameters
    ----------
    file : str
        The `.cu` file beside this one.
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

    @functools.cached_property
    def parameters(self) -> list[tuple[Any, bool]]:
        """Of each argument the dtype, and whether it is an array."""
        names, parameters = self.kernel.declaration
        given = dict(zip(names, self.arguments, strict=True))
        return [self._parameter(given, type_) for type_, _ in parameters]

    @staticmethod
    def _parameter(given: dict[str, str], type_: str) -> tuple[Any, bool]:
        words = [given.get(word, word) for word in re.findall(r"\w+|\*", type_)]
        ctype = next(word for word in words if word not in ("const", "__restrict__", "*"))
        if "*" in words:
            return np.dtype(_DTYPES[ctype]), True
        return _SCALARS[ctype], False

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
            If an array is not contiguous, or not of the dtype that the kernel declares.
        OverflowError
            If an integer does not fit the declared type.
        """
        if 0 in grid:
            return
        packed = self.packed(arguments)
        self.function(shared)(grid, (block, 1, 1), packed, shared_mem=shared)

    def packed(self, arguments: Sequence[Any]) -> tuple[Any, ...]:
        """Check arrays, and cast numbers to the types that the kernel declares."""
        packed: list[Any] = []
        # one loop without calls: this is most of what a launch costs on the host
        for (dtype, is_array), x in zip(self.parameters, arguments, strict=True):
            if not is_array:
                x = dtype(x)
            elif x is None:
                x = _NULL
            elif x.dtype is not dtype or not x.flags.c_contiguous:
                self._check(len(packed), x, dtype)
            packed.append(x)
        return tuple(packed)

    def _check(self, place: int, x: Array, dtype: np.dtype) -> None:
        """Raise TypeError unless an array is what the kernel declares."""
        if x.dtype != dtype or not x.flags.c_contiguous:
            layout = "" if x.flags.c_contiguous else ", not contiguous"
            raise TypeError(
                f"{self.expression}: {self.kernel.declaration[1][place][1]} must be a contiguous "
                f"{dtype} array, got {x.dtype}{layout}"
            )

    def function(self, shared: int = 0) -> Any:
        """CuPy's function for the current device; compiled when it is first asked for."""
        cupy = sys.modules["cupy"]
        key = (cupy, cupy.cuda.runtime.getDevice(), shared)
        function = self._functions.get(key)
        if function is None:
            module = cupy.RawModule(
                code=source(self.kernel.file),
                options=OPTIONS,
                name_expressions=(self.expression,),
            )
            function = module.get_function(self.expression)
            if shared > STATIC_SHARED_LIMIT:
                function.max_dynamic_shared_size_bytes = shared
            self._functions[key] = function
        return function


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
        for number, line in enumerate((_FOLDER / name).read_text().splitlines(), 1):
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
