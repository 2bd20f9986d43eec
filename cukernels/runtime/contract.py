"""What an op takes, read from its docstring, and what is said to a caller who gives something else.

`x : array of shape (..., N, K)` is text for people, and here it is the rule that arguments are held
to. A letter has one value in a call. `...` and `*stack` are any number of axes, which broadcast.
"""

from __future__ import annotations

import inspect
import opcode
import re
from collections.abc import Callable, Iterator, Mapping
from numbers import Integral, Real
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cukernels.runtime.arrays import Array, namespace

if TYPE_CHECKING:
    from cukernels.runtime.op import Op

Shape = tuple[str, ...]  # as ("...", "N", "K")
Sizes = dict[str, Any]  # what letters and groups of axes stand for in a call

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
_PACKAGE = str(Path(__file__).parent.parent)
_RAISE = opcode.opmap["RAISE_VARARGS"]
_ANY: Shape = ("*shape",)
_UNSIGNED = {np.dtype(c): np.dtype(c.upper()) for c in "bhilq"}


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


def is_in_words(error: BaseException) -> bool:
    """Whether a `raise` of this package made an error, and not a line that stumbled over input."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    code = trace.tb_frame.f_code
    return code.co_filename.startswith(_PACKAGE) and code.co_code[trace.tb_lasti] == _RAISE


def explain(entry: Op, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raise what is wrong with the arguments of a call; return where nothing is found.

    Raises
    ------
    TypeError
        If an argument is no array.
    ValueError
        If shapes do not fit the op, or each other.
    """
    signature = inspect.signature(entry.reference)
    given = signature.bind(*args, **kwargs).arguments
    rules = entry.rules
    xp = namespace(given[entry.parameters[0]])
    arrays = {}
    for name, value in given.items():
        rule = rules.get(name)
        if rule is None or (value is None and rule.optional):
            continue
        if rule.number and isinstance(value, rule.number):
            continue
        if rule.is_array and isinstance(value, np.ndarray | np.generic if xp is np else xp.ndarray):
            arrays[name] = value.shape
            continue
        wanted = f"a {_word(xp)} array" if rule.is_array else ""
        wanted += (" or " if wanted and rule.number else "") + _number_word(rule.number)
        raise TypeError(f"{entry.name}: {name} must be {wanted}, got {_described(value)}")
    choices = {name: _choices(rules, name, given) for name in arrays}
    order = sorted(arrays, key=lambda n: (rules[n].extent, len(choices[n]), n == "dy"))
    alike = all(arrays[name] == arrays.get(rules[name].like, arrays[name]) for name in arrays)
    if not (alike and _fit(order, arrays, choices, rules, {})):
        got = ", ".join(f"{name} {shape}" for name, shape in arrays.items())
        wanted = ", ".join(
            f"{name} like {rules[name].like}"
            if rules[name].like in arrays
            else f"{name} {' or '.join(map(_text, choices[name]))}"
            for name in arrays
        )
        raise ValueError(
            f"{entry.name}: arguments of these shapes do not fit: {got}; expected {wanted}"
        )


def is_within(values: np.ndarray, stop: int) -> bool:
    """Whether all integers are from 0 to `stop` - 1; a look at the largest shows both ends."""
    unsigned = _UNSIGNED.get(values.dtype)  # a negative number is a very large one without a sign
    return values.size == 0 or bool(
        (values if unsigned is None else values.view(unsigned)).max() < stop
    )


def check_integers(op: str, name: str, values: np.ndarray, stop: int, what: str) -> None:
    """Raise unless an array of the host holds integers from 0 to `stop` - 1.

    Raises
    ------
    ValueError
        If one of them is outside; the message names the least or the largest.
    """
    if not is_within(values, stop):
        low = int(values.min())
        found = low if low < 0 else int(values.max())
        raise ValueError(f"{op}: {name} holds {found}, which is none of the {stop} {what}")


# How a docstring is read ---------------------------------------------------------------------


