"""NumPy calls that are recorded once, and then repeated with other numbers in the same arrays.

A training step of a small network is some forty calls of NumPy. Each takes ten microseconds, and
what Python does between two of them takes as long again: which body, of which shape, into which
array. All of that is the same in the next step. So a step can be recorded and repeated, as a CUDA
graph does on a GPU: what is repeated are the calls of NumPy alone.

Within a recording, arrays that change from step to step are of the class `Recorded`, and so is all
that is computed from them. NumPy hands calls with such arrays to the class (`__array_ufunc__` and
`__array_function__`), which makes them and notes them down. A call that would turn the numbers of
an array into numbers of Python raises `CannotRecord`, because a repetition would not see it:
`recomputed` is for functions that have to, and `of_now` for checks.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from cukernels.runtime.interrupts import and_surely

Result = TypeVar("Result")

MOST = 2**26  # bytes that a recording may keep: no call reuses what another one made

_own = threading.local()  # the recording that the thread makes

# Functions whose answer, or the shape of it, follows from shapes and dtypes alone
_OF_SHAPES = (np.result_type, np.can_cast, np.shape, np.ndim, np.size, np.may_share_memory)
_FUNCTIONS = (
    *(np.all, np.any, np.broadcast_arrays, np.broadcast_to, np.clip, np.concatenate, np.copyto),
    *(np.dot, np.einsum, np.empty_like, np.expand_dims, np.full_like, np.max, np.mean, np.min),
    *(np.moveaxis, np.ones_like, np.prod, np.ravel, np.reshape, np.squeeze, np.stack, np.std),
    *(np.pad, np.sum, np.swapaxes, np.take, np.transpose, np.var, np.where, np.zeros_like),
)


class CannotRecord(Exception):
    """What is computed depends on numbers in a way that a repetition would not see."""


class Call(NamedTuple):
    """A call of NumPy.

    Attributes
    ----------
    make : callable
        Makes it once more.
    reads, writes : sequence of array
        Where it has numbers from, and where it leaves its own.
    parts : sequence of Recording
        What it consists of, if threads share in it. Then their calls say what is read and written.
    """

    make: Callable[[], Any]
    reads: Sequence[np.ndarray] = ()
    writes: Sequence[np.ndarray] = ()
    parts: Sequence[Recording] = ()


class Recording:
    """Calls of NumPy, with their arrays.

    Parameters
    ----------
    calls : sequence of Call, default=()
        What is known already.
    scratch : dict or None, default=None
        Memory for `workers.scratch`, by role, and by place for its parts; None: that of the
        workspace.

    Attributes
    ----------
    calls : list of Call
        The calls, in order.
    made : list of array
        The arrays that they make, or that were made for them.
    """

    def __init__(self, calls: Sequence[Call] = (), scratch: dict[Any, Any] | None = None) -> None:
        self.calls, self.scratch = list(calls), scratch
        self.made: list[np.ndarray] = []
        self._n_bytes = [0]  # that are kept, parts included
        self._errstate: Any = None

    def record(self, function: Callable[..., Result], *args: Any) -> Result:
        """Return ``function(*args)``, and record what it calls in this thread.

        A recording within another one has a part of it, which the other one has to `note`.
        """
        outer = current_recording()

        def work() -> Result:
            self._errstate = np.geterr() if outer is None else outer._errstate
            _own.recording = self
            return function(*args)

        def leave() -> None:
            _own.recording = outer

        return and_surely(work, leave)

    def part(self, place: int) -> Recording:
        """Return a recording for a part, which has scratch memory with all parts of this place."""
        of_place = None if self.scratch is None else self.scratch.setdefault(place, {})
        part = Recording(scratch=of_place)
        part._n_bytes = self._n_bytes
        return part

    def keep(self, array: np.ndarray) -> None:
        """Note an array that a call makes; CannotRecord if all are larger than `MOST`."""
        self.made.append(array)
        if array.base is None:
            self._n_bytes[0] += array.nbytes
            if self._n_bytes[0] > MOST:
                raise CannotRecord("what is computed takes too much memory")

    def note(self, make: Callable[[], Any], reads: Any, writes: Any) -> None:
        """Add a call, which numpy.errstate may surround, and the arrays among its arguments."""
        errstate = np.geterr()
        if errstate != self._errstate:
            make = np.errstate(**errstate)(make)
        self.calls.append(Call(make, _arrays(_plain(reads)), _arrays(_plain(writes))))

    def note_parts(self, make: Callable[[], Any], parts: Sequence[Recording]) -> None:
        """Add a call that consists of parts, which threads may make at the same time."""
        self.calls.append(Call(make, parts=parts))
        self.made += [array for part in parts for array in part.made]

    def spoil(self) -> None:
        """Overwrite all that was made, so that a repetition finds nothing that it does not make."""
        for array in distinct(self.made):
            array.fill(np.nan if array.dtype.kind in "fc" else 1)

    def repeat(self) -> None:
        """Make all calls once more."""
        for make, _, _, _ in self.calls:
            make()


def current_recording() -> Recording | None:
    """Return the recording that the thread makes, if any."""
    return getattr(_own, "recording", None)


def is_recording() -> bool:
    """Whether the thread makes a recording."""
    return current_recording() is not None


def recorded(array: np.ndarray) -> np.ndarray:
    """Return a view whose use is recorded, if the thread makes a recording; else the array."""
    recording = current_recording()
    if recording is None:
        return array
    recording.keep(array)
    return array.view(Recorded)


def of_now(array: np.ndarray) -> np.ndarray:
    """Return a view for looking at the numbers themselves.

    A repetition does not look again. So this is for checks of what does not change, or is known to
    be sound.
    """
    return array.view(np.ndarray) if type(array) is Recorded else array


def recomputed(function: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """Return what a function makes of arrays, which a repetition calls anew.

    The function may read numbers from its arrays; the array that it returns is always of one shape
    and dtype.
    """
    plain, recording = [of_now(a) for a in arrays], current_recording()
    _own.recording = None  # what the function does by itself is not repeated
    try:
        result = function(*plain)
    finally:
        _own.recording = recording
    if any(type(a) is Recorded for a in arrays):
        return _noted_copy(result, partial(function, *plain), plain)
    return result


class Recorded(np.ndarray):
    """An array whose use is noted by the recording that the thread makes."""

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: tuple[Any, ...] = (), **kwargs: Any
    ) -> Any:
        given = inputs, kwargs
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        call = partial(function, *map(_plain, inputs), **_plain(kwargs))
        if out or method == "at":
            call = _into(call, _plain(out)) if out else call
            call()
            _note(call, given, out or inputs[0])
            return (out[0] if len(out) == 1 else out) if out else None
        result = call()
        if isinstance(result, tuple):
            raise CannotRecord(f"{ufunc.__name__} makes several arrays")
        result = np.asarray(result)
        _note(_into(call, (result,)), given, result)
        return recorded(result)

    def __array_function__(
        self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any
    ) -> Any:
        call = partial(function, *_plain(args), **_plain(kwargs))
        if is_recording() and function not in (*_FUNCTIONS, *_OF_SHAPES):
            raise CannotRecord(f"{function.__name__} of arrays")
        result, given = call(), _arrays((args, kwargs))
        if result is None or kwargs.get("out") is not None:  # such as copyto
            _note(call, given, args[0] if function is np.copyto else kwargs.get("out", given))
            return kwargs.get("out")
        if isinstance(result, list | tuple) and all(isinstance(a, np.ndarray) for a in result):
            if not all(_is_view(a, given) for a in result):
                raise CannotRecord(f"{function.__name__} makes several arrays")
            return type(result)(a.view(Recorded) for a in result)
        if function in _OF_SHAPES:
            return result
        array = np.asarray(result)
        if not array.size or _is_view(array, given):  # no numbers, or those of another array
            return array.view(Recorded)
        return _noted_copy(array, call, given)

    def __getitem__(self, key: Any) -> Any:
        key, own = _plain(key), of_now(self)
        if is_recording() and any(a.dtype == bool for a in _arrays(key)):
            raise CannotRecord("the size of a selection depends on the numbers of the mask")
        found = own[key]
        if isinstance(found, np.ndarray) and (not found.size or _is_view(found, [own])):
            return found.view(Recorded)
        if not is_recording():
            return found
        if not isinstance(found, np.ndarray):
            raise CannotRecord("a number of an array")
        return _noted_copy(found, partial(operator.getitem, own, key), [own, key])

    def __setitem__(self, key: Any, value: Any) -> None:
        key, own = _plain(key), of_now(self)
        call = partial(operator.setitem, own, key, _plain(value))
        call()
        place = own[key]
        _note(call, [key, value], place if _is_view(place, [own]) else own)

    def take(self, indices: Any, axis: Any = None, out: Any = None, mode: Any = "raise") -> Any:
        """Note `numpy.ndarray.take`."""
        call = partial(of_now(self).take, _plain(indices), axis)
        if out is None:
            return _noted_copy(call(mode=mode), partial(call, mode=mode), [self, indices])
        call = partial(call, _plain(out), mode)
        call()
        _note(call, [self, indices], out)
        return out

    def reshape(self, *shape: Any, **options: Any) -> Any:
        """Note `numpy.ndarray.reshape` where it copies."""
        return self._made("reshape", *shape, **options)

    def ravel(self, *args: Any) -> Any:
        """Note `numpy.ndarray.ravel` where it copies."""
        return self._made("ravel", *args)

    def astype(self, *args: Any, **options: Any) -> Any:
        """Note `numpy.ndarray.astype`."""
        return self._made("astype", *args, **options)

    def copy(self, *args: Any) -> Any:
        """Note `numpy.ndarray.copy`."""
        return self._made("copy", *args)

    def _made(self, name: str, *args: Any, **options: Any) -> Any:
        call = partial(getattr(of_now(self), name), *args, **options)
        result = call()
        if not result.size or _is_view(result, [self]):
            return result.view(Recorded)
        return _noted_copy(result, call, self)


def _refusing(name: str) -> Callable[..., Any]:
    def refuse(self: Recorded, *args: Any, **kwargs: Any) -> Any:
        if not is_recording():
            return getattr(of_now(self), name)(*args, **kwargs)
        raise CannotRecord(f"{name} of an array")

    return refuse


for _name in (
    *("__bool__", "__int__", "__float__", "__complex__", "__index__", "__iter__", "__contains__"),
    *("argmax", "argmin", "argpartition", "argsort", "byteswap", "choose", "compress", "cumprod"),
    *("cumsum", "dot", "fill", "flatten", "item", "itemset", "nonzero", "partition", "put"),
    *("repeat", "resize", "round", "searchsorted", "sort", "tobytes", "tolist", "trace"),
):
    setattr(Recorded, _name, _refusing(_name))


def _into(call: partial[Any], out: tuple[np.ndarray, ...]) -> partial[Any]:
    """Return a call of a ufunc, or of a method of one, that writes to arrays."""
    if isinstance(call.func, np.ufunc) and call.func not in (np.maximum, np.minimum):
        # An argument without a name takes half the time; NumPy wants that of these two named.
        return partial(call, *out)
    return partial(call, out=out)


def _note(call: Callable[[], Any], reads: Any, writes: Any) -> None:
    recording = current_recording()
    if recording is not None:
        recording.note(call, reads, writes)


def _noted_copy(result: np.ndarray, call: Callable[[], Any], reads: Any) -> np.ndarray:
    """Note a call that has no argument `out`; return the array that has its result."""
    _note(lambda: np.copyto(result, call(), casting="unsafe"), reads, result)
    return recorded(result)


def _is_view(array: np.ndarray, of: list[np.ndarray]) -> bool:
    """Whether an array lies in the memory of one of those that it was made of."""
    return any(np.may_share_memory(array, other.view(np.ndarray)) for other in of)


def _plain(value: Any) -> Any:
    """Return the same arguments with arrays of the usual class."""
    if isinstance(value, tuple | list):
        return type(value)(map(_plain, value))
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return of_now(value)


def _arrays(value: Any) -> list[np.ndarray]:
    """Return all arrays among arguments."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [a for one in value for a in _arrays(one)]
    return [value] if isinstance(value, np.ndarray) else []


def distinct(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Leave out arrays that lie where another one does."""
    return list({(a.__array_interface__["data"], a.shape, a.strides): a for a in arrays}.values())
