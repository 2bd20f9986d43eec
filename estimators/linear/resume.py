"""Fits of linear models that go on from a file, which has a stage of their solver."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from estimators.checkpoints.fits import beyond, resume_fit, write_fit
from estimators.shared.callbacks import EpochInfo


def write_stage(
    stage: Callable[[], Any],
    path: Path,
    description: Mapping[str, Any],
    info: EpochInfo,
) -> None:
    """Write a stage of a solver; see `write_fit`.

    Parameters
    ----------
    stage : callable
        Returns the stage, whose `written` returns its arrays.
    path, description, info
        As `write_fit` takes them.
    """
    write_fit(path, description, info, {}, stage().written())


def read_stage(
    path: str | os.PathLike[str],
    description: Mapping[str, Any],
    read: Callable[..., Any],
    max_iter: int,
) -> Any:
    """Return the stage in a file; see `resume_fit`.

    Parameters
    ----------
    path, description
        As `resume_fit` takes them.
    read : callable
        Returns the stage that arrays have.
    max_iter : int
        The most epochs of the fit.
    """
    stage: Any = None

    def take_up(meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> list[str]:
        nonlocal stage
        stage = read(arrays)
        return beyond(stage.n_iter, max_iter)

    resume_fit(path, description, take_up)
    return stage
