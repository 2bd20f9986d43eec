"""Minibatches: rows of the training data, picked by their indices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.contract import check_integers
from cukernels.runtime.dtypes import ANY, INTEGER, REAL
from cukernels.runtime.op import op


def _picks(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    x = rng.standard_normal((9, 4))
    yield {"x": x, "rows": rng.integers(9, size=5)}
    yield {
        "x": x,
        "rows": rng.integers(9, size=(3, 12)),
    }  # three models; some rows are picked twice
    yield {"x": rng.standard_normal((6, 3, 2, 5)), "rows": np.array([5, 0, 0])}
    yield {"x": rng.standard_normal((1, 1)), "rows": np.array([0])}
    yield {"x": x, "rows": np.zeros(0, int)}


@op(samples=_picks, kinds={"x": ANY, "rows": INTEGER})
def gather_rows(x: Array, rows: Array) -> Array:
    """Return ``x[rows]`` as a copy.

    Parameters
    ----------
    x : array of shape (N, ...)
        Rows of any shape and dtype.
    rows : integer array of shape (B,) or (M, B)
        The rows to pick, from 0 to N - 1, for one model or for each of M.

    Returns
    -------
    y : array of shape (B, ...) or (M, B, ...)
        On a GPU `rows` is not checked beforehand, as the host would have to wait for it. Instead a
        row that `x` does not have is returned with all bits set: NaN, or -1.

    Raises
    ------
    ValueError
        If a row is out of range, on the CPU.
    """
    _check_rows("gather_rows", x, rows)
    return x[rows]


@op(gradients=("x",), kinds={"x": REAL})
def gather_rows_backward(dy: Array, x: Array, rows: Array) -> Array:
    """Gradient of `gather_rows` in `x`: the gradients of each row's copies, summed in order.

    On a GPU the gradient of a row that `x` does not have is dropped; on the CPU it is an error.
    """
    _check_rows("gather_rows_backward", x, rows)
    xp = namespace(x)
    dx = xp.zeros_like(x)
    xp.add.at(dx, rows, dy)
    return dx


def _check_rows(op: str, x: Array, rows: Array) -> None:
    """Raise if a row is out of range, on the CPU."""
    if namespace(x) is np:
        check_integers(op, "rows", rows, len(x), "rows of x")
