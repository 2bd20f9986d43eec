"""Products of stacks of matrices, with bias and activation fused in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.activations.activations import fused_activation
from cukernels.activations.fused import reversible_activation
from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.contract import check_integers
from cukernels.runtime.dtypes import INTEGER
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
    a, b, bias = np.tanh(r((4, 5, 7))), r((4, 7, 3)), r((4, 3))
    yield {"a": a, "b": b, "bias": bias, "a_activation": "tanh", "activation": "relu"}
    yield {"a": np.tanh(r((7, 5))), "b": r((2, 7, 3)), "a_activation": "tanh", "transpose_a": True}
    yield {"a": a[:3], "b": b, "bias": bias, "a_of": np.array([2, 0, 2, 1])}
    yield {"a": a[:2], "b": b[:2], "a_of": np.array([1, 1]), "a_activation": "tanh"}


@op(samples=_products, kinds={"a_of": INTEGER})
def matmul(
    a: Array,
    b: Array,
    bias: Array | None = None,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    activation: str = "identity",
    a_activation: str = "identity",
    a_of: Array | None = None,
) -> Array:
    """Return ``activation(a @ b + bias)`` for matrices or stacks of matrices.

    Parameters
    ----------
    a : array of shape (..., N, D), float32 or float64
        Left factors; (..., D, N) with `transpose_a`, (G, N, D) with `a_of`.
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
    a_activation : str, default="identity"
        The activation that `a` is the output of. The product does not depend on it, but the
        gradient in `a` that the backward returns is then that before it. Its derivative has to be
        elementwise and to need only the output, so it can be any but a softmax.
    a_of : integer array of shape (...), default=None
        Which of the left factors each model takes, from 0 to G - 1: model m multiplies
        ``a[a_of[m]]``. So models that share their inputs need no copies of them. It cannot go with
        `transpose_a`.

    Returns
    -------
    y : array of shape (..., N, K)
        On a GPU `a_of` is not checked beforehand, as the host would have to wait for it. Instead a
        model whose left factor does not exist gets NaN, as do its gradients.

    Raises
    ------
    ValueError
        If the shapes do not fit, an activation cannot be fused, or `a_of` is out of range, on the
        CPU.
    """
    reversible_activation(a_activation)
    if a_of is not None:
        a = a[chosen(a_of, a, transpose_a)]
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


def chosen(a_of: Array, a: Array, transpose_a: bool) -> Array:
    """Return `a_of` after checking it against `a`: all of it on the CPU, its kind on a GPU."""
    if a.ndim != 3 or transpose_a:
        raise ValueError(
            f"matmul: with a_of, a must be of shape (G, N, D) and not transposed, got shape "
            f"{a.shape} and transpose_a={transpose_a}"
        )
    if a_of.dtype.kind not in "iu":
        raise TypeError(f"matmul: a_of must be an array of integers, got {a_of.dtype}")
    if a_of.size and not len(a):
        raise ValueError("matmul: a_of chooses among no left factors, as a is empty")
    if namespace(a) is np:
        check_integers("matmul", "a_of", a_of, len(a), "left factors")
    return a_of


def sum_chosen(da: Array, a_of: Array, a: Array) -> Array:
    """Sum the gradients of each model over the models that share one of the left factors."""
    total = namespace(a).zeros_like(a)
    namespace(a).add.at(total, a_of, da)
    return total


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
    a_activation: str = "identity",
    a_of: Array | None = None,
    needs: tuple[str, ...] = ("a", "b", "bias"),
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of `matmul` in `a`, `b` and `bias`.

    Parameters
    ----------
    dy, y : array of shape (..., N, K)
        Gradient in the output, and the output.
    a, b, bias, transpose_a, transpose_b, activation, a_activation, a_of
        As given to `matmul`.
    needs : tuple of str, default=("a", "b", "bias")
        The gradients to compute.

    Returns
    -------
    da, db, dbias : arrays of the shapes of `a`, `b`, `bias`, or None where not needed
        `da` is the gradient before `a_activation`. With `a_of`, the gradients of models that share
        a left factor are added up in the order of the models.
    """
    matmul_ = namespace(a).matmul
    slope = reversible_activation(a_activation).backward
    given = a
    if a_of is not None:
        a = given[chosen(a_of, a, transpose_a)]
    dz = fused_activation(activation).backward(dy, y)
    da = db = dbias = None
    if "a" in needs:
        right = b if transpose_b else b.swapaxes(-1, -2)
        da = matmul_(dz, right)
        da = sum_to(da.swapaxes(-1, -2) if transpose_a else da, a.shape)
        da = slope(da if a_of is None else sum_chosen(da, a_of, given), given)
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
