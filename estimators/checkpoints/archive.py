"""Arrays and plain values in one file: an uncompressed ``.npz`` with a `meta.json`.

Nothing in it is executed, unlike a pickle. Whatever a file says, its reader takes no more memory
than twice its length, and 16 MB of meta data as the objects of Python; it checks the sums of all
parts, and writes nothing. So a file may come from anybody.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from math import prod
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from estimators.shared.files import as_path, replacing

_META = "meta.json"
_NAMES = "arrays"  # what the names of all arrays are called there
_MOST_META = 2**24  # bytes; a generator has 7,000, and a list of lists has 20 times its text
_KINDS = "biufU"  # of dtypes that are read


def write_archive(
    path: str | os.PathLike[str], meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write a file in the place of what is there; a reader never finds a part of it.

    Parameters
    ----------
    path : path
        The file.
    meta : mapping
        What `json` can write.
    arrays : mapping of str to ndarray
        Arrays of numbers, by their names.
    """
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(_META), json.dumps({**meta, _NAMES: list(arrays)}))
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as part:
                npy.write_array(part, np.asarray(array), allow_pickle=False)


def read_archive(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the meta data and the arrays of a file.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be opened.
    ValueError
        If `write_archive` has not written it, or if it is damaged.
    """
    with open(as_path(path), "rb") as file:
        try:
            return _read(file)
        except MemoryError:
            raise
        # zipfile, json and NumPy have a dozen kinds of errors for what is none of theirs, such as
        # OSError for a place before the beginning, struct.error and RecursionError
        except Exception as error:
            raise ValueError(
                f"{os.fspath(path)!r} is no checkpoint, or is damaged: {error}"
            ) from error


def _read(file: IO[bytes]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        _check_parts(parts, os.fstat(file.fileno()).st_size)
        meta = json.loads(archive.read(_META))
        if not isinstance(meta, dict):
            raise ValueError(f"{_META} is no object")
        names = meta.pop(_NAMES, None)
        arrays = {
            part.filename.removesuffix(".npy"): _array_of(archive.read(part))
            for part in parts
            if part.filename.endswith(".npy")
        }
    if names != list(arrays):  # the directory of a zip file has no sum
        raise ValueError(f"it has the arrays {list(arrays)} in place of {names}")
    return meta, arrays


def _check_parts(parts: list[zipfile.ZipInfo], n_bytes: int) -> None:
    """Raise ValueError if a file says that it has more in it than its own length, or twice."""
    if len({part.filename for part in parts}) < len(parts):
        raise ValueError("two parts of it have one name")
    if any(part.filename == _META and part.file_size > _MOST_META for part in parts):
        raise ValueError(f"{_META} is longer than {_MOST_META} bytes")
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise ValueError("a part of it is compressed")
    if sum(max(part.file_size, part.compress_size) for part in parts) > n_bytes:
        raise ValueError("its parts are larger than the file")


def _array_of(raw: bytes) -> np.ndarray:
    """Return the array of a part, which has to be exactly as long as its header says."""
    file = io.BytesIO(raw)
    if npy.read_magic(file) != (1, 0):
        raise ValueError("an array is of an unknown version")
    shape, is_fortran, dtype = npy.read_array_header_1_0(file)
    if dtype.kind not in _KINDS or is_fortran:
        raise ValueError(f"an array is of dtype {dtype}, or not in C order")
    begin = file.tell()
    if begin + prod(shape) * dtype.itemsize != len(raw):
        raise ValueError("an array is shorter or longer than its shape")
    return np.frombuffer(raw, dtype, prod(shape), begin).reshape(shape).copy()
