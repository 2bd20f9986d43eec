"""Parts of a file, each with a check of what it has to be; a ValueError says what it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]


def array_in(arrays: Arrays, name: str, shape: tuple[int, ...], dtype: Any = np.float64) -> Any:
    """Return an array of this shape and dtype; a KeyError says that there is none."""
    values = arrays[name]
    if values.shape != shape or values.dtype != dtype:
        raise ValueError(f"{name} has shape {values.shape} and dtype {values.dtype}")
    return values


def number_in(arrays: Arrays, name: str) -> float:
    """Return a number, which may be infinite or none."""
    return float(array_in(arrays, name, ()))


def count_in(arrays: Arrays, name: str) -> int:
    """Return a number of things."""
    count = int(array_in(arrays, name, (), np.int64))
    if count < 0:
        raise ValueError(f"{name} is {count}")
    return count


def rows_in(arrays: Arrays, name: str, n_samples: int, count: int) -> np.ndarray:
    """Return so many numbers of rows of X; kernels look them up unseen."""
    rows = arrays[name]
    if rows.dtype.kind != "i" or rows.shape != (count,):
        raise ValueError(f"there are {rows.shape} {name} in place of {count}")
    if count and (rows.min() < 0 or rows.max() >= n_samples):
        raise ValueError(f"{name} are outside of X")
    return rows.astype(np.intp)


def as_arrays(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return numbers and arrays as arrays of a file; what is None is left out."""
    arrays = {name: np.asarray(value) for name, value in values.items() if value is not None}
    return {name: a.astype(np.int64) if a.dtype.kind == "i" else a for name, a in arrays.items()}
