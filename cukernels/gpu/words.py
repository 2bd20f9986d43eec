"""How kernels copy rows of any dtype: in the longest word that lengths and addresses allow."""

from __future__ import annotations

import math

from cukernels.runtime.arrays import Array

WORDS = {16: "Word16", 8: "Word8", 4: "Word4", 2: "Word2", 1: "byte"}  # by bytes, of words.cuh


def row_bytes(x: Array) -> int:
    """Return how many bytes a row of `x`, of shape (N, ...), has."""
    return math.prod(x.shape[1:]) * x.itemsize


def word_of(*arrays: Array) -> int:
    """Return the bytes of the longest word in which rows of these arrays can be copied."""
    lengths = [row_bytes(x) | x.data.ptr for x in arrays]
    return next(size for size in WORDS if all(length % size == 0 for length in lengths))
