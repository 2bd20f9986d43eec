"""An upgrade of scikit-learn, played: names taken out of the installed one."""

from __future__ import annotations

from inspect import iscode, unwrap
from types import CodeType

from estimators import scikit_learn


def forget() -> None:
    """Have everything checked anew."""
    for each in ("_found", "_named_in", "_used_by", "parameters_of"):
        getattr(scikit_learn, each).cache_clear()


def renamed(code: CodeType, name: str) -> CodeType:
    """The text of a function with another name in place of this one."""

    def other(constant):
        if iscode(constant):
            return renamed(constant, name)
        return f"{name}_2" if constant == name and isinstance(constant, str) else constant

    names = tuple(f"{name}_2" if known == name else known for known in code.co_names)
    return code.replace(co_names=names, co_consts=tuple(map(other, code.co_consts)))


def take_out(monkeypatch, found, name: str) -> None:
    """Rename a name in a function, or in a class and in all that it inherits."""
    members = [found]
    if isinstance(found, type):
        members = []
        for base in found.__mro__[:-1]:
            members += vars(base).values()
            if name in vars(base):
                monkeypatch.delattr(base, name)
    for member in members:
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        function = unwrap(function) if callable(function) else None
        if hasattr(function, "__code__"):
            monkeypatch.setattr(function, "__code__", renamed(function.__code__, name))
