"""Paths with placeholders, so that each fit of a search has its own."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from itertools import count
from pathlib import Path
from string import Formatter
from typing import Any

_NUMBER = "fit"  # the placeholder that is a number of its own for each fit


class RunPath:
    """A path in which ``{fit}`` stands for a number, and ``{alpha}`` for a parameter of that name.

    Parameters
    ----------
    path : path
        The path with placeholders. They may have format specifications, as in ``{fit:03d}``.

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
        """Return the path for a fit.

        Parameters
        ----------
        estimator : estimator
            Whose parameters stand in the path.
        take : callable
            Makes the file or the folder, or raises FileExistsError where it is there. It is called
            only where there is a number, of which the first one is taken that is free: also of
            those that other processes take at the same time.

        Raises
        ------
        ValueError
            If the estimator has no parameter of a name.
        """
        values = estimator.get_params(deep=False)
        if unknown := [name for name in self._names if name not in {_NUMBER, *values}]:
            raise ValueError(
                f"path is {self._text!r}, but {type(estimator).__name__} has no parameter "
                f"{unknown[0]!r}: placeholders are {{fit}}, {', '.join(map(_braced, values))}"
            )
        if not self.has_number:
            return self._filled(values)
        for number in count(1):
            path = self._filled({**values, _NUMBER: number})
            try:
                take(path)
            except FileExistsError:
                continue
            return path
        raise AssertionError  # numbers do not end

    def check_many(self, callback: Any) -> None:
        """Raise ValueError where the fits of a search would write the same file."""
        if not self.has_number:
            raise ValueError(
                f"{callback!r} would write the same place for each fit of a search: put {{fit}} "
                "into the path, which stands for a number of its own for each fit"
            )

    def _filled(self, values: dict[str, Any]) -> Path:
        text = ""
        for literal, name, specification, _ in self._parts:
            text += literal
            if name is not None:
                text += _plain(values[name], specification or "")
        return Path(text)


def _braced(name: str) -> str:
    return f"{{{name}}}"


def _plain(value: Any, specification: str) -> str:
    """Return a value as a part of a name of a file, without what has a meaning there."""
    is_plain = value is None or isinstance(value, str | int | float | tuple | list)
    text = format(value, specification) if is_plain else type(value).__name__
    return re.sub(r"[^\w.+-]+", "-", text.strip("()[], "))
