"""The CUDA body of the L2 penalty, which launches the kernel of `l2_penalty.cu`."""

from __future__ import annotations

from cukernels.gpu.counters import counters
from cukernels.gpu.kernel import Kernel, contiguous, ctype
from cukernels.optimizers.optimizers import check_decayed
from cukernels.runtime.arrays import Array, namespace

_THREADS = 256
_LENGTH = 8 * _THREADS  # weights of a block, at least
_MOST_BLOCKS = 256  # of a model
_KERNEL = Kernel("l2_penalty.cu", "l2_penalty", [("float",), ("double",)])


def l2_penalty(loss: Array, gradient: Array, params: Array, l2: Array, *, n_decayed: int) -> Array:
    check_decayed("l2_penalty", params, n_decayed)
    xp, (models, p) = namespace(params), params.shape
    written, value = contiguous(gradient), xp.empty(models, params.dtype)
    length = max(-(-n_decayed // (_MOST_BLOCKS * _LENGTH)), 1) * _LENGTH
    blocks = max(-(-n_decayed // length), 1)
    _KERNEL[ctype(params)](
        (blocks, models, 1), _THREADS, contiguous(loss), written, contiguous(params),
        contiguous(l2, params.dtype), value, xp.empty((models, blocks)), counters(params, models),
        p, n_decayed, length,
    )  # fmt: skip
    if written is not gradient:
        gradient[...] = written
    return value
