"""The registry of ops: what each one means, and the bodies that compute it.

An op is a plain function whose text is its definition, in array code that runs on NumPy and CuPy
alike. Beside that reference it may have a faster NumPy body and a CUDA body: functions of the same
name, for an op of `conv.py` in `conv_numpy.py` and in `conv_cuda.py`. These files are imported when
an op first needs them. The type of an op's first argument decides which body runs.
`tests/test_ops.py` walks the registry and holds every body to the reference, and every backward to
the slope of its forward.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.contract import Rule, explain, is_in_words, rules_of
from cukernels.runtime.dtypes import Kind, checker, kinds_of

Function = TypeVar("Function", bound=Callable[..., Any])
Samples = Callable[[np.random.Generator], Iterator[dict[str, Any]]]


_REMEMBERED = 4096  # calls of an op


@dataclass
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
    _fitting: set[Hashable] = field(default_factory=set, repr=False)  # calls that were looked at

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

    @functools.cached_property
    def rules(self) -> dict[str, Rule]:
        """What the docstring says of the arguments."""
        return rules_of(self)

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

    def body_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[..., Any]:
        """The body for a call.

        NumPy refuses what does not fit, and is then explained. A kernel would read and write past
        the ends of its arrays: what it is given is looked at before, once for all calls alike.
        """
        first = args[0] if args else kwargs.get(self.parameters[0])
        if type(first) is np.ndarray:
            return self.numpy or self.reference
        body = self.body(first)
        if namespace(first) is not np:
            call = _likeness(args, kwargs)
            if call not in self._fitting:
                explain(self, args, kwargs)
                if len(self._fitting) >= _REMEMBERED:
                    self._fitting.clear()
                self._fitting.add(call)
        return body

    @property
    def backward(self) -> Op | None:
        """The backward of this op, if it has one."""
        return OPS.get(f"{self.name}_backward")


OPS: dict[str, Op] = {}


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
                return entry.body_for(args, kwargs)(*args, **kwargs)
            except Exception as error:
                _explain_unless_in_words(entry, args, kwargs, error)
                raise

        @functools.wraps(function)
        def dispatch_backward(
            *args: Any, out: Mapping[str, Array] | None = None, **kwargs: Any
        ) -> Any:
            check(args, kwargs)
            try:
                body = entry.body_for(args, kwargs)
                if not out:
                    return body(*args, **kwargs)
                more = {"out": out} if _fills_out(body) else {}
                return _into(out, entry.gradients, body(*args, **kwargs, **more))
            except Exception as error:
                _explain_unless_in_words(entry, args, kwargs, error)
                raise

        return dispatch_backward if entry.is_backward else dispatch  # type: ignore[return-value]

    return register


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


def _likeness(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Hashable:
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
