"""The end of a fit that gets no better."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np

from estimators.callbacks.epochs import EpochCallback
from estimators.shared.bars import say
from estimators.shared.callbacks import EpochInfo

_GREATER_IS_BETTER = {"validation_score"}
Monitor = str | Callable[[Any, EpochInfo], float]


class EarlyStopping(EpochCallback):
    """Stops a fit that has not become better for some epochs.

    It works with each estimator that has `callbacks`, and takes the place of the parameter
    `early_stopping`, which only some have. Unlike that it holds no samples out by itself: for
    "validation_score" give `X_val` and `y_val` to `fit`, or set ``early_stopping=True`` as well.

    Parameters
    ----------
    monitor : str or callable, default="auto"
        What is to become better: the name of a field of `EpochInfo`, such as "loss" or
        "validation_score", or a function ``f(estimator, info)`` that returns a number. "auto" is
        the validation score where there is one, and else the loss.
    patience : int, default=5
        After how many epochs without improvement to stop. 0 is the same as 1.
    min_delta : float, default=0
        By how much a value has to be better than the best so far to count as an improvement.
    mode : {"auto", "min", "max"}, default="auto"
        Whether less or more is better. "auto" is "max" for the validation score, and "min" for all
        else. For a function it has to be said.
    baseline : float, default=None
        A value that has to be reached: epochs that are not better than it are counted as epochs
        without improvement.
    restore_best : bool, default=False
        Whether the estimator ends with the weights of the best epoch, also where the fit was not
        stopped, or by Ctrl-C. `n_iter_`, `loss_curve_` and what `partial_fit` goes on from besides
        the weights are those of the last epoch all the same.
    start_from_epoch : int, default=0
        After how many epochs to begin to look.
    verbose : bool, default=False
        Whether to print a line when it stops a fit.

    Attributes
    ----------
    best_value_ : float or None
        The best value in the fit so far.
    best_epoch_ : int or None
        Its epoch, from 1 on.
    stopped_epoch_ : int or None
        The epoch after which the fit was stopped, if it was.

    Raises
    ------
    ValueError
        If a parameter is not one of those above; in a fit, if there is no validation score.

    Notes
    -----
    The meaning of `patience`, `min_delta`, `baseline` and `start_from_epoch` is that of Keras.
    `patience` and `min_delta` are what skorch calls `patience` and an absolute `threshold`, and
    `restore_best` is `restore_best_weights` there, and `load_best` here.

    In a search each fit has a clone of its own. A fit with ``fit(..., resume_from=)`` begins with
    new patience, and knows nothing of the epochs before. `partial_fit` is one epoch a call, and
    goes on counting: where ``stopped_epoch_`` is no longer None, it is time to leave the loop.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from estimators import MLPClassifier
    >>> from estimators.callbacks import EarlyStopping
    >>> X, y = load_digits(return_X_y=True)
    >>> stopping = EarlyStopping(patience=3, restore_best=True)
    >>> model = MLPClassifier((30,), random_state=0, callbacks=stopping)
    >>> model = model.fit(X[:1200], y[:1200], X_val=X[1200:], y_val=y[1200:])
    >>> model.n_iter_ - stopping.best_epoch_
    3
    >>> model.score(X[1200:], y[1200:]) == stopping.best_value_
    True
    """

    is_silent = False
    may_stop = True

    def __init__(
        self,
        monitor: Monitor = "auto",
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best: bool = False,
        *,
        start_from_epoch: int = 0,
        verbose: bool = False,
    ) -> None:
        names = ("auto", *EpochInfo._fields)
        if not callable(monitor) and monitor not in names:
            raise ValueError(f"monitor must be a function or one of {names}, got {monitor!r}")
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode must be 'auto', 'min' or 'max', got {mode!r}")
        if callable(monitor) and mode == "auto":
            raise ValueError("mode must be 'min' or 'max' where monitor is a function")
        for name, value in (("patience", patience), ("start_from_epoch", start_from_epoch)):
            if not isinstance(value, Integral) or value < 0:
                raise ValueError(f"{name} must be a number of epochs, got {value!r}")
        if not min_delta >= 0:
            raise ValueError(f"min_delta must not be below 0, got {min_delta!r}")
        self.monitor, self.patience, self.min_delta, self.mode = monitor, patience, min_delta, mode
        self.baseline, self.restore_best = baseline, restore_best
        self.start_from_epoch, self.verbose = start_from_epoch, verbose
        self._forget()

    def _forget(self) -> None:
        self.best_value_: float | None = None
        self.best_epoch_: int | None = None
        self.stopped_epoch_: int | None = None
        self._waited = 0

    @property
    def needs_fitted(self) -> bool:  # type: ignore[override]
        """Whether it looks at weights, as a function of the user's may."""
        return callable(self.monitor)

    def on_fit_begin(self, estimator: Any, info: EpochInfo) -> None:
        """Forget the fit before."""
        super().on_fit_begin(estimator, info)
        self._forget()

    def on_epoch_end(self, estimator: Any, info: EpochInfo) -> bool:
        """Return whether the fit is to stop.

        Parameters
        ----------
        estimator : estimator
            A copy, fitted as far as the fit has come. A function `monitor` is given it.
        info : EpochInfo
            How the fit stands.
        """
        epoch = self._count(info)
        if epoch <= self.start_from_epoch:
            return False
        value, sign = self._value(estimator, info)
        self._waited += 1
        if self._is_better(value, self.best_value_, sign):
            self.best_value_, self.best_epoch_ = value, epoch
            if self._is_better(value, self.baseline, sign):
                self._waited = 0
        if self._waited < max(self.patience, 1):
            return False
        if self.stopped_epoch_ is None:
            self.stopped_epoch_ = epoch
            self._say()
        return True

    def keeps_weights(self, info: EpochInfo) -> bool:
        """Return whether the estimator is to end with the weights of this epoch, as yet.

        A callback of your own with a method of this name decides so, too. It is called after each
        epoch.

        Parameters
        ----------
        info : EpochInfo
            How the fit stands.
        """
        return self.restore_best and self.best_epoch_ == self._epoch

    def _value(self, estimator: Any, info: EpochInfo) -> tuple[float, int]:
        """Return the value of an epoch, and 1 or -1 for whether more or less is better."""
        monitor = self.monitor
        if callable(monitor):
            return float(monitor(estimator, info)), 1 if self.mode == "max" else -1
        if monitor == "auto":
            monitor = "loss" if info.validation_score is None else "validation_score"
        value = getattr(info, monitor)
        if value is None:
            raise ValueError(
                "EarlyStopping(monitor='validation_score') needs validation samples: give X_val "
                "and y_val to fit, or set early_stopping=True, where the estimator has these; or "
                "monitor the loss"
            )
        is_max = self.mode == "max" or (self.mode == "auto" and monitor in _GREATER_IS_BETTER)
        return float(value), 1 if is_max else -1

    def _is_better(self, value: float, than: float | None, sign: int) -> bool:
        if not np.isfinite(value) or than is None:
            return bool(np.isfinite(value))
        return sign * (value - than) > self.min_delta

    def _say(self) -> None:
        if self.verbose and not (self.is_silent and self._is_in_fit):
            what = getattr(self.monitor, "__name__", self.monitor)
            best = (
                ""
                if self.best_value_ is None
                else (f" The best value is {self.best_value_:.6g}, of epoch {self.best_epoch_}.")
            )
            say(
                f"Epoch {self.stopped_epoch_}: stopping, as {what!r} has not improved for "
                f"{self._waited} epochs.{best}"
            )
