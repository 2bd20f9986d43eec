"""The NumPy body of gathering rows."""

from __future__ import annotations

from cukernels.runtime.arrays import Array
from cukernels.runtime.contract import check_integers
from cukernels.runtime.workspace import empty, is_active


def gather_rows(x: Array, rows: Array) -> Array:
    # `take` needs a third of the time of fancy indexing. With `out` it buffers its result unless
    # the mode is "clip"; as all rows are in range, clipping changes none.
    check_integers("gather_rows", "rows", rows, len(x), "rows of x")
    if not is_active() or rows.size == 0:
        return x.take(rows, axis=0)
    y = empty(rows.shape + x.shape[1:], x.dtype)
    return x.take(rows, axis=0, out=y, mode="clip")
