"""The gradient of picked rows on a GPU: many picks, and their order."""

from __future__ import annotations

import numpy as np
import pytest

from _cuda_calls import device_results
from cukernels import OPS

BACKWARD = OPS["gather_rows_backward"]


@pytest.mark.parametrize("integer", [np.int32, np.int64])
@pytest.mark.parametrize(("picks", "rows", "columns"), [(900, 7, 3), (257, 1, 300), (300, 900, 2)])
def test_many_picks(picks, rows, columns, integer, cupy):
    """Some rows are picked in every round of a block, and others never: to the bit in order."""
    rng = np.random.default_rng(0)
    dy = rng.standard_normal((picks, columns)).astype(np.float32)
    x = np.zeros((rows, columns), np.float32)
    chosen = rng.integers(rows, size=picks).astype(integer)
    (dx,) = device_results(BACKWARD, cupy, {"dy": dy, "x": x, "rows": chosen})
    np.testing.assert_array_equal(dx, BACKWARD.reference(dy, x, chosen))


def test_picks_add_up_in_their_order(cupy):
    dy = np.ones((600, 2), np.float32)
    dy[0], dy[-1] = 2.0**24, -(2.0**24)  # after the first, adding 1 is lost
    rows = np.zeros(600, int)
    (dx,) = device_results(BACKWARD, cupy, {"dy": dy, "x": np.zeros((3, 2), "f"), "rows": rows})
    np.testing.assert_array_equal(dx, 0)
