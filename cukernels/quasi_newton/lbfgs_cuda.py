"""CUDA bodies of the vectors of L-BFGS, which launch the kernels of `lbfgs.cu`."""

from __future__ import annotations

import numpy as np

from cukernels.gpu.counters import counters
from cukernels.gpu.kernel import Kernel, contiguous, ctype, multiprocessors
from cukernels.quasi_newton.columns import PRODUCTS
from cukernels.quasi_newton.lbfgs import check_plan
from cukernels.runtime.arrays import Array, namespace

THREADS = 256  # lbfgs_threads of lbfgs.cu
_WARPS = THREADS // 32
_LENGTH = 4 * THREADS  # elements that a block takes at a time
_MOST_BLOCKS = 128  # of a model, whose sums one block adds up

_STEP = Kernel("lbfgs.cu", "lbfgs_step", [("float",), ("double",)])
_PRODUCTS = Kernel("lbfgs.cu", "lbfgs_products", [("float",), ("double",)])


def lbfgs_step(
    x: Array,
    gradient: Array,
    direction: Array,
    pairs: Array,
    reached: Array,
    slope: Array,
    plan: Array,
) -> Array:
    check_plan("lbfgs_step", pairs, plan)
    given = (x, gradient, direction, pairs)
    used = [contiguous(a) for a in given]
    (models, p), rows = x.shape, len(plan)
    point = namespace(x).empty((rows, p), x.dtype)
    blocks = min(-(-p // THREADS), max(1, -(-16 * multiprocessors(x) // max(rows, 1))))
    _STEP[ctype(x)](
        (blocks, rows, 1), THREADS, *used, contiguous(reached), contiguous(slope),
        contiguous(plan, np.float64), point, models, len(reached), p, pairs.shape[1] // 2,
    )  # fmt: skip
    for new, old in zip(used, given, strict=True):
        if new is not old:
            old[...] = new
    return point


def lbfgs_products(
    value: Array, slope: Array, gradient: Array, direction: Array, pairs: Array, plan: Array
) -> Array:
    check_plan("lbfgs_products", pairs, plan)
    xp, m, (models, p), rows = namespace(value), pairs.shape[1] // 2, gradient.shape, len(plan)
    width = PRODUCTS + 4 * m
    length = max(-(-p // (_MOST_BLOCKS * _LENGTH)), 1) * _LENGTH
    blocks = max(-(-p // length), 1)
    record, partial = xp.empty((rows, width)), xp.empty((rows, blocks, width))
    arrays = (value, slope, gradient, direction, pairs)
    _PRODUCTS[ctype(slope)](
        (blocks, rows, 1), THREADS, *map(contiguous, arrays), contiguous(plan, np.float64), record,
        partial, counters(slope, rows), models, p, length, m, shared=8 * width * _WARPS,
    )  # fmt: skip
    return record.astype(plan.dtype, copy=False)
