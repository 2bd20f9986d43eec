"""The text of `.cu` files with their headers, and what their declarations say."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_SOURCES = {  # file names are unique, so an #include need not name the folder
    file.name: file for file in Path(__file__).parent.parent.rglob("*.cu*")
}
_INCLUDE = re.compile(r'#include "([\w.]+)"')
_DECLARATION = re.compile(
    r"template\s*<([^<>]*)>\s*__global__\s+void\s+"
    r"(?:__launch_bounds__\s*\((?:[^()]|\([^()]*\))*\)\s*)?(\w+)\s*\(([^()]*)\)"
)
DTYPES = {
    "float": np.float32,
    "double": np.float64,
    "int": np.int32,
    "unsigned": np.uint32,
    "int64": np.int64,
    "uint64": np.uint64,
    "bool": np.bool_,
    "byte": np.uint8,
}


def parameter_of(given: dict[str, str], type_: str) -> tuple[np.dtype, bool]:
    """Return the dtype of a declared C++ type, and whether it is a pointer (an array).

    `given` maps the names of the template's parameters to its arguments.
    """
    words = [given.get(word, word) for word in re.findall(r"\w+|\*", type_)]
    ctype = next(word for word in words if word not in ("const", "__restrict__", "*"))
    return np.dtype(DTYPES[ctype]), "*" in words


@functools.cache
def source(file: str) -> str:
    """Return the text of a `.cu` file with our own headers inserted.

    CuPy's cache of compiled kernels identifies a kernel by this text. If the compiler read the
    headers itself, a change in one of them would go unnoticed.
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


def declaration(file: str, name: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the names of a template's parameters, and (type, name) of each of the function's.

    Raises
    ------
    LookupError
        If the file declares no `__global__` template of that name.
    """
    for templates, declared, arguments in _DECLARATION.findall(source(file)):
        if declared == name:
            parameters = [_split(p) for p in _strip(arguments).split(",")]
            return [_split(p)[1] for p in templates.split(",")], parameters
    raise LookupError(f"{file} declares no __global__ template {name}")


def _strip(text: str) -> str:
    """Take comments out of C++ text."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


def _split(parameter: str) -> tuple[str, str]:
    """Split a C++ parameter into its type and its name."""
    match = re.fullmatch(r"\s*(.*?[\s*])(\w+)\s*(?:=.*)?", parameter, flags=re.DOTALL)
    assert match, f"not a parameter: {parameter!r}"
    return match[1].strip(), match[2]
