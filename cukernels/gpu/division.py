"""Integer division in kernels by a number known on the host: a multiplication and a shift."""

from __future__ import annotations

import functools


@functools.cache
def divisor(d: int) -> int:
    """Return the argument with which `quotient` of `division.cuh` divides by `d`, 1 <= d < 2**31.

    With ``s = ceil(log2(d))``, the quotient of any ``n < 2**31`` is ``n * m >> (31 + s)`` for
    ``m = ceil(2**(31 + s) / d)``: rounding up adds less than ``n / 2**(31 + s) < 1 / d`` to the
    quotient, which is not enough to reach the next integer.
    """
    shift = (d - 1).bit_length()
    return shift << 32 | -(-(1 << 31 + shift) // d)
