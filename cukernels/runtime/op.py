"""Define an op, and call it: the type of its first argument decides which body runs.

The decorated function is the definition (the reference body). The faster bodies lie beside it:
those of an op of `conv.py` in `conv_numpy.py` and `conv_cuda.py`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import numpy as np

from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.contract import explain, was_raised_here
from cukernels.runtime.dtypes import Kind, checker, kinds_of
from cukernels.runtime.registry import OPS, Op, Samples

Function = TypeVar("Function", bound=Callable[..., Any])

_MOST_CHECKED = 2**14  # entries of the set below
_checked: set[Hashable] = set()  # shapes and dtypes of calls that were found to fit their op


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

    A function called `f_backward` is the backward of `f`. Its first argument is `dy`, the gradient
    in the output. Every other argument has the name of an argument or an output of `f`, or is
    `needs`: the names of the gradients that the caller wants (the others are returned as None). So
    tests can bind all arguments by name. A caller may also pass any backward `out`: a dictionary
    from names of arguments to arrays, into which their gradients are stored, and which are then
    returned. A body that has an argument `out` may write there directly.

    Arrays are float32 or float64, except for the arguments in `kinds`; a backward inherits the
    `kinds` of its forward. A call with another dtype is a TypeError.

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
                _explain(entry, args, kwargs, error)
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
                _explain(entry, args, kwargs, error)
                raise

        return dispatch_backward if entry.is_backward else dispatch  # type: ignore[return-value]

    return register


def _body_for(entry: Op, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[..., Any]:
    """Return the body for a call, after checking the arguments of a CUDA body.

    NumPy raises an error if shapes do not fit, which is then explained. A kernel would read and
    write past the ends of its arrays instead, so its arguments are checked before the launch, once
    for each combination of shapes and dtypes.
    """
    first = args[0] if args else kwargs.get(entry.parameters[0])
    if type(first) is np.ndarray:
        return entry.numpy or entry.reference
    body = entry.body(first)
    if namespace(first) is not np:
        call = (entry, *_shapes_and_dtypes(args, kwargs))
        if call not in _checked:
            explain(entry, args, kwargs)
            if len(_checked) >= _MOST_CHECKED:
                _checked.clear()
            _checked.add(call)
    return body


def _explain(entry: Op, args: tuple[Any, ...], kwargs: Mapping[str, Any], error: Exception) -> None:
    """Replace an error of NumPy by one that says which argument does not fit.

    An error that this package raised already says so, and stays. The arguments of a CUDA body were
    checked before the launch, so an error there has another cause, and stays too.
    """
    first = args[0] if args else kwargs.get(entry.parameters[0])
    on_host = isinstance(first, np.ndarray | np.generic)
    if on_host and not (was_raised_here(error) or isinstance(error, MemoryError)):
        try:
            explain(entry, args, kwargs)
        except (TypeError, ValueError) as explained:
            raise explained from error


def _shapes_and_dtypes(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Hashable, ...]:
    """A key for the call: the type, shape and dtype of each argument."""
    return (
        *((type(a), getattr(a, "shape", None), getattr(a, "dtype", None)) for a in args),
        *(
            (name, type(a), getattr(a, "shape", None), getattr(a, "dtype", None))
            for name, a in kwargs.items()
        ),
    )


@functools.cache
def _fills_out(body: Callable[..., Any]) -> bool:
    """Whether a body writes gradients into `out` itself."""
    return "out" in inspect.signature(body).parameters


def _into(out: Mapping[str, Array], names: tuple[str, ...], returned: Any) -> Any:
    """Copy gradients into the arrays of `out`, unless the body has written them there."""
    gradients = list(returned) if isinstance(returned, tuple) else [returned]
    for i, name in enumerate(names):
        if name in out and gradients[i] is not None:
            if gradients[i] is not out[name]:
                out[name][...] = gradients[i]
            gradients[i] = out[name]
    return tuple(gradients) if isinstance(returned, tuple) else gradients[0]


def _check_backward(entry: Op) -> Op:
    """Return the forward of a backward, whose signature has to follow the rule of `op`."""
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
