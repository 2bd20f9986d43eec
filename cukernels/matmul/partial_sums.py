"""The memory on a GPU that long sums of products take: blocks add up parts of a sum, each its own.

All is known from shapes, so nothing is launched. Kernels are imported where a GPU is asked about.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_CTYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


def of_product(
    m: int, n: int, k: int, models: int, dtype: Any, device: str, *, a_k: bool = True
) -> int:
    """Return the bytes of the parts of ``models`` products of shapes (m, k) and (k, n).

    Parameters
    ----------
    m, n, k, models : int
        The shapes.
    dtype : dtype
        Their dtype, float32 or float64.
    device : str
        A GPU, as "cuda:0". Of "cuda", which may be any, nothing is known: 0.
    a_k : bool, default=True
        Whether k is the contiguous axis of the left factor.
    """
    if _is_any(device) or not m * n * k * models:
        return 0
    from cukernels.matmul.gemm_plan import plan, target_on

    p = plan(m, n, k, models, _CTYPES[np.dtype(dtype)], target_on(device), largest=a_k)
    if p.splits == 1:
        return 0
    tiles = -(-m // p.tile_m) * -(-n // p.tile_n) * models
    return tiles * p.splits * p.tile_m * p.tile_n * np.dtype(dtype).itemsize


def of_gradients(
    rows: int, inputs: int, outputs: int, models: int, dtype: Any, device: str, *,
    needs_a: bool, needs_sums: bool,
) -> int:  # fmt: skip
    """Return the bytes of the parts that the gradients of a product take, all at once.

    The product is (rows, inputs) times (inputs, outputs). The gradients are that of the right
    factor, that of the left one if `needs_a`, and the sums of the columns if `needs_sums`; dtype
    and device are those of `of_product`.
    """
    if _is_any(device) or not rows * inputs * outputs * models:
        return 0
    from cukernels.matmul.gemm_plan import target_on
    from cukernels.matmul.gradients import launch_of

    ctype, how = _CTYPES[np.dtype(dtype)], None
    if needs_a or needs_sums:
        how = launch_of(
            rows, inputs, outputs, models, ctype, target_on(device), needs_a, True, needs_sums
        )
    if how is not None:
        return how.elements * np.dtype(dtype).itemsize
    each = [of_product(inputs, outputs, rows, models, dtype, device, a_k=False)]
    if needs_a:
        each.append(of_product(rows, inputs, outputs, models, dtype, device))
    return max(each)


def _is_any(device: str) -> bool:
    return ":" not in device
