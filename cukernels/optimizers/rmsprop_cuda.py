"""CUDA body of `rmsprop`, which launches the kernel of `rmsprop.cu`."""

from __future__ import annotations

from cukernels.gpu import elementwise
from cukernels.gpu.kernel import Kernel, contiguous, ctype
from cukernels.optimizers.optimizers_cuda import TYPES, grid, hyper_parameters, of_batch, write_back
from cukernels.runtime.arrays import Array
from cukernels.training.epoch_loss import check_decayed

_KERNEL = Kernel("rmsprop.cu", "rmsprop", TYPES)


def rmsprop(
    params: Array,
    grads: Array,
    second: Array,
    *,
    learning_rate: Array,
    beta_2: Array,
    epsilon: Array,
    l2: Array,
    n_decayed: int,
    total: Array | None = None,
    loss: Array | None = None,
    size: Array | None = None,
) -> None:
    check_decayed("rmsprop", params, n_decayed)
    batch = of_batch("rmsprop", params, total, loss, size)
    updated = contiguous(params), contiguous(second)
    _KERNEL[ctype(params)](
        grid(params, total), elementwise.THREADS, updated[0], contiguous(grads), updated[1],
        *hyper_parameters(learning_rate, beta_2, epsilon, l2), params.shape[1], n_decayed, *batch,
    )  # fmt: skip
    write_back((*updated, batch[0]), (params, second, total))
