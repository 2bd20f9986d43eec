"""Activation functions and their derivatives; all but the two softmaxes are elementwise.

Every forward takes `x` of any shape, float32 or float64, and returns an array of that shape and
dtype. A backward takes `dy`, the gradient of the loss in the output, and either the input `x` or
the output `y`, whichever makes the derivative simpler; it returns the gradient in `x`. An
activation whose backward needs only `y` can be fused into a matrix product
(`matmul(..., activation=...)`), which then never stores its pre-activation. The others, such as
gelu, fall and then rise, so their `y` does not determine `x`.

`ACTIVATIONS`, at the end, is the table of them all. The exports of `cukernels`, the kernels, the
epilogues of products, the estimators, the conversion to ONNX and the tests are derived from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from cukernels.activations.activation import Activation, node
from cukernels.runtime.arrays import Array, namespace, special
from cukernels.runtime.op import op

# What `cukernels` exports. The names are written out because type checkers cannot evaluate a table.
__all__ = [
    "identity", "identity_backward", "logistic", "logistic_backward", "tanh", "tanh_backward",
    "relu", "relu_backward", "leaky_relu", "leaky_relu_backward", "elu", "elu_backward", "gelu",
    "gelu_backward", "silu", "silu_backward", "softplus", "softplus_backward", "mish",
    "mish_backward", "hardswish", "hardswish_backward", "softmax", "softmax_backward",
    "log_softmax", "log_softmax_backward",
]  # fmt: skip

_SLOPE, _ALPHA = 0.01, 1.0  # the defaults of leaky_relu and elu
_SQRT_HALF = np.sqrt(0.5).item()
_SEVERAL = 2**15  # zeros that stay in the cache beside what is compared with them


def _values(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    yield {"x": 3 * rng.standard_normal((4, 5, 7))}
    yield {"x": rng.standard_normal(129)}  # not a multiple of a block or a vector
    # both tails, and both sides of every kink
    yield {"x": np.array([[-80.0, -3.001, -2.999, -1e-3, 1e-3, 2.999, 3.001, 80.0]])}
    yield {"x": rng.standard_normal(1)}
    yield {"x": rng.standard_normal((0, 3))}


def _rows(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    yield {"x": 3 * rng.standard_normal((4, 5, 7))}
    yield {"x": rng.standard_normal((1, 1))}  # one class: the answer is a constant
    yield {"x": rng.standard_normal((0, 3))}
    yield {"x": 1e3 + rng.standard_normal((2, 33))}  # exp overflows unless the maximum is taken off


@op(samples=_values)
def identity(x: Array) -> Array:
    """Return `x` itself."""
    return x


@op(gradients=("x",))
def identity_backward(dy: Array, y: Array) -> Array:
    """Return `dy` itself. `y` is not read; it is taken so that all backwards are called alike."""
    return dy


@op(samples=_values)
def logistic(x: Array) -> Array:
    """Logistic sigmoid, ``1 / (1 + exp(-x))``."""
    xp = namespace(x)
    e = xp.exp(-xp.abs(x))  # never above 1, so neither branch can overflow
    return xp.where(x >= 0, 1 / (1 + e), e / (1 + e))


@op(gradients=("x",))
def logistic_backward(dy: Array, y: Array) -> Array:
    """Gradient of `logistic` in its input, ``dy * y * (1 - y)``."""
    return dy * y * (1 - y)


@op(samples=_values)
def tanh(x: Array) -> Array:
    """Hyperbolic tangent."""
    return namespace(x).tanh(x)


@op(gradients=("x",))
def tanh_backward(dy: Array, y: Array) -> Array:
    """Gradient of `tanh` in its input, ``dy * (1 - y**2)``."""
    return dy * (1 - y * y)


@op(samples=_values)
def relu(x: Array) -> Array:
    """Rectified linear unit, ``max(x, 0)`` (Nair and Hinton, ICML 2010)."""
    return namespace(x).maximum(x, 0)


def rectify(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Write the positive part of a NumPy array to `out`, which may be `x` itself."""
    # NumPy's maximum of an array and a scalar is not vectorised, and half as fast. With zeros for
    # several short rows it goes through all of them at once.
    rows = x.shape[-2:]
    return np.maximum(x, _zeros(rows if prod(rows) <= _SEVERAL else rows[-1:], x.dtype), out=out)


