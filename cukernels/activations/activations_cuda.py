"""CUDA bodies of the activations, which launch the kernels of `activations.cu`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

from cukernels.activations.activation import Activation
from cukernels.activations.activations import ACTIVATIONS
from cukernels.gpu import elementwise, rows
from cukernels.gpu.kernel import Kernel, contiguous, ctype
from cukernels.runtime.arrays import Array, namespace

_TYPES = ("float", "double")
_ELEMENTWISE = [a for a in ACTIVATIONS.values() if not (a.of_rows or a.name == "identity")]
_OF_ROWS = [a for a in ACTIVATIONS.values() if a.of_rows]

_INSTANCES = [(t, a.functor) for t in _TYPES for a in _ELEMENTWISE]
_FORWARD = Kernel("activations.cu", "activation", _INSTANCES)
_BACKWARD = Kernel("activations.cu", "activation_backward", _INSTANCES)
_ROW_INSTANCES = list(product(_TYPES, [a.functor for a in _OF_ROWS], rows.LANES))
_ROWS = Kernel("activations.cu", "row_function", _ROW_INSTANCES)
_ROWS_BACKWARD = Kernel("activations.cu", "row_function_backward", _ROW_INSTANCES)


def identity(x: Array) -> Array:
    return x


def identity_backward(dy: Array, y: Array) -> Array:
    return dy


def _elementwise_bodies(activation: Activation) -> tuple[Callable[..., Array], ...]:
    """The CUDA bodies of an elementwise activation and of its backward."""
    functor, default = activation.functor, activation.parameter

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
    """The CUDA bodies of an activation of rows and of its backward."""

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
    """Yield all bodies, each with the name of its op."""
    for a in _ELEMENTWISE:
        yield from zip((a.name, f"{a.name}_backward"), _elementwise_bodies(a), strict=True)
    for a in _OF_ROWS:
        yield from zip((a.name, f"{a.name}_backward"), _row_bodies(a.functor), strict=True)


globals().update(_bodies())  # the registry finds a body by its name in this module
