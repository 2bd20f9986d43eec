"""The CUDA body of `scatter_rows`, which launches the kernel of `scatter.cu`."""

from __future__ import annotations

import numpy as np

from cukernels.gpu import elementwise
from cukernels.gpu.kernel import Kernel, contiguous, multiprocessors
from cukernels.gpu.words import WORDS, row_bytes, word_of
from cukernels.perceptron.scatter import check_alike
from cukernels.runtime.arrays import Array

_KERNEL = Kernel("scatter.cu", "scatter_rows", [(word,) for word in WORDS.values()])


def scatter_rows(x: Array, y: Array, rows: Array) -> None:
    check_alike(x, y)
    written, y = contiguous(x), contiguous(y)
    if not (y.size and x.size):
        return
    size = word_of(written, y)
    words = row_bytes(y) // size
    blocks = min(-(-words // elementwise.THREADS), 8 * multiprocessors(x))
    _KERNEL[WORDS[size]](
        (blocks, min(len(y), 2**15), 1), elementwise.THREADS,
        written.reshape(-1).view(np.uint8), y.reshape(-1).view(np.uint8),
        contiguous(rows, np.int64), len(x), len(y), words,
    )  # fmt: skip
    if written is not x:
        x[...] = written
