"""The rules that arguments of an op must obey, read from its docstring.

`x : array of shape (..., N, K)` is documentation, and it is also the rule that the argument `x` is
checked against. A letter has one value throughout a call. `...` and `*stack` stand for any number
of axes, which broadcast.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from cukernels.runtime.registry import OPS, Op

Shape = tuple[str, ...]  # as ("...", "N", "K")
ANY_SHAPE: Shape = ("*shape",)

# How the leading axes of an argument go with those of the others, see `Rule.leading`.
EXACT, JOINS, FOLLOWS, OUTPUT = range(4)

# An entry of the section "Parameters": names, and the lines of the type and of the description.
_ENTRY = re.compile(r"^(\w+(?:, \w+)*) : (.*(?:\n    .*)*)", re.MULTILINE)

_SHAPES = re.compile(r"\([^()]*\)|(?<=of shape )\w+")  # "(..., N, K)", or "stack"
_WITH = re.compile(r"(\([^()]*\)) with\s+`(\w+)`")  # "(..., D, N) with `transpose_a`"
_NUMBERS = {
    "float": Real,
    "int": Integral,
    "bool": bool | np.bool_ | int,
    "str": str,
    "tuple": tuple | list,
}


class Rule(NamedTuple):
    """What one argument has to be.

    Attributes
    ----------
    shapes : tuple of Shape
        The shapes that it may have; empty if it is not an array or may have any shape.
    is_array : bool
        Whether it may be an array. `dtypes.py` checks its dtype.
    broadcasts : bool
        Whether it may be smaller than the shape, if it broadcasts to it.
    optional : bool
        Whether it may be None.
    leading : int
        How its leading axes (the stack of models) go with those of the other arguments. EXACT: they
        are the same as those of all such arguments, as it is updated in place or holds one number
        for each model. JOINS: they broadcast with those of the others. FOLLOWS: they broadcast to
        those of the others and add none. OUTPUT: they are what all the others broadcast to.
    number : type, default=None
        The type of number that it may be instead of an array.
    flags : tuple of (str, Shape)
        Other arguments, and the shape of this one where one of them is given and not False.
    like : str, default=""
        The argument that it has the same shape as.
    """

    shapes: tuple[Shape, ...]
    is_array: bool = True
    broadcasts: bool = False
    optional: bool = False
    leading: int = JOINS
    number: Any = None
    flags: tuple[tuple[str, Shape], ...] = ()
    like: str = ""


@functools.cache
def rules_of(entry: Op) -> dict[str, Rule]:
    """The rules of an op's arguments, also from the docstrings that its own refers to."""
    known: dict[str, Rule] = {}
    for source in _sources(entry):
        documented = dict(_documented(source.reference))
        if source is not entry and entry.is_backward and documented.keys() & source.outputs[:1]:
            documented.setdefault("dy", documented[source.outputs[0]])
        known = documented | known
    first, *others = entry.parameters
    known.setdefault(first, Rule((ANY_SHAPE,)))
    outputs = {"dy", *(entry.forward.outputs if entry.forward else ())}
    defaults = _defaults(entry)
    for name in (first, *others):
        if entry.is_backward and name in ("x", "y") and name not in known:  # elementwise ops
            known[name] = Rule((), like="dy")
        if name not in known and (number := _NUMBERS.get(_annotation(entry, name))):
            known[name] = Rule((), is_array=False, number=number)
        if name in known:
            optional = name in defaults and defaults[name] is None
            # A loss is an op with gradients that is no backward: its targets follow its scores.
            leads = entry.gradients if not entry.is_backward else ()
            follows = optional or known[name].broadcasts or (leads and name not in leads)
            exact = name in entry.mutates or known[name].leading == EXACT
            leading = (
                EXACT if exact else OUTPUT if name in outputs else FOLLOWS if follows else JOINS
            )
            known[name] = known[name]._replace(optional=optional, leading=leading)
    return known


def _defaults(entry: Op) -> dict[str, Any]:
    """The default values of arguments, for a backward also those of its forward."""
    found: dict[str, Any] = {}
    for source in (entry.forward, entry):
        if source is not None:
            parameters = inspect.signature(source.reference).parameters.values()
            found |= {p.name: p.default for p in parameters if p.default is not p.empty}
    return found


def _annotation(entry: Op, name: str) -> str:
    return str(inspect.signature(entry.reference).parameters[name].annotation)


def _sources(entry: Op) -> Iterator[Op]:
    """The op, its forward if it is a backward, and all ops that their docstrings name."""
    forward = [entry.forward] if entry.is_backward and entry.forward else []
    seen: list[Op] = []
    waiting = [entry, *forward]
    while waiting:
        source = waiting.pop(0)
        if source in seen:
            continue
        seen.append(source)
        named = re.findall(r"`(\w+)`", source.reference.__doc__ or "")
        waiting += [OPS[name] for name in named if name in OPS]
    return iter(seen)


def _documented(function: Callable[..., Any]) -> Iterator[tuple[str, Rule]]:
    """Yield each argument that a docstring describes, with its rule."""
    for names, text in _ENTRY.findall(inspect.cleandoc(function.__doc__ or "")):
        yield from _read(names.split(", "), text)


def _read(names: list[str], text: str) -> Iterator[tuple[str, Rule]]:
    """Yield the rules of arguments that share one entry of a docstring."""
    head = text.partition("\n")[0]
    kind = re.match(r"(?:(?:integer|uint64|bool) )?arrays? (of|that) ", head)
    if kind is None:
        number = next((n for word, n in _NUMBERS.items() if re.match(rf"{word}\b", head)), None)
        # "int or (int, int)" is left to images/windows.py, which has the better message
        if number is not None and not re.match(r"int(?:,| or) \(", head):
            yield from ((name, Rule((), is_array=False, number=number)) for name in names)
        return
    if "of the shape of" in head:
        like = re.findall(r"`(\w+)`", head)[0]
        yield from ((name, Rule(((),), like=like)) for name in names)
        return
    shapes = [_axes(shape) for shape in _SHAPES.findall(head)]
    is_stack = "of shape stack" in head
    common = Rule(
        tuple(shapes),
        broadcasts=kind[1] == "that",
        leading=EXACT if is_stack else JOINS,
        number=Real if "or float" in head.replace("float32 or float64", "") else None,
        flags=tuple((flag, _axes(shape)) for shape, flag in _WITH.findall(text)),
    )
    one_each = len(names) == len(shapes) > 1
    for i, name in enumerate(names):
        yield name, common._replace(shapes=(shapes[i],)) if one_each else common


def _axes(text: str) -> Shape:
    """Split "(..., N, K)" into its axes; the word "stack" stands for the stack of models."""
    if not text.startswith("("):
        return (f"*{text}",)
    return tuple(part.strip() for part in text[1:-1].split(",") if part.strip())
