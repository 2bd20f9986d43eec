"""CUDA body of `adamw`, which launches the kernel of `adamw.cu`."""

from __future__ import annotations

import numpy as np

from cukernels.gpu import elementwise
from cukernels.gpu.kernel import Kernel, contiguous, ctype
from cukernels.optimizers.optimizers_cuda import TYPES, grid, hyper_parameters, of_batch, write_back
from cukernels.runtime.arrays import Array
from cukernels.training.epoch_loss import check_decayed

_KERNEL = Kernel("adamw.cu", "adamw", TYPES)


def adamw(
    params: Array,
    grads: Array,
    first: Array,
    second: Array,
    *,
    step: Array,
    learning_rate: Array,
    beta_1: Array,
    beta_2: Array,
    epsilon: Array,
    weight_decay: Array,
    n_decayed: int,
    total: Array | None = None,
    loss: Array | None = None,
    size: Array | None = None,
) -> None:
    check_decayed("adamw", params, n_decayed)
    batch = of_batch("adamw", params, total, loss, size)
    updated = contiguous(params), contiguous(first), contiguous(second)
    _KERNEL[ctype(params)](
        grid(params, total), elementwise.THREADS, updated[0], contiguous(grads), *updated[1:],
        contiguous(step, np.int64),
        *hyper_parameters(learning_rate, beta_1, beta_2, epsilon, weight_decay),
        params.shape[1], n_decayed, *batch,
    )  # fmt: skip
    write_back((*updated, batch[0]), (params, first, second, total))
