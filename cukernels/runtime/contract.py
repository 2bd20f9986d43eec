"""Find out which argument of a call does not fit an op, and raise an error that says so."""

from __future__ import annotations

import inspect
import opcode
from collections.abc import Iterator, Mapping
from numbers import Integral, Real
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.recording import of_now
from cukernels.runtime.registry import Op
from cukernels.runtime.rules import ANY_SHAPE, EXACT, JOINS, OUTPUT, Rule, Shape, rules_of

Sizes = dict[str, Any]  # the values in a call of the letters and groups of axes in docstrings

_PACKAGE = str(Path(__file__).parent.parent)
_RAISE = opcode.opmap["RAISE_VARARGS"]
_UNSIGNED = {np.dtype(c): np.dtype(c.upper()) for c in "bhilq"}


def was_raised_here(error: BaseException) -> bool:
    """Whether a `raise` statement of this package raised an error, rather than a failing operation.

    Such an error already says what is wrong, and needs no explanation.
    """
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    code = trace.tb_frame.f_code
    return code.co_filename.startswith(_PACKAGE) and code.co_code[trace.tb_lasti] == _RAISE


def explain(entry: Op, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Check the arguments of a call against the docstring of the op, and return if they fit.

    Raises
    ------
    TypeError
        If an argument is neither an array nor a number where the op needs one.
    ValueError
        If shapes do not fit the op, or each other.
    """
    signature = inspect.signature(entry.reference)
    given = signature.bind(*args, **kwargs).arguments
    rules = rules_of(entry)
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
    # Arguments that leave the least choice come first, so that the search rarely has to go back.
    order = sorted(arrays, key=lambda n: (rules[n].leading, len(choices[n]), n == "dy"))
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
    """Whether all integers are from 0 to `stop` - 1."""
    values = of_now(values)
    # Read as unsigned, a negative integer is very large: so one maximum checks both ends.
    unsigned = _UNSIGNED.get(values.dtype)
    return values.size == 0 or bool(
        (values if unsigned is None else values.view(unsigned)).max() < stop
    )


def check_integers(op: str, name: str, values: np.ndarray, stop: int, what: str) -> None:
    """Raise unless a NumPy array holds only integers from 0 to `stop` - 1.

    Raises
    ------
    ValueError
        If one of them is out of range; the message names the least or the largest one.
    """
    if not is_within(values, stop):
        low = int(values.min())
        found = low if low < 0 else int(values.max())
        raise ValueError(f"{op}: {name} holds {found}, which is none of the {stop} {what}")


# Matching shapes -----------------------------------------------------------------------------


def _choices(rules: dict[str, Rule], name: str, given: Mapping[str, Any]) -> tuple[Shape, ...]:
    """The shapes that an argument may have in this call."""
    rule = rules[name]
    if rule.like:
        other = rules.get(rule.like)
        return other.shapes if other is not None and not other.like else (ANY_SHAPE,)
    return tuple(s for flag, s in rule.flags if _is_set(given.get(flag))) or rule.shapes


def _is_set(flag: Any) -> bool:
    """Whether an argument is an array, or true."""
    return getattr(flag, "ndim", 0) > 0 or bool(flag)


def _fit(
    order: list[str],
    arrays: Mapping[str, tuple[int, ...]],
    choices: Mapping[str, tuple[Shape, ...]],
    rules: Mapping[str, Rule],
    sizes: Sizes,
) -> bool:
    """Whether some values of the letters and groups give every array the shape that it has."""
    if not order:
        return True
    name, *rest = order
    for number, shape in enumerate(choices[name]):
        if len(choices[name]) > 1 and sizes.get("choice", number) != number:
            continue  # one model or several: the same alternative for all arguments
        own = sizes | {"choice": number} if len(choices[name]) > 1 else sizes
        for bound in _bound(arrays[name], shape, own, rules[name]):
            if _fit(rest, arrays, choices, rules, bound):
                return True
    return False


def _bound(got: tuple[int, ...], shape: Shape, sizes: Sizes, rule: Rule) -> Iterator[Sizes]:
    """Yield each assignment of the letters and groups that gives an array its shape."""
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
            group = _joined(first, got[:taken], sizes.get(first), rule.leading)
            if group is not None:
                yield from _bound(got[taken:], tuple(others), sizes | {first: group}, rule)
        return
    if not got:
        return
    letter, _, more = first.partition(" + ")
    letter, _, divisor = letter.partition(" / ")
    size = got[0] * sizes.get(divisor, 1) - int(more or 0)
    known = int(letter) if letter.isdigit() else sizes.get(letter, size)
    if size >= 0 and (size == known or (rule.broadcasts and size == 1)):
        bound = sizes if rule.broadcasts and size == 1 else sizes | {letter: size}
        yield from _bound(got[1:], tuple(others), bound, rule)


def _joined(
    group: str, axes: tuple[int, ...], known: tuple[int, ...] | None, leading: int
) -> tuple[int, ...] | None:
    """Join leading axes to those known so far; None if the rule does not allow these."""
    if known is None:
        return axes
    if group != "..." and len(axes) != len(known):
        return None
    if leading in (EXACT, OUTPUT):
        return axes if axes == known else None
    try:
        joined = np.broadcast_shapes(axes, known)
    except ValueError:
        return None
    return joined if leading == JOINS or joined == known else None


# The wording of messages ---------------------------------------------------------------------


def _text(shape: Shape) -> str:
    if shape == ANY_SHAPE:
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
