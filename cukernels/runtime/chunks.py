"""Ranges in chunks: for threads, and small enough for the cache."""

from __future__ import annotations


def slices(length: int, step: int) -> list[slice]:
    """Split a length into chunks of `step`; the last one may be shorter."""
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def shares(length: int, most: int) -> list[slice]:
    """Split a length into one chunk, or an even number of equal ones, of at most `most` each."""
    if length <= most:
        return slices(length, max(length, 1))
    return slices(length, -(-length // (2 * -(-length // (2 * most)))))


_GROUP = 16  # rows: those of the registers of a kernel of BLAS


def halves(rows: int) -> list[slice]:
    """Divide the rows of a product for two threads, where a kernel of BLAS would divide them."""
    half = -(-rows // (2 * _GROUP)) * _GROUP
    return [slice(0, half), slice(half, rows)]
