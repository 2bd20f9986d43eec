"""Callbacks of the networks: told of each epoch, and able to stop the training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from copy import copy
from typing import Any, NamedTuple

import numpy as np

from cukernels.runtime import Array, to_host
from estimators.neural.network import Network
from estimators.neural.objective import Objective
from estimators.shared.callbacks import FitCallbacks


class EpochInfo(NamedTuple):
    """How a training stands after an epoch, as `on_epoch_end` is told.

    Attributes
    ----------
    epoch : int
        Epochs of this fit (iterations of "lbfgs"), from 1 on.
    n_epochs : int
        How many are planned at the most.
    loss : float
        Mean loss of the epoch.
    validation_score : float or None
        Accuracy on the validation set, if there is one.
    learning_rate : float
        That of the last step; NaN for "lbfgs".
    seconds : float
        Since the training began.
    """

    epoch: int
    n_epochs: int
    loss: float
    validation_score: float | None
    learning_rate: float
    seconds: float


class EpochCallbacks(FitCallbacks):
    """The callbacks of one fit of a network: its own, and those of scikit-learn's API.

    Parameters
    ----------
    model : MLPClassifier or ConvNetClassifier
        The estimator, with its labels known.
    network, objective
        Its layers and what it minimises.
    X, y, sample_weight
        What it is fitted on.
    n_epochs : int
        Most epochs.
    """

    def __init__(
        self,
        model: Any,
        network: Network,
        objective: Objective,
        X: Any,
        y: np.ndarray,
        sample_weight: Any,
        n_epochs: int,
    ) -> None:
        super().__init__(model, X, y, sample_weight, n_epochs, self._no_coef)
        self._functions = as_functions(model.callbacks)
        self._network, self._objective, self._n_epochs = network, objective, n_epochs
        self._begun = time.perf_counter()

    @staticmethod
    def _no_coef(x: np.ndarray) -> Any:
        raise NotImplementedError

    def epoch(self, progress: Any, params: Array, learning_rate: float) -> bool:
        """An epoch ended with these parameters; return whether a callback wants to stop."""
        stop = False
        if self._functions:
            scores = progress.validation_scores
            info = EpochInfo(
                progress.n_iter,
                self._n_epochs,
                progress.loss,
                scores[-1] if scores else None,
                learning_rate,
                time.perf_counter() - self._begun,
            )
            snapshot = copy(self._estimator)
            for name, value in self._attributes(params, progress).items():
                setattr(snapshot, name, value)
            # all of them are told, also after one that wants to stop
            stop = any([function(snapshot, info) is True for function in self._functions])
        if self._fit is not None:
            ended = self._iteration.call_on_fit_task_end(
                **self._task, reconstruction_attributes=lambda: self._attributes(params, progress)
            )
            self._begin_iteration(params)
            stop = stop or bool(ended)
        return stop

    def _reconstruction(self, x: np.ndarray) -> dict[str, Any]:
        return {"reconstruction_attributes": lambda: self._attributes(x)}

    def _attributes(self, params: Array, progress: Any = None) -> dict[str, Any]:
        """The fitted attributes that predictions need, and how the training stands."""
        attributes: dict[str, Any] = {
            "_network": self._network,
            **self._network.fitted_attributes(to_host(params)),
            "n_outputs_": self._network.shapes[-1][0],
            "out_activation_": self._objective.output,
        }
        attributes["n_layers_"] = len(attributes["coefs_"]) + 1
        if progress is not None:
            attributes |= {
                "n_iter_": progress.n_iter,
                "t_": progress.t,
                "loss_": progress.loss,
                "loss_curve_": list(progress.loss_curve),
                "validation_scores_": list(progress.validation_scores) or None,
            }
        return attributes


def as_functions(callbacks: Any) -> list[Callable[[Any, EpochInfo], Any]]:
    """The functions of the `callbacks` parameter: of none, one or several callbacks.

    Raises
    ------
    ValueError
        If one of them can not be called and has no `on_epoch_end`.
    """
    if callbacks is None:
        return []
    several = isinstance(callbacks, Iterable) and not hasattr(callbacks, "on_epoch_end")
    functions = []
    for callback in callbacks if several else [callbacks]:
        function = getattr(callback, "on_epoch_end", callback)
        if not callable(function):
            raise ValueError(
                "callbacks must be functions f(estimator, info) or objects with a method "
                f"on_epoch_end(estimator, info), got {callback!r}"
            )
        functions.append(function)
    return functions
