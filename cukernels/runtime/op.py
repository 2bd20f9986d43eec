"""How an op is defined and called: the type of its first argument decides which body runs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import numpy as np

from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.contract import explain, is_in_words
from cukernels.runtime.dtypes import Kind, checker, kinds_of
from cukernels.runtime.registry import OPS, Op, Samples

Function = TypeVar("Function", bound=Callable[..., Any])


_REMEMBERED = 2**14  # calls, of all ops
_fitting: set[Hashable] = set()  # calls that were looked at


def op(
    *,
    samples: Samples | None = None,
    outputs: tuple[str, ...] = ("y",),
    gradients: tuple[str, ...] = (),
    mutates: tuple[str, ...] = (),
    no_backward: str = "",
    kinds: Mapping[str, Kind] | None = None,
) -> Callable[[Function], Function]:
    """Register the decorated function as the reference body of an op.

    A function called `f_backward` is the backward of `f`. Its first argument is `dy`, and every
    other one is named after an argument or an output of `f`, or is `needs`: the names of the
    gradients that the caller wants (the others come back as None). So tests bind them by name.
    Every backward also takes `out`: a dictionary of arrays, by the names of arguments, in which
    their gradients are to be stored, and which it then returns. A body with an argument `out` may
    write there at once.

    Arrays are float32 or float64; `kinds` names the arguments whose arrays are not, in a backward
    beside those that its forward has named. A call with another dtype is a TypeError.

    Raises
    ------
    TypeError
        If a backward breaks that rule.
    """

    def register(function: Function) -> Function:
        entry = Op(function.__name__, function, samples, outputs, gradients, mutates, no_backward)
        named = dict(kinds or {})
        if entry.is_backward:
            forward = _check_backward(entry)
            shared = set(entry.parameters) & set(forward.parameters)
            named = {name: forward.kinds[name] for name in shared if name in forward.kinds} | named
        entry.kinds = kinds_of(function, named)
        OPS[entry.name] = entry

        check = checker(entry.name, entry.parameters, entry.kinds)

        @functools.wraps(function)
        def dispatch(*args: Any, **kwargs: Any) -> Any:
            check(args, kwargs)
            try:
                return _body_for(entry, args, kwargs)(*args, **kwargs)
            except Exception as error:
                _explain_unless_in_words(entry, args, kwargs, error)
                raise

        @functools.wraps(function)
        def dispatch_backward(
            *args: Any, out: Mapping[str, Array] | None = None, **kwargs: Any
        ) -> Any:
            check(args, kwargs)
            try:
                body = _body_for(entry, args, kwargs)
                if not out:
                    return body(*args, **kwargs)
                more = {"out": out} if _fills_out(body) else {}
                return _into(out, entry.gradients, body(*args, **kwargs, **more))
            except Exception as error:
                _explain_unless_in_words(entry, args, kwargs, error)
                raise

        return dispatch_backward if entry.is_backward else dispatch  # type: ignore[return-value]

    return register


def _body_for(entry: Op, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[..., Any]:
    """The body for a call.

    NumPy refuses what does not fit, and is then explained. A kernel would read and write past the
    ends of its arrays: what it is given is looked at before, once for all calls alike.
    """
    first = args[0] if args else kwargs.get(entry.parameters[0])
    if type(first) is np.ndarray:
        return entry.numpy or entry.reference
    body = entry.body(first)
    if namespace(first) is not np:
        call = (entry, *_likeness(args, kwargs))
        if call not in _fitting:
            explain(entry, args, kwargs)
            if len(_fitting) >= _REMEMBERED:
                _fitting.clear()
            _fitting.add(call)
    return body


def _explain_unless_in_words(
    entry: Op, args: tuple[Any, ...], kwargs: Mapping[str, Any], error: Exception
) -> None:
    """Say what is wrong with a call, where its arguments explain an error that does not say it.

    Those of a kernel were looked at before: what it stumbles over is not to be explained away.
    """
    first = args[0] if args else kwargs.get(entry.parameters[0])
    on_host = isinstance(first, np.ndarray | np.generic)
    if on_host and not (is_in_words(error) or isinstance(error, MemoryError)):
        try:
            explain(entry, args, kwargs)
        except (TypeError, ValueError) as explained:
            raise explained from error


def _likeness(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Hashable, ...]:
    """What calls have in common whose arrays have the same shapes and dtypes."""
    return (
        *((type(a), getattr(a, "shape", None), getattr(a, "dtype", None)) for a in args),
        *(
            (name, type(a), getattr(a, "shape", None), getattr(a, "dtype", None))
            for name, a in kwargs.items()
        ),
    )


@functools.cache
def _fills_out(body: Callable[..., Any]) -> bool:
    """Whether a body writes gradients where the caller wants them."""
    return "out" in inspect.signature(body).parameters


def _into(out: Mapping[str, Array], names: tuple[str, ...], returned: Any) -> Any:
    """Store gradients in the arrays that are meant for them, if they are not there yet."""
    gradients = list(returned) if isinstance(returned, tuple) else [returned]
    for i, name in enumerate(names):
        if name in out and gradients[i] is not None:
            if gradients[i] is not out[name]:
                out[name][...] = gradients[i]
            gradients[i] = out[name]
    return tuple(gradients) if isinstance(returned, tuple) else gradients[0]


def _check_backward(entry: Op) -> Op:
    """Return the forward of a backward that keeps the rule."""
    forward = OPS.get(entry.name.removesuffix("_backward"))
    if forward is None:
        raise TypeError(f"{entry.name} is defined before its forward")
    if not entry.gradients:
        raise TypeError(f"{entry.name} does not say what it returns the gradients of")
    first, *rest = entry.parameters
    unknown = set(rest) - set(forward.parameters) - set(forward.outputs) - {"needs"}
    if first != "dy" or unknown:
        raise TypeError(
            f"{entry.name}({', '.join(entry.parameters)}): the first argument is `dy`, the others "
            f"are arguments or outputs of {forward.name}, not {sorted(unknown)}"
        )
    return forward
