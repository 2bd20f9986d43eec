"""NumPy bodies of the perceptron's sweeps: a block of samples at a time, if they can be."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from cukernels.perceptron.blocks_numpy import dense_rows, sparse_rows, sweep_blocks
from cukernels.perceptron.perceptron import csr_row, dense_row
from cukernels.perceptron.rule import Sweep, SweepArguments, sweep_samples
from cukernels.perceptron.truncation_numpy import sweep_truncated
from cukernels.sparse.sparse import check_rows


def perceptron_sweep(x: np.ndarray, *args: Any, **kwargs: Any) -> np.ndarray:
    sweep = Sweep(SweepArguments(*args, **kwargs))
    if sweep.classes is None:
        if sweep.penalty.has_l1:
            return sweep_truncated(sweep, x)
        return sweep_blocks(sweep, dense_rows(x, sweep.w.dtype))
    return sweep_samples(sweep, dense_row(x, sweep.w.dtype))


def csr_perceptron_sweep(
    data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, *args: Any, **kwargs: Any
) -> np.ndarray:
    sweep = Sweep(SweepArguments(*args, **kwargs))
    check_rows("csr_perceptron_sweep", data, indices, indptr, sweep.w.shape[-1])
    if sweep.classes is None and not sweep.penalty.has_l1:
        shape = (len(indptr) - 1, sweep.w.shape[-1])
        return sweep_blocks(sweep, sparse_rows(sp.csr_array((data, indices, indptr), shape=shape)))
    return sweep_samples(sweep, csr_row(data, indices, indptr))
