"""What a launch does with its arguments, prepared: which are arrays, and how numbers are cast.

A launch is a few microseconds of Python. Whatever follows from the declaration alone is worked out
once, and left to functions of C: one takes the arrays out of the arguments, one the numbers, one
remembers what numbers were cast to, and one puts both together again.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Picker = Callable[[tuple[Any, ...]], tuple[Any, ...]]


class Signature(NamedTuple):
    """What the declaration says of a launch's arguments, in the form in which it is asked."""

    arguments: int
    dtypes: tuple[np.dtype, ...]  # of the arrays
    arrays: Picker  # arrays out of the arguments
    numbers: Picker  # numbers out of the arguments
    cast: Picker  # numbers to those of the declared types
    in_order: Picker  # arrays and numbers to the order of the declaration

    @classmethod
    def of(cls, parameters: list[tuple[np.dtype, bool]]) -> Signature:
        """Return the signature of a kernel, from its arguments: dtype, and whether an array."""
        arrays = [place for place, (_, is_array) in enumerate(parameters) if is_array]
        numbers = [place for place, (_, is_array) in enumerate(parameters) if not is_array]
        order = sorted(range(len(parameters)), key=(arrays + numbers).__getitem__)
        return cls(
            len(parameters),
            tuple(parameters[place][0] for place in arrays),
            _picker(arrays),
            _picker(numbers),
            _caster([parameters[place][0].type for place in numbers]),
            _picker(order),
        )


def _picker(places: list[int]) -> Picker:
    """Return the function that takes some places of a tuple."""
    if places == list(range(places[0], places[-1] + 1) if places else []):
        return operator.itemgetter(slice(places[0], places[-1] + 1) if places else slice(0))
    return operator.itemgetter(*places)


def _caster(types: list[Any]) -> Picker:
    """Return the function that casts numbers to types.

    Sizes, strides and rates are the same launch after launch: to look all of them up at once is
    cheaper than one cast.
    """

    @functools.lru_cache(maxsize=1024)
    def cast(numbers: tuple[Any, ...]) -> tuple[Any, ...]:
        # 0.0 and -0.0 are the same to the cache, so they shall be the same to the kernel
        return tuple(type_(n) + type_(0) for type_, n in zip(types, numbers, strict=True))

    return cast
