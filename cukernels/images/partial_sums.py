"""The memory on a GPU that the sums for the gradients of filters take; see `cukernels.matmul`."""

from __future__ import annotations

from typing import Any

import numpy as np

from cukernels.images.windows import Grid


def of_filter_gradients(
    images: int, channels: int, filters: int, axes: Grid, models: int, dtype: Any, device: str, *,
    needs_bias: bool,
) -> int:  # fmt: skip
    """Return the bytes of the parts of sums that the gradients of filters take.

    Parameters
    ----------
    images, channels, filters : int
        How many there are of each, for one model.
    axes : Grid
        The places of the filters.
    models : int
        The number of models.
    dtype : dtype
        float32 or float64.
    device : str
        A GPU, as "cuda:0". Of "cuda", which may be any, nothing is known: 0.
    needs_bias : bool
        Whether the same launch sums the gradients of biases.
    """
    if ":" not in device:
        return 0
    from cukernels.images.conv_cuda import elements_of_parts
    from cukernels.images.windows_cuda import Geometry
    from cukernels.matmul.gemm_plan import target_on

    dtype = np.dtype(dtype)
    sizes, target = Geometry.of(images, channels, filters, axes), target_on(device)
    ctype = {4: "float", 8: "double"}[dtype.itemsize]
    return elements_of_parts(sizes, models, ctype, target, needs_bias) * dtype.itemsize
