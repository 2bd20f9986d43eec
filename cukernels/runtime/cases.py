"""What every op is called with, and how near the definition a body has to come.

The self-check (`python -m cukernels`) and the tests walk the same cases. They begin as the samples
that stand beside each op. Each is run in both precisions and in every layout that an array may
have, and the largest error that passes is what rounding explains.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from cukernels.runtime.arrays import Array, to_host
from cukernels.runtime.registry import OPS, Op

DTYPES = (np.float32, np.float64)

Arguments = dict[str, Any]
Place = Callable[[np.ndarray], Array]
Layout = Callable[[np.ndarray, Place], Array]


@dataclass(frozen=True, eq=False)
class Case:
    """One call of an op.

    Attributes
    ----------
    op : Op
        What is called.
    arguments : dict
        Its arguments by name; the floating-point arrays are in float64. No array can be written
        to, for all who walk the cases share them: an op that updates its arguments gets copies.
    name : str
        The op and the number of the sample, as "relu-0".
    """

    op: Op
    arguments: Arguments
    name: str
    _exact: dict[Any, list[np.ndarray]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for value in self.arguments.values():
            if _is_array(value):
                value.setflags(write=False)

    def exact(self, dtype: Any) -> list[np.ndarray]:
        """The results of the definition in float64, for arguments that were rounded to a dtype.

        They are computed once: the reference and every faster body are compared with them.
        """
        if dtype not in self._exact:
            given = cast(cast(self.arguments, dtype), np.float64)
            self._exact[dtype] = results(self.op, self.op.reference, copied(given))
        return self._exact[dtype]


class Verdict(NamedTuple):
    """How near results come to the definition.

    Attributes
    ----------
    error : float
        The largest error, as a part of what rounding explains; above 1 the results are wrong.
    failure : str
        What is wrong; empty where nothing is.
    """

    error: float
    failure: str


def cases() -> Iterator[Case]:
    """Every op with arguments to call it with; those of a backward follow from its forward."""
    for entry in OPS.values():
        for number, arguments in enumerate(samples_of(entry)):
            yield Case(entry, arguments, f"{entry.name}-{number}")
            if entry.backward is not None:
                bound = bound_to_backward(entry, arguments, np.random.default_rng([7, number]))
                yield Case(entry.backward, bound, f"{entry.backward.name}-{number}")


def samples_of(entry: Op) -> list[Arguments]:
    """The samples that stand beside an op; a backward has none."""
    return list(entry.samples(np.random.default_rng(0))) if entry.samples else []


def bound_to_backward(entry: Op, arguments: Arguments, rng: np.random.Generator) -> Arguments:
    """Bind the backward's arguments by name: the forward's, its outputs, and a random dy."""
    assert entry.backward is not None
    outputs = _tuple(entry.reference(**copied(arguments)))
    dy = rng.standard_normal(outputs[0].shape).astype(outputs[0].dtype)
    parameters = inspect.signature(entry.reference).parameters.values()
    known: Arguments = {p.name: p.default for p in parameters}
    known |= arguments | dict(zip(entry.outputs, outputs, strict=True)) | {"dy": dy}
    return {name: known[name] for name in entry.backward.parameters if name in known}


# Layouts: the same values, stored in different ways -----------------------------------------------


def contiguous(values: np.ndarray, place: Place) -> Array:
    """Store values one after the other, from where the allocator begins."""
    return place(np.array(values, order="C"))


def gapped(values: np.ndarray, place: Place) -> Array:
    """Store values in every other element of the last axis."""
    return place(np.repeat(values, 2, axis=-1))[..., ::2] if values.ndim else place(values.copy())


def backwards(values: np.ndarray, place: Place) -> Array:
    """Store values from the end of the last axis to its beginning."""
    if not values.ndim:
        return place(values.copy())
    return place(np.array(values[..., ::-1], order="C"))[..., ::-1]


def unaligned(values: np.ndarray, place: Place) -> Array:
    """Store values one after the other, from one element past an aligned address."""
    room = np.concatenate([np.zeros(1, values.dtype), values.ravel()])
    return place(room)[1:].reshape(values.shape)


LAYOUTS: tuple[Layout, ...] = (contiguous, gapped, backwards, unaligned)


# A body against the definition --------------------------------------------------------------------


def judge_body(
    case: Case,
    body: Callable[..., Any],
    dtype: Any,
    *,
    layouts: Sequence[Layout] = LAYOUTS,
    place: Place = np.asarray,
) -> Verdict:
    """Run a body in several layouts, and compare it with the definition in float64.

    Parameters
    ----------
    case : Case
        What it is called with.
    body : callable
        A body of the op; an exception that it raises is not caught.
    dtype : dtype
        The precision that it is called in.
    layouts : sequence of callable, default=LAYOUTS
        How its arrays are stored.
    place : callable, default=np.asarray
        Brings an array of the host to the device on which the body runs.

    Returns
    -------
    verdict : Verdict
        That of the layout with the largest error, or the first one that is wrong. A body that
        modifies an argument which it may not update is wrong too.
    """
    given = cast(case.arguments, dtype)
    fixed = [n for n, v in given.items() if _is_array(v) and n not in case.op.mutates]
    worst = 0.0
    for layout in layouts:
        placed = {n: layout(v, place) if _is_array(v) else v for n, v in given.items()}
        verdict = judge(results(case.op, body, placed), case.exact(dtype), given, dtype)
        for name in fixed:
            if not np.array_equal(to_host(placed[name]), given[name], equal_nan=True):
                verdict = Verdict(np.inf, f"{name} was modified")
        if verdict.failure:
            return verdict._replace(failure=f"{verdict.failure} (arrays: {layout.__name__})")
        worst = max(worst, verdict.error)
    return Verdict(worst, "")


def judge(
    got: list[np.ndarray], exact: list[np.ndarray], arguments: Mapping[str, Any], dtype: Any
) -> Verdict:
    """Compare results with those of the definition in float64: number, shapes, dtypes, values."""
    if len(got) != len(exact):
        return Verdict(np.inf, f"{len(got)} results where {len(exact)} are right")
    worst = 0.0
    for g, e in zip(got, exact, strict=True):
        if g.shape != e.shape:
            return Verdict(np.inf, f"shape {g.shape} where {e.shape} is right")
        if e.dtype.kind == "f" and g.dtype != dtype:
            return Verdict(np.inf, f"dtype {g.dtype} where {np.dtype(dtype)} is right")
        worst = max(worst, _error(g, e, arguments, dtype))
    wrong = f"{worst:.1f} times the error that rounding explains"
    return Verdict(worst, "" if worst <= 1 else wrong)


def tolerance(arguments: Mapping[str, Any], exact: np.ndarray, dtype: Any) -> np.ndarray:
    """Rounding error to expect of each element: eps x sqrt(number of terms summed)."""
    terms = max((np.prod(v.shape[-3:]) for v in arguments.values() if is_float(v)), default=1)
    finite = exact[np.isfinite(exact)]
    scale = np.sqrt(np.mean(np.square(finite))) if finite.size else 0.0
    return 8 * np.finfo(dtype).eps * np.sqrt(max(terms, 1)) * (np.abs(exact) + scale)


def _error(got: np.ndarray, exact: np.ndarray, arguments: Mapping[str, Any], dtype: Any) -> float:
    """The largest error, as a part of the tolerance; NaN is as wrong as can be."""
    if exact.size == 0:
        return 0.0
    if exact.dtype.kind != "f":
        return 0.0 if np.array_equal(got, exact) else np.inf
    allowed = tolerance(arguments, exact, dtype)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        error = np.where(got == exact, 0, np.abs(got - exact) / allowed)  # infinities may agree
    return float(np.where(np.isfinite(error), error, np.inf).max())


def results(entry: Op, body: Callable[..., Any], arguments: Arguments) -> list[np.ndarray]:
    """What a call returns, and what it leaves in the arguments that it updates, on the host."""
    returned = _tuple(body(**arguments)) + tuple(map(arguments.get, entry.mutates))
    return [
        np.asarray(r if isinstance(r, np.generic) else to_host(r))
        for r in returned
        if r is not None
    ]


def cast(arguments: Mapping[str, Any], dtype: Any) -> Arguments:
    """The arguments with copies of the floating-point arrays in a precision."""
    return {k: v.astype(dtype) if is_float(v) else v for k, v in arguments.items()}


def copied(arguments: Mapping[str, Any]) -> Arguments:
    """The arguments with copies of the arrays, which a body may update."""
    return {k: v.copy() if _is_array(v) else v for k, v in arguments.items()}


def _tuple(returned: Any) -> tuple[Any, ...]:
    return returned if isinstance(returned, tuple) else (returned,)


def is_float(value: Any) -> bool:
    """Whether an argument is an array that is cast to the precision of a call."""
    return _is_array(value) and value.dtype.kind == "f"


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)
