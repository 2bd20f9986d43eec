"""What the arguments of an op have to be, read from its docstring.

`x : array of shape (..., N, K)` is text for people, and here it is the rule that arguments are held
to. A letter has one value in a call. `...` and `*stack` are any number of axes, which broadcast.
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


_ENTRY = re.compile(r"^(\w+(?:, \w+)*) : (.*(?:\n    .*)*)", re.MULTILINE)


_SHAPES = re.compile(r"\([^()]*\)|(?<=of shape )\w+")


_TRANSPOSED = re.compile(r"(\([^()]*\)) with\s+`(\w+)`")


_NUMBERS = {
    "float": Real,
    "int": Integral,
    "bool": bool | np.bool_ | int,
    "str": str,
    "tuple": tuple | list,
}


ANY_SHAPE: Shape = ("*shape",)


class Rule(NamedTuple):
    """What one argument has to be.

    Attributes
    ----------
    shapes : tuple of Shape
        One of these; none where it is no array or may have any shape.
    is_array : bool
        Whether it may be an array; of which dtype, `_dtypes` says.
    broadcasts : bool
        Whether it may be smaller than the shape.
    optional : bool
        Whether it may be None.
    extent : int
        How its leading axes go with those of the others: it is updated, or is one number a model,
        and has the same as all such (0); they broadcast to what all have in common (1), or to what
        the others have (2); or they are what the others have in common (3).
    number : type, default=None
        What it may be instead of an array.
    flag : (str, Shape), default=None
        An argument that, where it is true, gives it another shape.
    like : str, default=""
        The argument whose shape it has.
    """

    shapes: tuple[Shape, ...]
    is_array: bool = True
    broadcasts: bool = False
    optional: bool = False
    extent: int = 1
    number: Any = None
    flag: tuple[str, Shape] | None = None
    like: str = ""


@functools.cache
def rules_of(entry: Op) -> dict[str, Rule]:
    """The rules of the arguments; what the docstring leaves to another op's is read there."""
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
        if entry.is_backward and name in ("x", "y") and name not in known:  # it is elementwise
            known[name] = Rule((), like="dy")
        if name not in known and (number := _NUMBERS.get(_annotation(entry, name))):
            known[name] = Rule((), is_array=False, number=number)
        if name in known:
            optional = name in defaults and defaults[name] is None
            leads = entry.gradients if not entry.is_backward else ()  # of a loss
            follows = optional or known[name].broadcasts or (leads and name not in leads)
            exact = name in entry.mutates or known[name].extent == 0
            extent = 0 if exact else 3 if name in outputs else 2 if follows else 1
            known[name] = known[name]._replace(optional=optional, extent=extent)
    return known


def _defaults(entry: Op) -> dict[str, Any]:
    """What arguments are where they are left out, also by the op whose backward this is."""
    found: dict[str, Any] = {}
    for source in (entry.forward, entry):
        if source is not None:
            parameters = inspect.signature(source.reference).parameters.values()
            found |= {p.name: p.default for p in parameters if p.default is not p.empty}
    return found


def _annotation(entry: Op, name: str) -> str:
    return str(inspect.signature(entry.reference).parameters[name].annotation)


def _sources(entry: Op) -> Iterator[Op]:
    """The op, the one whose backward it is, and those that their docstrings name."""
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
    for names, text in _ENTRY.findall(inspect.cleandoc(function.__doc__ or "")):
        yield from _read(names.split(", "), text)


def _read(names: list[str], text: str) -> Iterator[tuple[str, Rule]]:
    """The rules of arguments described together."""
    head = text.partition("\n")[0]
    kind = re.match(r"(?:(?:integer|uint64|bool) )?arrays? (of|that) ", head)
    if kind is None:
        number = next((n for word, n in _NUMBERS.items() if re.match(rf"{word}\b", head)), None)
        if number is not None and not re.match(r"int(?:,| or) \(", head):  # windows say it better
            yield from ((name, Rule((), is_array=False, number=number)) for name in names)
        return
    if "of the shape of" in head:
        like = re.findall(r"`(\w+)`", head)[0]
        yield from ((name, Rule(((),), like=like)) for name in names)
        return
    shapes = [_axes(shape) for shape in _SHAPES.findall(head)]
    is_stack = "of shape stack" in head
    turned = _TRANSPOSED.search(text)
    common = Rule(
        tuple(shapes),
        broadcasts=kind[1] == "that",
        extent=0 if is_stack else 1,
        number=Real if "or float" in head.replace("float32 or float64", "") else None,
        flag=(turned[2], _axes(turned[1])) if turned else None,
    )
    one_each = len(names) == len(shapes) > 1
    for i, name in enumerate(names):
        yield name, common._replace(shapes=(shapes[i],)) if one_each else common


def _axes(text: str) -> Shape:
    """`(..., N, K)` as its parts; `stack` alone is the stack of models."""
    if not text.startswith("("):
        return (f"*{text}",)
    return tuple(part.strip() for part in text[1:-1].split(",") if part.strip())