def rules_of(entry: Op) -> dict[str, Rule]:
    """The rules of the arguments; what the docstring leaves to another op's is read there."""
    known: dict[str, Rule] = {}
    for source in _sources(entry):
        documented = dict(_documented(source.reference))
        if source is not entry and entry.is_backward and documented.keys() & source.outputs[:1]:
            documented.setdefault("dy", documented[source.outputs[0]])
        known = documented | known
    first, *others = entry.parameters
    known.setdefault(first, Rule((_ANY,)))
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
    from cukernels.runtime.op import OPS

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


# How shapes are held to it -------------------------------------------------------------------


def _choices(rules: dict[str, Rule], name: str, given: Mapping[str, Any]) -> tuple[Shape, ...]:
    rule = rules[name]
    if rule.like:
        other = rules.get(rule.like)
        return other.shapes if other is not None and not other.like else (_ANY,)
    if rule.flag and given.get(rule.flag[0]):
        return (rule.flag[1],)
    return rule.shapes


def _fit(
    order: list[str],
    arrays: Mapping[str, tuple[int, ...]],
    choices: Mapping[str, tuple[Shape, ...]],
    rules: Mapping[str, Rule],
    sizes: Sizes,
) -> bool:
    """Whether letters and groups can have values with which every array has its shape."""
    if not order:
        return True
    name, *rest = order
    for number, shape in enumerate(choices[name]):
        if len(choices[name]) > 1 and sizes.get("choice", number) != number:
            continue  # with one model, or with several: all arguments alike
        own = sizes | {"choice": number} if len(choices[name]) > 1 else sizes
        for bound in _bound(arrays[name], shape, own, rules[name]):
            if _fit(rest, arrays, choices, rules, bound):
                return True
    return False


def _bound(got: tuple[int, ...], shape: Shape, sizes: Sizes, rule: Rule) -> Iterator[Sizes]:
    """What letters and groups stand for so that an array has a shape, in every possible way."""
    if rule.broadcasts and len(got) < len(shape):
        shape = shape[len(shape) - len(got) :]
    if not shape:
        if not got:
            yield sizes
        return
    first, *others = shape
    if first.startswith(("...", "*")):
        spare = len(got) - sum(not axis.startswith(("...", "*")) for axis in others)
        for taken in range(max(spare, 0) + 1):
            group = _joined(first, got[:taken], sizes.get(first), rule.extent)
            if group is not None:
                yield from _bound(got[taken:], tuple(others), sizes | {first: group}, rule)
        return
    if not got:
        return
    letter, _, more = first.partition(" + ")
    letter, _, parts = letter.partition(" / ")
    size = got[0] * sizes.get(parts, 1) - int(more or 0)
    known = int(letter) if letter.isdigit() else sizes.get(letter, size)
    if size >= 0 and (size == known or (rule.broadcasts and size == 1)):
        bound = sizes if rule.broadcasts and size == 1 else sizes | {letter: size}
        yield from _bound(got[1:], tuple(others), bound, rule)


def _joined(
    group: str, axes: tuple[int, ...], known: tuple[int, ...] | None, extent: int
) -> tuple[int, ...] | None:
    """What axes and those known so far broadcast to, or None where they may not."""
    if known is None:
        return axes
    if group != "..." and len(axes) != len(known):
        return None
    if extent in (0, 3):
        return axes if axes == known else None
    try:
        joined = np.broadcast_shapes(axes, known)
    except ValueError:
        return None
    return joined if extent == 1 or joined == known else None


# Words ---------------------------------------------------------------------------------------


def _text(shape: Shape) -> str:
    if shape == _ANY:
        return "of any shape"
    return f"({', '.join(shape)}{',' * (len(shape) == 1)})"


def _word(xp: Any) -> str:
    return "NumPy" if xp is np else "CuPy"


def _number_word(number: Any) -> str:
    words = {
        Real: "a number",
        Integral: "an integer",
        str: "a string",
        None: "",
        tuple | list: "a tuple",
    }
    return words.get(number, "True or False")


def _described(value: Array) -> str:
    return f"an array of {value.dtype}" if hasattr(value, "dtype") else f"{type(value).__name__}"
