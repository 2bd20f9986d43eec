"""Callbacks of the networks, which are told of each epoch and can stop the training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from estimators.neural.attributes import fitted_attributes
from estimators.neural.resume import write_fit
from estimators.shared.callbacks import FitCallbacks, without_callbacks
from estimators.training.member import Arrays, Member, TrainingState
from estimators.training.network import Network


class EpochInfo(NamedTuple):
    """How far a fit has come after an epoch, as `on_epoch_end` is told.

    Attributes
    ----------
    epoch : int
        Epochs of this fit (iterations of "lbfgs"), from 1 on.
    n_epochs : int
        The most epochs that are planned.
    loss : float
        Mean loss of the epoch.
    validation_score : float or None
        Accuracy on the validation set, if there is one.
    learning_rate : float
        Learning rate of the last step; NaN for "lbfgs".
    seconds : float
        Time since the fit began.
    """

    epoch: int
    n_epochs: int
    loss: float
    validation_score: float | None
    learning_rate: float
    seconds: float


class EpochCallbacks:
    """All callbacks of one fit of a network: those of `callbacks`, and those of scikit-learn's API.

    Parameters
    ----------
    estimator : MLPClassifier or ConvNetClassifier
        The estimator that is fitted. Its labels are known.
    network : Network
        Its layers.
    X, y, sample_weight
        What it is fitted on.
    n_epochs : int
        The most epochs.

    Attributes
    ----------
    describe : callable
        Returns what `write_fit` is to write of the fit itself.
    """

    describe: Callable[[], dict[str, Any]]

    def __init__(
        self,
        estimator: Any,
        network: Network,
        X: Any,
        y: np.ndarray,
        sample_weight: Any,
        n_epochs: int,
    ) -> None:
        self._estimator, self._n_epochs = estimator, n_epochs
        self._functions = as_functions(estimator.callbacks)
        self._writers = [c for c in listed(estimator.callbacks) if _is_writer(c)]
        self._described: dict[str, Any] | None = None
        # No bound method: the cycle through it would keep X until Python looks for cycles.
        self._attributes = partial(_attributes, estimator, network)
        self._of_scikit_learn = FitCallbacks(
            estimator, X, y, sample_weight, n_epochs, self._attributes
        )
        self._begun = time.perf_counter()

    @property
    def writes(self) -> bool:
        """Whether a callback writes files to resume from."""
        return bool(self._writers)

    def write_to(self, path: Path, seconds: float) -> None:
        """Write a file every so many seconds, beside those that callbacks want."""
        self._writers.append(_Timed(path, seconds))

    def begin(self, state: TrainingState) -> None:
        """Tell that the fit starts from this state."""
        self._of_scikit_learn.begin(state, Arrays(state.params, state.moments))

    def epoch(self, member: Member, arrays: Arrays) -> bool:
        """Tell that an epoch has ended; return whether a callback wants to stop.

        Parameters
        ----------
        member : Member
            The model.
        arrays : Arrays
            Its parameters and moments now. Those of its state are older.
        """
        state = member.state
        info = self._info(state, member.rate)
        stop = bool(self._functions) and self._functions_stop(info, state, arrays)
        stop = self._of_scikit_learn.iteration(state, arrays) or stop
        if self._writers and not member.is_lost:  # what is lost is no use to anybody
            self._write(info, member, arrays, has_ended=bool(stop or member.is_over))
        return stop

    def _write(self, info: EpochInfo, member: Member, arrays: Arrays, *, has_ended: bool) -> None:
        """Write the files that callbacks want now."""
        is_last = has_ended or info.epoch >= self._n_epochs
        paths = [writer.checkpoint_path(info, is_last) for writer in self._writers]
        for path in dict.fromkeys(path for path in paths if path is not None):
            if self._described is None:
                self._described = self.describe()
            write_fit(path, self._described, member, arrays, self._n_epochs, has_ended=has_ended)

    def end(self) -> None:
        """Tell that the estimator has its fitted attributes."""
        self._of_scikit_learn.end()

    def _info(self, state: TrainingState, learning_rate: float) -> EpochInfo:
        scores = state.validation_scores
        return EpochInfo(
            state.n_iter,
            self._n_epochs,
            state.loss,
            scores[-1] if scores else None,
            learning_rate,
            time.perf_counter() - self._begun,
        )

    def _functions_stop(self, info: EpochInfo, state: TrainingState, arrays: Arrays) -> bool:
        """Call the functions with a copy of the estimator as it is now; True if one says stop."""
        snapshot = without_callbacks(copy(self._estimator))
        vars(snapshot).update(self._attributes(state, arrays))
        # A list, so that all of them are told, also after one that wants to stop.
        return any([function(snapshot, info) is True for function in self._functions])


def _attributes(
    estimator: Any, network: Network, state: TrainingState, arrays: Arrays
) -> dict[str, Any]:
    return fitted_attributes(estimator, network, state.with_arrays(arrays))


def as_functions(callbacks: Any) -> list[Callable[[Any, EpochInfo], Any]]:
    """Return the functions that the `callbacks` parameter stands for: none, one or several.

    Raises
    ------
    ValueError
        If one of them cannot be called and has no `on_epoch_end`.
    """
    functions = []
    for callback in listed(callbacks):
        function = getattr(callback, "on_epoch_end", None if _is_writer(callback) else callback)
        if function is None:
            continue
        if not callable(function):
            raise ValueError(
                "callbacks must be functions f(estimator, info) or objects with a method "
                f"on_epoch_end(estimator, info), got {callback!r}"
            )
        functions.append(function)
    return functions


def listed(callbacks: Any) -> list[Any]:
    """Return what the `callbacks` parameter stands for: none, one or several."""
    if callbacks is None:
        return []
    is_one = hasattr(callbacks, "on_epoch_end") or _is_writer(callbacks)
    return list(callbacks) if isinstance(callbacks, Iterable) and not is_one else [callbacks]


class _Timed:
    """Wants a file every so many seconds, and none at the end, when there is a result."""

    def __init__(self, path: Path, seconds: float) -> None:
        self._path, self._seconds, self._last = path, seconds, time.monotonic()

    def checkpoint_path(self, info: EpochInfo, is_last: bool) -> Path | None:
        if is_last or time.monotonic() < self._last + self._seconds:
            return None
        self._last = time.monotonic()
        return self._path


def _is_writer(callback: Any) -> bool:
    return callable(getattr(callback, "checkpoint_path", None))
