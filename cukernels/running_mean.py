"""Running means of the statistics of batches, which prediction uses later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels._array import Array
from cukernels._kernel import Kernel, contiguous, ctype, stacked
from cukernels._op import cuda_body, op

_THREADS = 256
_KERNEL = Kernel("running_mean.cu", "running_mean", [("float",), ("double",)])


def _means(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for shape in ((1, 1), (2, 0), (1, 7), (3, 300)):
        drawn = rng.standard_normal((2, *shape))
        yield {"mean": drawn[0], "new": drawn[1], "share": 0.1}


@op(
    samples=_means,
    outputs=(),
    mutates=("mean",),
    no_backward="it updates its argument in place",
)
def running_mean(mean: Array, new: Array, *, share: float) -> None:
    """Move a running mean towards a new value: ``mean += share * (new - mean)``.

    Parameters
    ----------
    mean : array of shape (M, C), float32 or float64
        Updated.
    new : array of shape (M, C)
    share : float
        Weight of the new value.
    """
    mean += share * (new - mean)


@cuda_body(running_mean)
def _running_mean_cuda(mean: Array, new: Array, *, share: float) -> None:
    models, channels = mean.shape
    in_place = mean.strides[1] == mean.itemsize and mean.strides[0] > 0
    updated = mean if in_place else mean.copy()
    first, stride = stacked(updated, 1)
    blocks = -(-channels // _THREADS)
    _KERNEL[ctype(mean)](
        (blocks, models, 1), _THREADS, first, contiguous(new), share, channels, stride
    )
    if not in_place:
        mean[...] = updated
