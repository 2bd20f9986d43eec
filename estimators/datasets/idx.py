"""Idx files, the format of MNIST: read within the bounds of their headers, and written."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from typing import Any

import numpy as np

from estimators.shared.files import replacing

# Types of the elements, by the third byte of an idx file.
_ELEMENTS = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
# The most bytes that one byte of a gzip file can become: deflate can write 258 bytes with two bits.
_MOST_UNPACKED = 1032
_CHUNK = 2**20  # bytes that are read at once


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an idx file, which is the format of MNIST, with or without gzip.

    Parameters
    ----------
    path : path
        The file. Its content tells whether it is packed with gzip, not its name.

    Returns
    -------
    array : ndarray
        It has the shape and element type that the header says, and the machine's byte order.

    Raises
    ------
    ValueError
        If it is not an idx file, or has more or fewer bytes than its header says. No more than
        these, and one, are ever unpacked, so a small file cannot fill the memory.
    """
    with open(path, "rb") as file:
        n_bytes = os.fstat(file.fileno()).st_size if file.seekable() else math.inf
        if not file.peek(2).startswith(b"\x1f\x8b"):
            return _read_idx(file, n_bytes, path)
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _read_idx(unpacked, _MOST_UNPACKED * n_bytes, path)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path}: the gzip file is damaged: {error}") from error


def write_idx(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Write an array of bytes as an idx file, in the place of what is there.

    Parameters
    ----------
    path : path
        The file.
    array : ndarray of uint8
        What it is to hold.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    lengths = np.array(array.shape, ">u4").tobytes()
    with replacing(path) as file:
        file.write(bytes([0, 0, 0x08, array.ndim]) + lengths)
        file.write(np.ascontiguousarray(array, np.uint8).data)


def _read_idx(file: Any, most: float, path: Any) -> np.ndarray:
    """Read an idx file of at most `most` bytes, and no more of it than its header says, and one."""
    # Header: two zero bytes, the element type, the number of axes n, then n lengths.
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _ELEMENTS:
        raise ValueError(
            f"{path} is not an idx file: it begins with the bytes {magic.hex(' ') or '(none)'}, "
            f"where one of MNIST's images begins with 00 00 08 03"
        )
    element, axes = np.dtype(_ELEMENTS[magic[2]]), magic[3]
    start = 4 + 4 * axes
    lengths = file.read(4 * axes)
    if len(lengths) < 4 * axes:
        raise ValueError(f"{path} is truncated: it ends within its header of {start} bytes")
    shape = tuple(np.frombuffer(lengths, ">u4").tolist())
    expected = math.prod(shape) * element.itemsize
    says = f"its header says shape {shape}, {expected} bytes"
    if expected > most - start:
        few = "at most " if isinstance(file, gzip.GzipFile) else ""
        raise ValueError(f"{path} is truncated: {says}, and {few}{most - start} follow")
    try:
        values = np.empty(shape, element)
    except ValueError as error:  # more axes than NumPy has, or a length of 0 beside huge ones
        raise ValueError(f"{path}: {says}, and no array has that: {error}") from error
    found = _fill(file, values.reshape(-1).view(np.uint8).data)
    if found < expected:
        raise ValueError(f"{path} is truncated: {says}, and {found} follow")
    if file.read(1):  # at the end of a gzip file this also checks its checksum
        raise ValueError(f"{path} is too long: {says}, and more follow")
    if not element.isnative:
        values.byteswap(inplace=True)
    return values.view(element.newbyteorder("="))


def _fill(file: Any, buffer: memoryview) -> int:
    """Read bytes into a buffer until it is full or the file ends, and return their number.

    They are read in chunks, as the buffer may be larger than the file: what a file does not have
    then takes no memory, since no page of it is ever written.
    """
    found = 0
    while found < len(buffer) and (n := file.readinto(buffer[found : found + _CHUNK])):
        found += n
    return found
