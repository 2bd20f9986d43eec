"""Products of stacks of matrices, with bias and activation fused in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.activations.activations import fused_activation
from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.op import op
from cukernels.runtime.stacks import sum_to


def _products(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    r = rng.standard_normal
    yield {"a": r((5, 7)), "b": r((7, 3))}
    yield {"a": r((4, 5, 7)), "b": r((4, 7, 3)), "bias": r((4, 3)), "activation": "tanh"}
    yield {"a": r((1, 5, 7)), "b": r((4, 7, 3)), "bias": r((4, 3)), "activation": "relu"}
    yield {"a": r((5, 7)), "b": r((2, 7, 3)), "bias": r(3)}  # both broadcast
    yield {"a": r((7, 5)), "b": r((3, 7)), "transpose_a": True, "transpose_b": True}
    yield {"a": r((2, 7, 5)), "b": r((2, 7, 3)), "transpose_a": True, "bias": r((2, 3))}
    yield {"a": r((5, 7)), "b": r((3, 7)), "transpose_b": True, "activation": "softmax"}
    yield {"a": r((1, 1)), "b": r((1, 1))}
    yield {"a": r((0, 7)), "b": r((7, 3)), "bias": r(3)}
    yield {"a": r((5, 0)), "b": r((0, 3)), "bias": r(3)}  # a sum of no terms is 0
    yield {
        "a": r((33, 65)),
        "b": r((65, 129)),
        "bias": r(129),
    }  # one past a multiple of the usual tiles


@op(samples=_products)
def matmul(
    a: Array,
    b: Array,
    bias: Array | None = None,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    activation: str = "identity",
) -> Array:
    """Return ``activation(a @ b + bias)`` for matrices or stacks of matrices.

    Parameters
    ----------
    a : array of shape (..., N, D), float32 or float64
        Left factors; (..., D, N) with `transpose_a`.
    b : array of shape (..., D, K)
        Right factors; (..., K, D) with `transpose_b`. Leading axes broadcast against those of
        `a`, as in `numpy.matmul`.
    bias : array of shape (..., K), default=None
        Added to every row. Its leading axes broadcast too.
    transpose_a, transpose_b : bool, default=False
        Whether a factor is stored transposed.
    activation : str, default="identity"
        Name of an activation whose derivative needs only its output: one of
        `FUSED_ACTIVATIONS`.

    Returns
    -------
    y : array of shape (..., N, K)

    Raises
    ------
    ValueError
        If the shapes do not fit, or the activation cannot be fused.
    """
    left, right = factors(a, b, transpose_a, transpose_b)
    y = namespace(a).matmul(left, right)
    if bias is not None:
        y += bias[..., None, :]
    return fused_activation(activation).forward(y)


def factors(a: Array, b: Array, transpose_a: bool, transpose_b: bool) -> tuple[Array, Array]:
    """Return the factors, transposed as asked; refuse vectors, which NumPy would take."""
    if a.ndim < 2 or b.ndim < 2:
        raise ValueError(
            f"matmul: arguments of these shapes do not fit: a {a.shape}, b {b.shape}; expected a "
            "(..., N, D), b (..., D, K)"
        )
    return (
        a.swapaxes(-1, -2) if transpose_a else a,
        b.swapaxes(-1, -2) if transpose_b else b,
    )


@op(gradients=("a", "b", "bias"))
def matmul_backward(
    dy: Array,
    a: Array,
    b: Array,
    bias: Array | None,
    y: Array,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    activation: str = "identity",
    needs: tuple[str, ...] = ("a", "b", "bias"),
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of `matmul` in `a`, `b` and `bias`.

    Parameters
    ----------
    dy, y : array of shape (..., N, K)
        Gradient in the output, and the output.
    a, b, bias, transpose_a, transpose_b, activation
        As given to `matmul`.
    needs : tuple of str, default=("a", "b", "bias")
        The gradients to compute.

    Returns
    -------
    da, db, dbias : arrays of the shapes of `a`, `b`, `bias`, or None where not needed
    """
    matmul_ = namespace(a).matmul
    dz = fused_activation(activation).backward(dy, y)
    da = db = dbias = None
    if "a" in needs:
        right = b if transpose_b else b.swapaxes(-1, -2)
        da = matmul_(dz, right)
        da = sum_to(da.swapaxes(-1, -2) if transpose_a else da, a.shape)
    if "b" in needs:
        left = a if transpose_a else a.swapaxes(-1, -2)
        # transposing the factors, and not the product, keeps db in the memory layout of b
        db = (
            matmul_(dz.swapaxes(-1, -2), left.swapaxes(-1, -2))
            if transpose_b
            else matmul_(left, dz)
        )
        db = sum_to(db, b.shape)
    if "bias" in needs and bias is not None:
        dbias = sum_to(dz.sum(axis=-2), bias.shape)
    return da, db, dbias
