"""Files of fits: what each says of the fit that it belongs to, and how another fit is refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cukernels import __version__
from estimators.checkpoints.archive import read_archive, write_archive
from estimators.checkpoints.fingerprint import differences, digest_of, parameters_of, plain
from estimators.shared.callbacks import EpochInfo

_FORMAT = 1
_DAMAGED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


def described(estimator: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a fit depends on, as `differences` compares it.

    Parameters
    ----------
    estimator : classifier
        The estimator that is fitted.
    data : mapping of str to array or None
        What it learns from, by the names that a message has for it.
    """
    return {
        "version": __version__,
        "class": type(estimator).__name__,
        "parameters": parameters_of(estimator),
        "data": {name: digest_of(values) for name, values in data.items()},
    }


def write_fit(
    path: str | os.PathLike[str],
    description: Mapping[str, Any],
    info: EpochInfo,
    meta: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray | None],
) -> None:
    """Write all that a fit needs to go on from the epoch that has just ended.

    Parameters
    ----------
    path : path
        The file.
    description : mapping
        What `described` has returned.
    info : EpochInfo
        How far the fit has come.
    meta, arrays : mappings
        What the fit needs besides. An array that is None is left out.
    """
    known = {
        "format": _FORMAT,
        **description,
        "loss": plain(info.loss),
        "validation_score": plain(info.validation_score),
        "n_iter": info.epoch,
        "max_iter": info.n_epochs,
    }
    write_archive(path, {**known, **meta}, {n: a for n, a in arrays.items() if a is not None})


def resume_fit(
    path: str | os.PathLike[str],
    description: Mapping[str, Any],
    take_up: Callable[[dict[str, Any], dict[str, np.ndarray]], list[str]],
) -> None:
    """Let a fit that is prepared go on from a file.

    Parameters
    ----------
    path : path
        The file.
    description : mapping
        What `described` returns of this fit.
    take_up : callable
        Takes meta data and arrays of a file of this fit, and returns in words what forbids to go
        on with them. Before it changes the fit, it has checked all of them.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is of another fit, or damaged. The message names what differs.
    """
    meta, arrays = read_archive(path)
    name = repr(os.fspath(path))
    if meta.get("format") != _FORMAT:
        raise ValueError(f"{name} is no checkpoint of this format")
    try:
        differ = differences(meta, description) or take_up(meta, arrays)
    except _DAMAGED as error:
        raise ValueError(f"{name} is damaged: {error}") from error
    if differ:
        raise ValueError(
            f"{name} belongs to another fit, which this one cannot resume: {'; '.join(differ)}"
        )


def beyond(n_iter: int, max_iter: int) -> list[str]:
    """Return in words that more epochs are done than a fit may do, if there are."""
    return [f"max_iter is {max_iter}, and {n_iter} epochs are done"] if n_iter > max_iter else []
