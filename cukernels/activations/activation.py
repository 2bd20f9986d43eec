"""The type of an entry in the table of activations."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, Union

from cukernels.runtime.arrays import Array

Formula: TypeAlias = Union["Node", Literal["x"], float]  # noqa: UP007 (Node is defined below)


@dataclass(frozen=True)
class Node:
    """An operator of ONNX and its inputs, which may be other operators.

    Attributes
    ----------
    operator : str
        The operator's name in ONNX.
    inputs : tuple of Formula
        Each one is another node, "x" for the input of the activation, or a number.
    attributes : dict
        ONNX keeps them in float32. A number that float32 does not hold belongs to the inputs, which
        have the dtype of the model.
    """

    operator: str
    inputs: tuple[Formula, ...]
    attributes: Mapping[str, Any]


def node(operator: str, *inputs: Formula, **attributes: Any) -> Node:
    """Return a `Node`; the call looks like one of the operator."""
    return Node(operator, inputs, attributes)


@dataclass(frozen=True)
class Activation:
    """An entry of the table, from which both packages derive all that they need.

    Attributes
    ----------
    forward, backward : callable
        Two ops, `f` and `f_backward`. The name of `f` is the name of the activation. `f` may have
        one option with a default, such as the slope of `leaky_relu`, and then `f_backward` has the
        same one.
    functor : str
        The struct that computes both on a GPU: of `activations.cuh`, or of `activations.cu` if
        `of_rows`.
    onnx : Formula
        The function in operators of ONNX, for `estimators.convert.to_onnx`.
    of_rows : bool, default=False
        Whether each output depends on the whole row of inputs, as in the softmax.
    never_decreases : bool, default=False
        Whether a larger input has no smaller output, so that it commutes with the maximum.
    """

    forward: Callable[..., Array]
    backward: Callable[..., Array]
    functor: str
    onnx: Formula
    of_rows: bool = False
    never_decreases: bool = False

    @property
    def name(self) -> str:
        """The name that `matmul` and the estimators know it by."""
        return self.forward.__name__

    @functools.cached_property
    def reads_input(self) -> bool:
        """Whether the backward reads `x`. Otherwise it reads only `y`, and can be fused."""
        return "x" in inspect.signature(self.backward).parameters

    @property
    def fits_an_epilogue(self) -> bool:
        """Whether the epilogue of a product's kernel can apply it: element by element, from `y`."""
        return not (self.reads_input or self.of_rows)

    @functools.cached_property
    def parameter(self) -> float:
        """The default of the option, such as a slope; 0 for an activation without one."""
        _, *options = inspect.signature(self.forward).parameters.values()
        return options[0].default if options else 0.0
