"""How a launch treats its arguments: which ones are arrays, and how numbers are cast.

A launch should cost only a few microseconds of Python. So whatever follows from the declaration of
the kernel is computed once, and the rest is done by functions written in C: one picks the arrays,
one picks the numbers, a cache looks up the cast numbers, and one puts both back in order.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Picker = Callable[[tuple[Any, ...]], tuple[Any, ...]]


class Signature(NamedTuple):
    """What a kernel's declaration says of its arguments, prepared for a fast launch."""

    arguments: int  # how many
    dtypes: tuple[np.dtype, ...]  # of the arrays
    arrays: Picker  # picks the arrays of the arguments
    numbers: Picker  # picks the numbers of the arguments
    cast: Picker  # casts the numbers to the declared types
    in_order: Picker  # puts arrays and numbers, one after the other, in the declared order

    @classmethod
    def of(cls, parameters: list[tuple[np.dtype, bool]]) -> Signature:
        """Return the signature of a kernel, given each argument's dtype and if it is an array."""
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
    """Return a function that picks these places of a tuple."""
    if places == list(range(places[0], places[-1] + 1) if places else []):
        return operator.itemgetter(slice(places[0], places[-1] + 1) if places else slice(0))
    return operator.itemgetter(*places)


def _caster(types: list[Any]) -> Picker:
    """Return a function that casts numbers to these types.

    Sizes, strides and rates are mostly the same in every launch, and looking all of them up at once
    costs less than a single cast.
    """

    @functools.lru_cache(maxsize=1024)
    def cast(numbers: tuple[Any, ...]) -> tuple[Any, ...]:
        # The cache cannot tell -0.0 from 0.0, so adding 0 makes them the same for the kernel.
        return tuple(type_(n) + type_(0) for type_, n in zip(types, numbers, strict=True))

    return cast
