"""The dtypes that arguments of an op may have, and the error for any other.

NumPy would accept almost any dtype, and then compute with half the digits, round a gradient to
integers or drop an imaginary part. A kernel accepts only the dtypes that it was compiled for. So
that both refuse the same arrays, the dtypes are checked before any body runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Kind(NamedTuple):
    """A set of dtypes: their characters (`numpy.dtype.char`), and what an error calls them."""

    chars: str
    words: str


REAL = Kind("fd", "a float32 or float64 array")
REAL_OR_BYTES = Kind("fdB", "a float32, float64 or uint8 array")
INTEGER = Kind("bBhHiIlLqQ", "an array of integers")
UNSIGNED = Kind("BHILQ", "an array of unsigned integers")
BOOLEAN = Kind("?", "an array of booleans")
ANY = Kind(np.typecodes["All"], "an array")

Check = Callable[[tuple[Any, ...], dict[str, Any]], None]


def kinds_of(function: Callable[..., Any], others: Mapping[str, Kind]) -> dict[str, Kind]:
    """Return the kind of each argument that may be an array: that of `others`, else REAL."""
    parameters = inspect.signature(function).parameters.values()
    arrays = [p.name for p in parameters if "Array" in str(p.annotation)]
    return {name: others.get(name, REAL) for name in arrays}


def checker(op: str, parameters: list[str], kinds: Mapping[str, Kind]) -> Check:
    """Return a function that raises TypeError if an argument is an array of a wrong dtype.

    It runs before every call of the op, so it only compares one character of each array.
    """
    everything = {name: kinds.get(name, ANY).chars for name in parameters}
    in_order = list(everything.values())

    def check(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for x, chars in zip(args, in_order, strict=False):
            dtype = getattr(x, "dtype", None)
            if dtype is not None and dtype.char not in chars:
                refuse(dict(zip(parameters, args, strict=False)))
        for name, x in kwargs.items():
            dtype = getattr(x, "dtype", None)
            if dtype is not None and dtype.char not in everything.get(name, dtype.char):
                refuse(kwargs)

    def refuse(given: Mapping[str, Any]) -> None:
        for name, x in given.items():
            kind = kinds.get(name, ANY)
            if isinstance(x, np.generic) or not hasattr(x, "dtype") or x.dtype.char in kind.chars:
                continue
            raise TypeError(f"{op}: {name} must be {kind.words}, got {x.dtype}")

    return check
