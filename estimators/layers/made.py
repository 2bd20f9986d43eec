"""What a layer makes in a training step on a GPU, for estimates of the memory that a fit needs."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np


class StepSize(NamedTuple):
    """What a layer is told of a step.

    Attributes
    ----------
    models, rows : int
        The models, and the rows of each.
    dtype : dtype
        The type of what is computed.
    device : str
        A GPU, as "cuda:0".
    sorted : int, default=0
        Bytes that it takes to sort the entries of sparse samples, for the first layer's backward.
    is_first : bool, default=False
        Whether nobody wants the gradient in the input.
    is_before : bool, default=False
        Whether the gradient that comes back is that before the activation.
    """

    models: int
    rows: int
    dtype: np.dtype
    device: str
    sorted: int = 0
    is_first: bool = False
    is_before: bool = False

    @property
    def itemsize(self) -> int:
        """The bytes of a value."""
        return self.dtype.itemsize

    def bytes(self, shape: tuple[int, ...]) -> int:
        """Return the bytes of an array with a sample of this shape for each row."""
        return self.models * self.rows * prod(shape) * self.itemsize

    def gradient(self, shape: tuple[int, ...]) -> int | None:
        """Return the bytes of the gradient in inputs of this shape; None if nobody wants it."""
        return None if self.is_first else self.bytes(shape)


class Made(NamedTuple):
    """The arrays that a layer makes beside its output, each by its bytes.

    Attributes
    ----------
    gradient : int or None
        The gradient in the input; None if there is none, or no new one.
    holds_input, holds_output : bool
        Which of them are held for the way back.
    kept : tuple of int, default=()
        What else is held.
    forward, backward : tuple of int, default=()
        What is gone after each.
    """

    gradient: int | None
    holds_input: bool = True
    holds_output: bool = False
    kept: tuple[int, ...] = ()
    forward: tuple[int, ...] = ()
    backward: tuple[int, ...] = ()
