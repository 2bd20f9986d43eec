"""Division by multiplication, for numbers at which a quotient steps."""

from __future__ import annotations

import numpy as np
import pytest

from cukernels.gpu.division import divisor

MOST = 2**31 - 1


def quotient(n: np.ndarray, packed: int) -> np.ndarray:
    """What `quotient` of division.cuh computes."""
    product = (n << 1) * np.uint64(packed & 0xFFFFFFFF)
    return (product >> np.uint64(32)) >> np.uint64(packed >> 32)


@pytest.mark.parametrize("d", [1, 2, 3, 5, 6, 7, 10, 28, 641, 2**16, 2**16 + 1, 2**30 + 1, MOST])
def test_division_is_exact(d):
    rng = np.random.default_rng(d)
    steps = rng.integers(0, MOST // d + 1, 10_000, dtype=np.uint64) * np.uint64(d)
    steps = np.append(steps, [MOST // d * d])
    n = np.concatenate([steps, steps + np.uint64(d - 1), steps[steps > 0] - np.uint64(1), [MOST]])
    n = n[n <= MOST].astype(np.uint64)
    packed = divisor(d)
    assert packed & 0xFFFFFFFF == -(-(2 ** (31 + (d - 1).bit_length())) // d)  # fits 32 bits
    np.testing.assert_array_equal(quotient(n, packed), n // np.uint64(d))
