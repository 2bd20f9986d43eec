"""Callbacks of a fit: those of the parameter `callbacks`, and those of scikit-learn's API."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from estimators.scikit_learn import (
    LEFT_BY_CALLBACKS,
    has_callbacks,
    init_callback_context,
)
from estimators.shared.listeners import Listener, is_writer, listed, listeners_of


class EpochInfo(NamedTuple):
    """How far a fit has come after an epoch, as `on_epoch_end` is told.

    Attributes
    ----------
    epoch : int
        Epochs of this fit (iterations of solvers that have no epochs), from 1 on.
    n_epochs : int
        The most epochs that are planned.
    loss : float
        Mean loss of the epoch; of solvers that have no epochs, the value that they minimise.
    validation_score : float or None
        Accuracy on the validation set, if there is one.
    learning_rate : float
        Learning rate of the last step; NaN for solvers that have none.
    seconds : float
        Time since the fit began.
    """

    epoch: int
    n_epochs: int
    loss: float
    validation_score: float | None
    learning_rate: float
    seconds: float


Write = Callable[[Path, dict[str, Any], EpochInfo], None]


class EpochCallbacks:
    """All callbacks of one fit: those of `callbacks`, and those of scikit-learn's API.

    Parameters
    ----------
    estimator : estimator
        The estimator that is fitted.
    X, y, sample_weight
        What it is fitted on.
    n_epochs : int
        The most epochs.
    attributes : callable
        Returns the fitted attributes for the state of an epoch. It is called only where a callback
        wants them.

    Attributes
    ----------
    describe : callable
        Returns what a file is to say of the fit itself. It is called once, before the first file.
    kept : dict or None
        The fitted attributes of the epoch whose weights a callback wants the estimator to end with.
    """

    describe: Callable[[], dict[str, Any]]

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: np.ndarray,
        sample_weight: Any,
        n_epochs: int,
        attributes: Callable[..., dict[str, Any]],
    ) -> None:
        self._estimator, self._n_epochs, self._attributes = estimator, n_epochs, attributes
        self._listeners = listeners_of(estimator.callbacks)
        self._open: list[Listener] = []  # those that are to be told of the end
        self._last: tuple[Any, EpochInfo] | None = None  # what they were told last
        self.kept: dict[str, Any] | None = None
        self._writers = [c for c in listed(estimator.callbacks) if is_writer(c)]
        self._description: dict[str, Any] | None = None
        self._of_scikit_learn = FitCallbacks(estimator, X, y, sample_weight, n_epochs, attributes)
        self._begun = time.perf_counter()

    @property
    def writes(self) -> bool:
        """Whether a callback writes files to resume from."""
        return bool(self._writers)

    def write_to(self, path: Path, seconds: float) -> None:
        """Write a file every so many seconds, beside those that callbacks want."""
        self._writers.append(_Timed(path, seconds))

    @property
    def are_heard(self) -> bool:
        """Whether there is anybody to tell of an epoch."""
        return bool(self._listeners or self._writers) or self._of_scikit_learn.have_begun

    def begin(self, *state: Any) -> None:
        """Tell that the fit starts from a state, as `attributes` takes it."""
        self._of_scikit_learn.begin(*state)

    def info(self, epoch: int, loss: float, score: float | None, rate: float) -> EpochInfo:
        """Return how far the fit has come."""
        seconds = time.perf_counter() - self._begun
        return EpochInfo(epoch, self._n_epochs, loss, score, rate, seconds)

    def epoch(
        self,
        info: EpochInfo,
        state: tuple,
        write: Write | None,
        *,
        is_last: bool = False,
    ) -> bool:
        """Tell that an epoch has ended; return whether a callback wants to stop.

        Parameters
        ----------
        info : EpochInfo
            How far the fit has come.
        state : tuple
            As `attributes` takes it.
        write : callable or None
            Writes a file; ``write(path, description, info)``. None if there is nothing to go on
            from.
        is_last : bool, default=False
            Whether the fit ends here, whatever the callbacks say.
        """
        stop = bool(self._listeners) and self._listeners_stop(info, state)
        stop = self._of_scikit_learn.iteration(*state) or stop
        if self._writers and write is not None:
            # A file says nothing of a stop by a callback: another fit may have other callbacks.
            is_last = is_last or stop or info.epoch >= self._n_epochs
            paths = [writer.checkpoint_path(info, is_last) for writer in self._writers]
            for path in dict.fromkeys(path for path in paths if path is not None):
                if self._description is None:
                    self._description = self.describe()
                write(path, self._description, info)
        return stop

    def end(self) -> None:
        """Tell that the estimator has its fitted attributes."""
        self._of_scikit_learn.end()

    def open(self, n_done: int, *, is_alone: bool) -> None:
        """Tell the callbacks that the fit begins, after so many epochs that a file has had.

        Parameters
        ----------
        n_done : int
            How many epochs are done.
        is_alone : bool
            Whether no other fit runs with it. Else the callbacks show nothing.
        """
        told = without_callbacks(copy(self._estimator)), self.info(n_done, np.nan, None, np.nan)
        self._last = told
        for listener in self._listeners:
            listener.be_silent(not is_alone)
            # first, so that one that fails half-way closes what it has opened
            self._open.append(listener)
            listener.begin(*told)

    def close(self) -> None:
        """Tell those callbacks of the end that were told of the beginning, all of them.

        What they raise is raised after the last one is told.
        """
        errors = []
        while self._open and self._last is not None:
            try:
                self._open.pop(0).end(*self._last)
            except Exception as error:
                errors.append(error)
        self._last = None
        if errors:
            raise errors[0]

    def _listeners_stop(self, info: EpochInfo, state: tuple) -> bool:
        """Call them with a copy of the estimator as it is now; True if one says stop."""
        snapshot = without_callbacks(copy(self._estimator))
        # Weights are fetched from their device only where somebody looks at them.
        if any(listener.needs_fitted for listener in self._listeners):
            vars(snapshot).update(self._attributes(*state))
        if self._last is not None:
            self._last = snapshot, info
        # A list, so that all of them are told, also after one that wants to stop.
        stops = any([_is_true(listener.epoch(snapshot, info)) for listener in self._listeners])
        # A list again, as each of them is asked in each epoch.
        if any([listener.keeps_weights(info) for listener in self._listeners]):
            self.kept = self._attributes(*state)
        return stops


@contextmanager
def told_of(fits: Sequence[Any], n_done: Sequence[int], *, is_alone: bool) -> Iterator[None]:
    """Tell the callbacks of fits that they begin, and that they end however that comes.

    What a callback raises ends its fit alone: where there are several, the fit keeps the error.

    Parameters
    ----------
    fits : sequence of Fit
        The fits. Their `callbacks` are there already, or None where nobody is to be told.
    n_done : sequence of int
        How many epochs of each are done, in a fit that is resumed.
    is_alone : bool
        Whether the one fit runs alone.
    """
    told = [(fit, fit.callbacks) for fit in fits if fit.callbacks is not None]
    done = [n for fit, n in zip(fits, n_done, strict=True) if fit.callbacks is not None]

    def call(name: str, *each: tuple, **options: Any) -> None:
        for (fit, callbacks), arguments in zip(told, each, strict=True):
            try:
                getattr(callbacks, name)(*arguments, **options)
            except Exception as error:
                if is_alone and fit.error is None:
                    raise
                fit.error = fit.error or error  # the first one is the news

    try:
        call("open", *((n,) for n in done), is_alone=is_alone)
        yield
    except BaseException as error:
        try:
            call("close", *[()] * len(told))
        except Exception as other:  # what has ended the fit is the news
            error.add_note(f"Then a callback failed as well: {type(other).__name__}: {other}")
        raise
    call("close", *[()] * len(told))


class FitCallbacks:
    """Calls scikit-learn's callbacks of one fit; does nothing where there are none.

    Parameters
    ----------
    estimator : estimator
        The estimator that is fitted, whose callbacks are called.
    X, y, sample_weight
        What the estimator is fitted on.
    max_iter : int
        The most iterations that the fit may take.
    attributes : callable
        Returns the fitted attributes for the state of an iteration, such as its parameters. It is
        called only where a callback wants them.
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: np.ndarray,
        sample_weight: Any,
        max_iter: int,
        attributes: Callable[..., dict[str, Any]],
    ) -> None:
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._task = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._estimator, self._max_iter, self._attributes = estimator, max_iter, attributes
        self._iteration: Any = None
        self._fit: Any = None

    @property
    def have_begun(self) -> bool:
        """Whether there are any, who know of the fit."""
        return self._fit is not None

    def begin(self, *state: Any) -> None:
        """Report that the fit starts from a state, as `attributes` takes it."""
        if has_callbacks(self._estimator):
            # after each iteration the next one begins, so one more begins than is ever run
            self._fit = init_callback_context(self._estimator, self._max_iter + 1)
            self._fit.call_on_fit_task_begin(**self._task)
            self._begin_iteration(*state)

    def iteration(self, *state: Any) -> bool:
        """Report that an iteration ended in a state; return whether a callback wants to stop."""
        if self._fit is None:
            return False
        stop = self._iteration.call_on_fit_task_end(
            **self._task, reconstruction_attributes=partial(self._attributes, *state)
        )
        self._begin_iteration(*state)
        return bool(stop)

    def end(self) -> None:
        """Report that the estimator has its fitted attributes."""
        if self._fit is not None:
            self._iteration.call_on_fit_task_end(estimator=self._estimator)
            self._fit.call_on_fit_task_end(**self._task, reconstruction_attributes={})

    def _begin_iteration(self, *state: Any) -> None:
        self._iteration = self._fit.subcontext(task_name=f"{self._estimator.solver}-iter")
        self._iteration.call_on_fit_task_begin(
            **self._task, reconstruction_attributes=partial(self._attributes, *state)
        )


def without_callbacks(estimator: Any) -> Any:
    """Take all callbacks off an estimator, a copy for one of them; return it."""
    estimator.callbacks = None
    for name in [n for n in vars(estimator) if n.startswith(LEFT_BY_CALLBACKS)]:
        delattr(estimator, name)
    return estimator


def _is_true(answer: Any) -> bool:
    """Whether a callback says stop. NumPy's comparisons give a True of their own."""
    return isinstance(answer, bool | np.bool_) and bool(answer)


class _Timed:
    """Wants a file every so many seconds, and none at the end, when there is a result."""

    def __init__(self, path: Path, seconds: float) -> None:
        self._path, self._seconds, self._last = path, seconds, time.monotonic()

    def checkpoint_path(self, info: EpochInfo, is_last: bool) -> Path | None:
        if is_last or time.monotonic() < self._last + self._seconds:
            return None
        self._last = time.monotonic()
        return self._path
