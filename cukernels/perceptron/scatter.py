"""Rows of an array, put back to where they were picked from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.contract import check_integers
from cukernels.runtime.dtypes import ANY, INTEGER
from cukernels.runtime.op import op


def _puts(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    r = rng.standard_normal
    for n, picks, own in ((9, 5, (4,)), (6, 6, (3, 2, 5)), (1, 1, ()), (4, 0, (3,)), (7, 3, (0,))):
        yield {"x": r((n, *own)), "y": r((picks, *own)), "rows": rng.permutation(n)[:picks]}
    yield {
        "x": rng.integers(9, size=(5, 3)).astype(np.uint8),
        "y": rng.integers(9, size=(2, 3)).astype(np.uint8),
        "rows": np.array([4, 1], np.int32),
    }


@op(
    samples=_puts,
    outputs=(),
    mutates=("x",),
    kinds={"x": ANY, "y": ANY, "rows": INTEGER},
    no_backward="it updates an array in place",
)
def scatter_rows(x: Array, y: Array, rows: Array) -> None:
    """Set ``x[rows] = y``, in place: the opposite of `gather_rows`.

    Parameters
    ----------
    x : array of shape (N, ...)
        Rows of any shape and dtype; updated.
    y : array of shape (B, ...)
        The new rows, of the dtype of `x`.
    rows : integer array of shape (B,)
        Which rows they are, from 0 to N - 1, and no two the same. On a GPU one that `x` does not
        have is ignored.

    Raises
    ------
    ValueError
        If the rows of `x` and `y` have different shapes or, on the CPU, a row is out of range.
    TypeError
        If they have different dtypes.
    """
    check_alike(x, y)
    if namespace(x) is np:
        check_integers("scatter_rows", "rows", rows, len(x), "rows of x")
    x[rows] = y


def check_alike(x: Array, y: Array) -> None:
    """Raise unless rows of `y` are such as those of `x`."""
    if x.shape[1:] != y.shape[1:]:
        raise ValueError(f"scatter_rows: rows of shape {y.shape[1:]} for {x.shape[1:]}")
    if x.dtype != y.dtype:
        raise TypeError(f"scatter_rows: rows of {y.dtype} for {x.dtype}")
