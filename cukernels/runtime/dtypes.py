"""What dtypes the arguments of an op may have, and the words for one that they may not.

NumPy would take almost anything, and compute with half the digits, round a gradient to integers or
drop an imaginary part; a kernel takes what it was compiled for. So both refuse the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Kind(NamedTuple):
    """Some dtypes: their characters (`numpy.dtype.char`), and what an error calls them."""

    chars: str
    words: str


REAL = Kind("fd", "a float32 or float64 array")
INTEGER = Kind("bBhHiIlLqQ", "an array of integers")
UNSIGNED = Kind("BHILQ", "an array of unsigned integers")
BOOLEAN = Kind("?", "an array of booleans")
ANY = Kind(np.typecodes["All"], "an array")

Check = Callable[[tuple[Any, ...], dict[str, Any]], None]


def kinds_of(function: Callable[..., Any], others: Mapping[str, Kind]) -> dict[str, Kind]:
    """Return the kind of each argument that may be an array: REAL, but for `others`."""
    parameters = inspect.signature(function).parameters.values()
    arrays = [p.name for p in parameters if "Array" in str(p.annotation)]
    return {name: others.get(name, REAL) for name in arrays}


def checker(op: str, parameters: list[str], kinds: Mapping[str, Kind]) -> Check:
    """Return the function that raises TypeError if an array among the arguments is no such one.

    It comes before every call, so it only looks at a character of each.
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
