"""CUDA bodies of the products with sparse matrices, which launch the kernels of `sparse.cu`."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np

from cukernels.activations.activations import fused_activation
from cukernels.activations.fused import fused
from cukernels.gpu.kernel import Kernel, contiguous, ctype
from cukernels.gpu.stacks import models_of
from cukernels.runtime.arrays import Array, namespace
from cukernels.sparse.sparse import check_csr, check_output
from cukernels.sparse.transpose import BOTH, THREADS, Csr, transposed

_PRODUCT = Kernel("sparse.cu", "csr_product", BOTH)
_GRADIENT = Kernel("sparse.cu", "csr_gradient", BOTH)

WARPS = THREADS // 32


def csr_matmul(
    data: Array,
    indices: Array,
    indptr: Array,
    b: Array,
    bias: Array | None = None,
    *,
    activation: str = "identity",
) -> Array:
    check_csr("csr_matmul", data, indices, indptr, b)
    code, parameter, after = fused(activation)
    dtype = np.result_type(data.dtype, b.dtype)
    a, stack, columns = Csr.of(data, indices, indptr, dtype), b.shape[:-2], b.shape[-1]
    own = a.rows // max(*stack, 1) if stack else a.rows
    y = namespace(data).empty((*stack, own, columns), dtype)
    if y.size:
        first, b_model = models_of(b.astype(dtype, copy=False), 2, stack)
        added, bias_model = None, 0
        if bias is not None:
            added, bias_model = models_of(bias.astype(dtype, copy=False), 1, stack)
        lanes, tiles = _lanes(columns, y.itemsize)
        _PRODUCT[ctype(y), ctype(a.indices)](
            (-(-a.rows // WARPS), tiles, 1), THREADS, *a, first, added, y, a.rows, own, columns,
            lanes, b_model, bias_model, data.shape[0], b.shape[-2], code, parameter,
        )  # fmt: skip
    return after(y) if after else y


def csr_matmul_backward(
    dy: Array,
    data: Array,
    indices: Array,
    indptr: Array,
    b: Array,
    bias: Array | None = None,
    y: Array | None = None,
    *,
    activation: str = "identity",
    out: Mapping[str, Array] | None = None,
) -> tuple[Array, Array | None]:
    check_csr("csr_matmul_backward", data, indices, indptr, b)
    check_output(y, activation)
    dtype = np.result_type(data.dtype, dy.dtype)
    if fused(activation).after:
        dy, activation = fused_activation(activation).backward(dy, y), "identity"
    dy, y = contiguous(dy, dtype), None if y is None else contiguous(y, dtype)
    a, stack, (width, columns) = Csr.of(data, indices, indptr, dtype), b.shape[:-2], b.shape[-2:]
    models = stack[0] if stack else 1
    own = a.rows // max(models, 1)
    db, first, b_model = _gradient("b", b, out, dtype, stack)
    dbias, bias_first, bias_model = None, None, 0
    if bias is not None:
        dbias, bias_first, bias_model = _gradient("bias", bias, out, dtype, stack)
    if not (models and columns and (width or bias is not None)):
        return db, dbias
    entries, dz = transposed(a, models, width, dy, y, activation)
    lanes, tiles = _lanes(columns, dz.itemsize)
    bias_blocks = 0 if bias is None else models
    _GRADIENT[ctype(dz), ctype(a.indices)](
        (bias_blocks + -(-models * width // WARPS), tiles, 1), THREADS, *entries, a.indptr, dz,
        first, bias_first, a.rows, own, models, width, columns, lanes, b_model, bias_model,
        data.shape[0], bias_blocks,
    )  # fmt: skip
    return db, dbias


def _gradient(
    name: str, of: Array, out: Mapping[str, Array] | None, dtype: np.dtype, stack: tuple[int, ...]
) -> tuple[Array, Array, int]:
    """Return the gradient of an argument, its part of the first model, and the stride to the next.

    It is the array in `out`, if a kernel can write there: each model's own has to be contiguous.
    """
    own = of.ndim - len(stack)
    given = out.get(name) if out else None
    if given is not None and given.dtype == dtype and given.shape == of.shape and given.size:
        first, stride = models_of(given, own, stack)
        if first.data.ptr == given.data.ptr:
            return given, first, stride
    made = namespace(of).empty(of.shape, dtype)
    first, stride = models_of(made, own, stack) if made.size else (made, 0)
    return made, first, stride


@functools.cache
def _lanes(columns: int, itemsize: int) -> tuple[int, int]:
    """Return log2 of the lanes that share a row of b, and the number of tiles of columns."""
    of_lane = 16 // itemsize
    lanes = min((-(-columns // of_lane) - 1).bit_length(), 5) if columns else 0
    return lanes, -(-columns // (of_lane << lanes))
