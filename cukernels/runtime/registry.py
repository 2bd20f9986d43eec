"""The registry of ops: the definition of each one, and the bodies that compute it.

An op is a plain function whose code is its definition (the reference body); it runs on NumPy and
CuPy arrays alike. It may also have a faster NumPy body and a CUDA body: functions of the same name
in the files beside it. For an op of `conv.py` these are `conv_numpy.py` and `conv_cuda.py`, which
are imported when the op first needs them. `tests/test_ops.py` walks the registry and compares every
body with the reference, and every backward with the slope of its forward.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.dtypes import Kind

Samples = Callable[[np.random.Generator], Iterator[dict[str, Any]]]


@dataclass(eq=False)
class Op:
    """One entry of the registry.

    Attributes
    ----------
    name : str
        The name of the function.
    reference : callable
        The definition, in array code that runs on NumPy and CuPy.
    samples : callable or None
        Takes a random generator and yields keyword arguments, in float64, for calls of the op in
        tests. A backward has none: its arguments follow from the samples of its forward.
    outputs : tuple of str
        Names of what the op returns; `dy` of the backward is the gradient in the first one.
    gradients : tuple of str
        For a backward, the arguments of the forward whose gradients it returns, in order. A loss
        returns its value and gradients in one pass: for it, the arguments that these belong to.
    mutates : tuple of str
        Arguments that are updated in place.
    no_backward : str
        Why the op has no backward; empty if it has one.
    kinds : dict
        The kind of dtypes of each argument that may be an array.
    """

    name: str
    reference: Callable[..., Any]
    samples: Samples | None = None
    outputs: tuple[str, ...] = ("y",)
    gradients: tuple[str, ...] = ()
    mutates: tuple[str, ...] = ()
    no_backward: str = ""
    kinds: Mapping[str, Kind] = field(default_factory=dict)

    @functools.cached_property
    def numpy(self) -> Callable[..., Any] | None:
        """The faster NumPy body, with the signature of the reference, or None."""
        return self._body_beside("numpy")

    @functools.cached_property
    def cuda(self) -> Callable[..., Any] | None:
        """The CUDA body, with the signature of the reference, or None."""
        return self._body_beside("cuda")

    def _body_beside(self, kind: str) -> Callable[..., Any] | None:
        """Return the body from the file with this suffix beside the op's, or None."""
        module = f"{self.reference.__module__}_{kind}"
        if importlib.util.find_spec(module) is None:
            return None
        body = getattr(importlib.import_module(module), self.name, None)
        is_own = (
            body is not None and body.__module__ == module
        )  # an op that the file imports is no body
        return body if is_own else None

    @property
    def parameters(self) -> list[str]:
        """Names of the arguments, in order."""
        return list(inspect.signature(self.reference).parameters)

    @property
    def is_backward(self) -> bool:
        """Whether this is the backward of another op."""
        return self.name.endswith("_backward")

    @property
    def forward(self) -> Op | None:
        """The op whose backward this is, or None."""
        return OPS.get(self.name.removesuffix("_backward")) if self.is_backward else None

    def body(self, first: Array) -> Callable[..., Any]:
        """Return the body for calls whose first argument is of this type."""
        if type(first) is np.ndarray or namespace(first) is np:
            return self.numpy or self.reference
        return self.cuda or self.reference

    @property
    def backward(self) -> Op | None:
        """The backward of this op, or None."""
        return OPS.get(f"{self.name}_backward")


OPS: dict[str, Op] = {}
