"""Stacks of models: the leading axes of arrays, over which an op broadcasts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cukernels.runtime.arrays import Array


def sum_to(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Sum the gradient of a broadcast argument back to the argument's own shape."""
    extra = gradient.ndim - len(shape)
    if extra:
        gradient = gradient.sum(axis=tuple(range(extra)))
    spread = tuple(i for i, n in enumerate(shape) if n == 1 and gradient.shape[i] != 1)
    return gradient.sum(axis=spread, keepdims=True) if spread else gradient


def broadcast_stack(*arrays: tuple[Array, int]) -> tuple[int, ...]:
    """The common leading axes of arrays, each given with the number of a model's own axes."""
    return np.broadcast_shapes(*(a.shape[: a.ndim - own] for a, own in arrays))


def models(
    stack: tuple[int, ...], *arrays: tuple[Array, int]
) -> Iterator[tuple[tuple[int, ...], list[Array]]]:
    """Walk the models of a stack: the index of each, and its own slice of every array."""
    spread = [np.broadcast_to(a, stack + a.shape[a.ndim - own :]) for a, own in arrays]
    for m in np.ndindex(stack):
        yield m, [a[m] for a in spread]


def users(
    own: tuple[int, ...], stack: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], list[tuple[int, ...]]]]:
    """Walk an array with the leading axes `own`: each index, and the models that share it."""
    numbers = np.broadcast_to(np.arange(np.prod(own, dtype=int)).reshape(own), stack)
    for number, index in enumerate(np.ndindex(own)):
        yield index, [m for m in np.ndindex(stack) if numbers[m] == number]
