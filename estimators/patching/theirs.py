"""scikit-learn's class at work on an object of a stand-in, and when it has to be.

It works on a view: an object that shares the attributes, of a class in which scikit-learn's takes
the place of ours. What a program has written into a subclass, or set on the stand-in, is in it too.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable
from contextlib import suppress
from inspect import signature
from typing import Any

HOOKS, MADE = "_hooks", "_made"  # in a stand-in: what `remember` has seen


def declared(cls: type) -> Any:
    """Return the stand-in that a class descends from, or is."""
    return next(base for base in cls.__mro__ if "_replaced" in vars(base))


def remember(stand_in: Any) -> None:
    """Keep how a stand-in was made, to find later what a program has changed."""
    ours, original = stand_in._ours, stand_in._replaced
    hooks = {
        name
        for base in original.__mro__
        if base not in ours.__mro__
        for name, value in vars(base).items()
        if _is_hook(name, value, ours)
    }
    setattr(stand_in, HOOKS, {name: _found(stand_in, name, ours) for name in hooks})
    setattr(stand_in, MADE, dict(vars(stand_in)))


def _is_hook(name: str, value: Any, ours: type) -> bool:
    """Whether scikit-learn's class looks a name up on itself that ours does not ask for."""
    if name.startswith("_"):
        return not name.startswith("__") and hasattr(value, "__get__")
    return not hasattr(ours, name)


def _found(cls: type, name: str, ours: type) -> Any:
    """Return what a class has under a name, if ours and what it is made of had it not."""
    bases = (base for base in cls.__mro__ if base not in ours.__mro__)
    return next((vars(base)[name] for base in bases if name in vars(base)), None)


def theirs_only(model: Any) -> str | None:
    """Return what only scikit-learn's class can mean: the value of a parameter, or a method."""
    cls = type(model)
    known = signature(cls._ours).parameters
    for name, parameter in signature(cls._replaced).parameters.items():
        value = getattr(model, name, parameter.default)
        if name not in known and value is not parameter.default and value != parameter.default:
            return f"{name}={value!r} is a parameter of scikit-learn's alone"
    for name, before in sorted(getattr(cls, HOOKS).items()):
        if name in vars(model) or _found(cls, name, cls._ours) is not before:
            return f"the program has its own {name}, which scikit-learn's alone calls"
    return None


def ours_only(model: Any, method: str, arguments: dict[str, Any]) -> str | None:
    """Return what a fit asks for that scikit-learn's class does not have."""
    theirs = type(model)._replaced
    if more := sorted(set(arguments) - set(signature(getattr(theirs, method)).parameters)):
        return more[0]
    known = signature(theirs).parameters
    for name, parameter in signature(declared(type(model))).parameters.items():
        if name in known or (name, getattr(model, name, None)) == _ON_THE_CPU:
            continue
        value = getattr(model, name, parameter.default)
        if value is not parameter.default and not _equal(value, parameter.default):
            return name
    return None


_ON_THE_CPU = "device", "cpu"


def _equal(a: Any, b: Any) -> bool:
    with suppress(Exception):
        return bool(a == b)
    return False


def method_of_theirs(model: Any, name: str) -> tuple[Any, Callable]:
    """Return a view of a model, and a method of scikit-learn's class that is bound to it.

    It is the method that `super()` would find in a subclass: the subclass has had its turn.
    """
    original = type(model)._replaced
    names = [name for name in signature(original).parameters if hasattr(model, name)]
    new = original(**{name: getattr(model, name) for name in names})
    for attribute, value in vars(new).items():  # a constructor may set more than its parameters
        vars(model).setdefault(attribute, value)
    cls, place = _view_class(type(model))
    view = object.__new__(cls)
    view.__dict__ = vars(model)
    return view, getattr(view if place is cls else super(place, view), name)


class _Unannounced:
    """Comes first, so that a program that registers its subclasses is not told of a view's."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        pass


def _view_class(cls: Any) -> tuple[Any, Any]:
    """Return a class with scikit-learn's in the place of ours, and the last class before that.

    `super()` and `isinstance` in a program's methods go by the order of the bases. So a subclass
    of the program's stays in it, the stand-in gives way to what was set on it, and ours to nothing.
    """
    stand_in = declared(cls)
    ours, original, made = stand_in._ours, stand_in._replaced, getattr(stand_in, MADE)
    added = {n: v for n, v in vars(stand_in).items() if n != MADE and made.get(n, cls) is not v}
    if cls is stand_in and not added:
        return original, original
    place = type(original.__name__, (_Unannounced,), added)
    left_out = set(ours.__mro__) - set(original.__mro__)
    bases = [place if base is stand_in else base for base in cls.__mro__ if base not in left_out]
    order = {"mro": lambda self: [self, _Unannounced, *bases]}
    kind: Any = type(type(cls).__name__, (type(cls),), order)
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    # past a metaclass of the program's, which may register as well
    return ABCMeta.__new__(kind, cls.__name__, (cls,), names), place
