"""The CUDA body of the running mean, which launches the kernel of `running_mean.cu`."""

from __future__ import annotations

from cukernels.gpu.kernel import Kernel, contiguous, ctype
from cukernels.gpu.stacks import models_of
from cukernels.runtime.arrays import Array

_THREADS = 256
_KERNEL = Kernel("running_mean.cu", "running_mean", [("float",), ("double",)])


def running_mean(mean: Array, new: Array, *, share: float) -> None:
    models, channels = mean.shape
    in_place = mean.strides[1] == mean.itemsize and mean.strides[0] > 0
    updated = mean if in_place else mean.copy()
    first, stride = models_of(updated, 1, (models,))
    blocks = -(-channels // _THREADS)
    _KERNEL[ctype(mean)](
        (blocks, models, 1), _THREADS, first, contiguous(new), share, channels, stride
    )
    if not in_place:
        mean[...] = updated