@lru_cache(maxsize=8)
def _zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Zeros that are kept for the next array of such rows."""
    return np.zeros(shape, dtype)


@op(gradients=("x",))
def relu_backward(dy: Array, y: Array) -> Array:
    """Gradient of `relu` in its input; the slope at 0 is 0."""
    return dy * (y > 0)


@op(samples=_values)
def leaky_relu(x: Array, *, negative_slope: float = _SLOPE) -> Array:
    """Leaky rectifier, ``x`` above 0 and ``negative_slope * x`` below (Maas et al., ICML 2013)."""
    return namespace(x).where(x > 0, x, negative_slope * x)


@op(gradients=("x",))
def leaky_relu_backward(dy: Array, y: Array, *, negative_slope: float = _SLOPE) -> Array:
    """Gradient of `leaky_relu` in its input, for a positive `negative_slope`."""
    return namespace(y).where(y > 0, dy, negative_slope * dy)


@op(samples=_values)
def elu(x: Array, *, alpha: float = _ALPHA) -> Array:
    """Exponential linear unit (Clevert et al., arXiv:1511.07289).

    ``x`` above 0 and ``alpha * (exp(x) - 1)`` below.
    """
    xp = namespace(x)
    return xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0)))


@op(gradients=("x",))
def elu_backward(dy: Array, y: Array, *, alpha: float = _ALPHA) -> Array:
    """Gradient of `elu` in its input: below 0 its slope is ``y + alpha``."""
    return namespace(y).where(y > 0, dy, dy * (y + alpha))


@op(samples=_values)
def gelu(x: Array) -> Array:
    """Gaussian error linear unit, ``x * Phi(x)`` (Hendrycks and Gimpel, arXiv:1606.08415).

    Phi is the standard normal distribution function, not its tanh approximation.
    """
    # erfc keeps its relative accuracy in the left tail, where 1 + erf(x) cancels
    return 0.5 * x * special(x).erfc(x * -_SQRT_HALF)


@op(gradients=("x",))
def gelu_backward(dy: Array, x: Array) -> Array:
    """Gradient of `gelu` in its input, ``dy * (Phi(x) + x * phi(x))``."""
    xp = namespace(x)
    distribution = 0.5 * special(x).erfc(x * -_SQRT_HALF)
    density = xp.exp(-0.5 * x * x) * (1 / np.sqrt(2 * np.pi).item())
    return dy * (distribution + x * density)


@op(samples=_values)
def silu(x: Array) -> Array:
    """Sigmoid linear unit, ``x * logistic(x)`` (Elfwing et al., arXiv:1702.03118)."""
    return x * logistic(x)


@op(gradients=("x",))
def silu_backward(dy: Array, x: Array) -> Array:
    """Gradient of `silu` in its input, ``dy * s * (1 + x * (1 - s))`` with ``s = logistic(x)``."""
    s = logistic(x)
    return dy * s * (1 + x * (1 - s))


@op(samples=_values)
def softplus(x: Array) -> Array:
    """Smooth rectifier, ``log(1 + exp(x))`` (Dugas et al., NIPS 2000)."""
    xp = namespace(x)
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


@op(gradients=("x",))
def softplus_backward(dy: Array, y: Array) -> Array:
    """Gradient of `softplus` in its input: its slope, logistic(x), is ``1 - exp(-y)``."""
    return dy * -namespace(y).expm1(-y)


@op(samples=_values)
def mish(x: Array) -> Array:
    """Mish, ``x * tanh(softplus(x))`` (Misra, arXiv:1908.08681)."""
    return x * namespace(x).tanh(softplus(x))


@op(gradients=("x",))
def mish_backward(dy: Array, x: Array) -> Array:
    """Gradient of `mish` in its input, ``dy * (t + x * t')`` with ``t = tanh(softplus(x))``.

    With ``exp(x) = p / q`` it is ``t = (p**2 + 2 p q) / (p**2 + 2 p q + 2 q**2)``.
    """
    # In this form all terms of t and t' are positive, so nothing cancels, as in 1 - t**2 it would.
    xp = namespace(x)
    p, q = xp.exp(xp.minimum(x, 0)), xp.exp(-xp.maximum(x, 0))  # never above 1: no overflow
    numerator = p * (p + 2 * q)
    denominator = numerator + 2 * q * q
    slope = 4 * p * (p + q) * q * q / (denominator * denominator)
    return dy * (numerator / denominator + x * slope)


@op(samples=_values)
def hardswish(x: Array) -> Array:
    """Hard swish, ``x * min(max(x + 3, 0), 6) / 6`` (Howard et al., arXiv:1905.02244)."""
    xp = namespace(x)  # the factor x is clipped too, as -inf * 0 is NaN
    return xp.maximum(x, -3) * (xp.clip(x + 3, 0, 6) / 6)


@op(gradients=("x",))
def hardswish_backward(dy: Array, x: Array) -> Array:
    """Gradient of `hardswish` in its input; at the kinks the slope is 0 (at -3) and 1 (at 3)."""
    xp = namespace(x)
    return dy * xp.where(x <= -3, 0, xp.where(x >= 3, 1, (x + 1.5) / 3))


@op(samples=_rows)
def softmax(x: Array) -> Array:
    """Softmax over the last axis, ``exp(x) / sum(exp(x))``.

    Parameters
    ----------
    x : array of shape (..., K), float32 or float64
        Scores of K classes.
    """
    xp = namespace(x)
    if x.shape[-1:] == (0,):
        return x.copy()
    e = xp.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@op(gradients=("x",))
def softmax_backward(dy: Array, y: Array) -> Array:
    """Gradient of `softmax` in its input, ``y * (dy - sum(dy * y))``."""
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


@op(samples=_rows)
def log_softmax(x: Array) -> Array:
    """Logarithm of the softmax over the last axis, ``x - log(sum(exp(x)))``."""
    xp = namespace(x)
    if x.shape[-1:] == (0,):
        return x.copy()
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - xp.log(xp.exp(shifted).sum(axis=-1, keepdims=True))


@op(gradients=("x",))
def log_softmax_backward(dy: Array, y: Array) -> Array:
    """Gradient of `log_softmax` in its input, ``dy - exp(y) * sum(dy)``."""
    return dy - namespace(y).exp(y) * dy.sum(axis=-1, keepdims=True)


ACTIVATIONS: dict[str, Activation] = {
    entry.name: entry
    for entry in (
        Activation(identity, identity_backward, "Identity", "x", never_decreases=True),
        Activation(
            logistic, logistic_backward, "Logistic", node("Sigmoid", "x"), never_decreases=True
        ),
        Activation(tanh, tanh_backward, "Tanh", node("Tanh", "x"), never_decreases=True),
        Activation(relu, relu_backward, "Relu", node("Relu", "x"), never_decreases=True),
        Activation(
            leaky_relu,
            leaky_relu_backward,
            "LeakyRelu",
            node("PRelu", "x", _SLOPE),
            never_decreases=True,
        ),
        Activation(elu, elu_backward, "Elu", node("Elu", "x", alpha=_ALPHA), never_decreases=True),
        Activation(
            gelu,
            gelu_backward,
            "Gelu",
            node(
                "Mul",
                node("Mul", "x", 0.5),
                node("Add", node("Erf", node("Mul", "x", _SQRT_HALF)), 1.0),
            ),
        ),
        Activation(silu, silu_backward, "Silu", node("Mul", "x", node("Sigmoid", "x"))),
        Activation(
            softplus, softplus_backward, "Softplus", node("Softplus", "x"), never_decreases=True
        ),
        Activation(mish, mish_backward, "Mish", node("Mish", "x")),
        Activation(
            hardswish,
            hardswish_backward,
            "Hardswish",
            node("Mul", "x", node("Div", node("Clip", node("Add", "x", 3.0), 0.0, 6.0), 6.0)),
        ),
        Activation(softmax, softmax_backward, "Softmax", node("Softmax", "x", axis=-1), True),
        Activation(
            log_softmax, log_softmax_backward, "LogSoftmax", node("LogSoftmax", "x", axis=-1), True
        ),
    )
}


FUSED_ACTIVATIONS = [name for name, a in ACTIVATIONS.items() if not a.reads_input]


def fused_activation(name: str) -> Activation:
    """Return an activation that can be fused into a product, as its backward reads only `y`.

    Raises
    ------
    ValueError
        If there is no such activation of that name.
    """
    if name not in FUSED_ACTIVATIONS:
        raise ValueError(
            f"activation {name!r} cannot be fused into a product: "
            f"expected one of {FUSED_ACTIVATIONS}"
        )
    return ACTIVATIONS[name]
