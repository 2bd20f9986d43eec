"""The registry of ops: what each one means, and the bodies that compute it.

An op is a plain function whose text is its definition, in array code that runs on NumPy and CuPy
alike. Beside that reference it may have a faster NumPy body and a CUDA body: functions of the same
name, for an op of `conv.py` in `conv_numpy.py` and in `conv_cuda.py`. These files are imported when
an op first needs them. `tests/test_ops.py` walks the registry and holds every body to the
reference, and every backward to the slope of its forward.
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
        The definition, in array code.
    samples : callable or None
        Given a random generator, yields keyword arguments in float64 to call the op with.
        A backward has none: its arguments come from the samples of its forward.
    outputs : tuple of str
        Names of what the forward returns; the first is what `dy` belongs to.
    gradients : tuple of str
        For a backward, the arguments of the forward whose gradients it returns, in order. For a
        loss, which returns value and gradient in one pass, the arguments whose gradients follow
        the value.
    mutates : tuple of str
        Arguments that are updated in place.
    no_backward : str
        Why the op has no backward, where it has none.
    kinds : dict
        The dtypes of the arguments that may be arrays.
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
        """Return the function of this name from the file for bodies of a kind, if there is one."""
        module = f"{self.reference.__module__}_{kind}"
        if importlib.util.find_spec(module) is None:
            return None
        body = getattr(importlib.import_module(module), self.name, None)
        is_own = body is not None and body.__module__ == module  # else an op that a body calls
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
        """The op whose backward this is."""
        return OPS.get(self.name.removesuffix("_backward")) if self.is_backward else None

    def body(self, first: Array) -> Callable[..., Any]:
        """The body that computes it for a first argument like this."""
        if type(first) is np.ndarray or namespace(first) is np:
            return self.numpy or self.reference
        return self.cuda or self.reference

    @property
    def backward(self) -> Op | None:
        """The backward of this op, if it has one."""
        return OPS.get(f"{self.name}_backward")


OPS: dict[str, Op] = {}
