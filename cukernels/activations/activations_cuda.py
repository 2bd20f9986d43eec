"""CUDA bodies of the activations, which launch the kernels of `activations.cu`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

from cukernels.runtime import elementwise, rows
from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.kernel import Kernel, contiguous, ctype

_TYPES = ("float", "double")
_FUNCTORS = {
    "logistic": "Logistic",
    "tanh": "Tanh",
    "relu": "Relu",
    "leaky_relu": "LeakyRelu",
    "elu": "Elu",
    "gelu": "Gelu",
    "silu": "Silu",
    "softplus": "Softplus",
}
_DEFAULTS = {"leaky_relu": 0.01, "elu": 1.0}  # of the one parameter that they have
_ROW_FUNCTORS = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}

_INSTANCES = list(product(_TYPES, _FUNCTORS.values()))
_FORWARD = Kernel("activations.cu", "activation", _INSTANCES)
_BACKWARD = Kernel("activations.cu", "activation_backward", _INSTANCES)
_ROW_INSTANCES = list(product(_TYPES, _ROW_FUNCTORS.values(), rows.LANES))
_ROWS = Kernel("activations.cu", "row_function", _ROW_INSTANCES)
_ROWS_BACKWARD = Kernel("activations.cu", "row_function_backward", _ROW_INSTANCES)


def identity(x: Array) -> Array:
    return x


def identity_backward(dy: Array, y: Array) -> Array:
    return dy


def _elementwise_bodies(name: str, functor: str) -> tuple[Callable[..., Array], ...]:
    """The bodies of an activation and of its backward."""
    default = _DEFAULTS.get(name, 0.0)

    def forward(x: Array, **parameter: Any) -> Array:
        x = contiguous(x)
        y = namespace(x).empty(x.shape, x.dtype)
        (value,) = parameter.values() or (default,)
        grid = (elementwise.blocks(x, x.size), 1, 1)
        _FORWARD[ctype(x), functor](grid, elementwise.THREADS, x, y, x.size, value)
        return y

    def backward(
        dy: Array, y: Array | None = None, x: Array | None = None, **parameter: Any
    ) -> Array:
        dy, seen = contiguous(dy), contiguous(x if y is None else y)
        dx = namespace(dy).empty(dy.shape, dy.dtype)
        (value,) = parameter.values() or (default,)
        grid = (elementwise.blocks(dy, dy.size), 1, 1)
        instance = _BACKWARD[ctype(dy), functor]
        instance(grid, elementwise.THREADS, dy, seen, dx, dy.size, value)
        return dx

    return forward, backward


def _row_bodies(functor: str) -> tuple[Callable[..., Array], ...]:
    """The bodies of a function of rows and of its backward."""

    def forward(x: Array) -> Array:
        x = contiguous(x)
        y = namespace(x).empty(x.shape, x.dtype)
        n, k = (x.size // x.shape[-1], x.shape[-1]) if x.size else (0, 0)
        lanes = rows.lanes(k)
        grid = (rows.blocks(x, n, lanes), 1, 1)
        _ROWS[ctype(x), functor, str(lanes)](grid, rows.THREADS, x, y, n, k)
        return y

    def backward(dy: Array, y: Array) -> Array:
        dy, y = contiguous(dy), contiguous(y)
        dx = namespace(dy).empty(dy.shape, dy.dtype)
        n, k = (y.size // y.shape[-1], y.shape[-1]) if y.size else (0, 0)
        lanes = rows.lanes(k)
        grid = (rows.blocks(y, n, lanes), 1, 1)
        _ROWS_BACKWARD[ctype(y), functor, str(lanes)](grid, rows.THREADS, dy, y, dx, n, k)
        return dx

    return forward, backward


def _bodies() -> Iterator[tuple[str, Callable[..., Array]]]:
    """All bodies, each by the name of its op."""
    for name, functor in _FUNCTORS.items():
        yield from zip((name, f"{name}_backward"), _elementwise_bodies(name, functor), strict=True)
    for name, functor in _ROW_FUNCTORS.items():
        yield from zip((name, f"{name}_backward"), _row_bodies(functor), strict=True)


globals().update(_bodies())  # where the registry looks for them
