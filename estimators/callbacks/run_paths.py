"""Paths with placeholders, so that each fit of a search has its own."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from string import Formatter
from typing import Any

from estimators.shared.files import as_path

_NUMBER = "fit"  # the placeholder that is a number of its own for each fit
_CLASS = ""  # no placeholder has this name
_EPOCH = "epoch"  # the one by which a fit has several files


class RunPath:
    """A path in which ``{fit}`` stands for a number, and ``{alpha}`` for a parameter of that name.

    Parameters
    ----------
    path : path
        The path with placeholders, which may have format specifications, as in ``{fit:03d}``.
        ``~`` stands for the home.

    Raises
    ------
    ValueError
        If a placeholder is no name, or a brace is left alone.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._text = os.fspath(path)
        try:
            self._parts = list(Formatter().parse(self._text))
        except ValueError as error:
            raise ValueError(f"path is {self._text!r}: {error}") from error
        self._names = [name for _, name, _, _ in self._parts if name is not None]
        if not all(name.isidentifier() for name in self._names):
            raise ValueError(
                "placeholders of a path are {fit} and the names of the estimator's parameters, "
                f"got {self._text!r}"
            )

    @property
    def has_number(self) -> bool:
        """Whether each fit has a path of its own."""
        return _NUMBER in self._names

    def of(self, estimator: Any, take: Callable[[Path], None]) -> Path:
        """Return the path for a fit of an estimator, whose parameters stand in it; see `filled`."""
        return self.filled(parameters_of(estimator), take)[0]

    def filled(
        self, parameters: Mapping[str, Any], take: Callable[[Path], None], **more: int | None
    ) -> tuple[Path, int | None]:
        """Return the path for a fit, and its number if it has one.

        Parameters
        ----------
        parameters : mapping of str to object
            As `parameters_of` returns them.
        take : callable
            Makes the file or the folder, or raises FileExistsError where it is there. It is called
            only where there is a number, of which the first one is taken that is free: also of
            those that other processes take at the same time.
        **more : int or None
            ``epoch``, where a fit has a file for each, and ``fit``, once it has a number.

        Raises
        ------
        ValueError
            If the estimator has no parameter of a name.
        """
        values = {**parameters, **more}
        self.check_names(values)
        if not self.has_number or values.get(_NUMBER) is not None:
            return self._filled(values), values.get(_NUMBER)
        for number in count(1):
            values[_NUMBER] = number
            path = self._filled(values)
            try:
                if _EPOCH in self._names and glob.glob(self._pattern(values)):
                    continue  # another fit's, of another epoch
                take(path)
            except FileExistsError:
                continue
            return path, number
        raise AssertionError  # numbers do not end

    def check_names(self, values: Mapping[str, Any]) -> None:
        """Raise ValueError where a placeholder is neither ``{fit}`` nor one of these."""
        if unknown := [name for name in self._names if name not in {_NUMBER, *values}]:
            known = ", ".join(_braced(name) for name in values if name not in (_NUMBER, _CLASS))
            raise ValueError(
                f"path is {self._text!r}, but {values.get(_CLASS)} has no parameter "
                f"{unknown[0]!r}: placeholders are {{fit}}, {known}"
            )

    def check_many(self, callback: Any) -> None:
        """Raise ValueError where the fits of a search would write the same file."""
        if not self.has_number:
            raise ValueError(
                f"{callback!r} would write the same place for each fit of a search: put {{fit}} "
                "into the path, which stands for a number of its own for each fit"
            )

    def _filled(self, values: dict[str, Any]) -> Path:
        return as_path("".join(text for _, text in self._texts(values)))

    def _pattern(self, values: dict[str, Any]) -> str:
        """Return what the files of all epochs of a fit match."""
        texts = self._texts(values)
        pattern = "".join("*" if name == _EPOCH else glob.escape(text) for name, text in texts)
        return os.path.expanduser(pattern)

    def _texts(self, values: dict[str, Any]) -> Iterator[tuple[str | None, str]]:
        """Yield the pieces of the path, each with the name of its placeholder if it is one."""
        for literal, name, specification, _ in self._parts:
            yield None, literal
            if name is not None:
                yield name, _plain(values[name], specification or "")


def parameters_of(estimator: Any) -> dict[str, Any]:
    """Return what may stand in a path of an estimator's fits, and the name of its class."""
    return {**estimator.get_params(deep=False), _CLASS: type(estimator).__name__}


def _braced(name: str) -> str:
    return f"{{{name}}}"


def _plain(value: Any, specification: str) -> str:
    """Return a value as a part of a name of a file, without what has a meaning there."""
    is_plain = value is None or isinstance(value, str | int | float | tuple | list)
    text = format(value, specification) if is_plain else type(value).__name__
    return re.sub(r"[^\w.+-]+", "-", text.strip("()[], "))
