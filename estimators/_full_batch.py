"""Training on all rows at once, by L-BFGS."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from cukernels._array import Array, like, namespace, to_host
from estimators._batches import Cut, Data
from estimators._layers import Mode
from estimators._lbfgs import INTERRUPTED, LIMIT, minimize_lbfgs
from estimators._network import Network
from estimators._objective import Objective
from estimators._trainee import Trainee


def train_lbfgs(
    network: Network, objective: Objective, data: Data, trainee: Trainee, max_fun: int
) -> None:
    """Minimise the loss of one model over all its rows; its `progress` is updated.

    Parameters
    ----------
    network, objective, data, trainee
        As `_training.train` takes them.
    max_fun : int
        Most evaluations of the loss.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, with the last iterate in `progress`.
    """
    settings, progress = trainee.settings, trainee.progress
    rows = trainee.rows
    ((x, y),) = data.batches(rows, Cut(models=1, size=len(rows), full=0, rest=len(rows)))
    start = like(progress.params[None], data.y)
    weight, mass = None, float(len(rows))
    if trainee.sample_weight is not None:
        weights = trainee.sample_weight[None, rows].astype(start.dtype)
        weight, mass = like(weights, start), float(weights.sum())
    l2 = settings.alpha / mass

    def value_and_gradient(params: Array, models: np.ndarray) -> tuple[Array, Array]:
        grads = namespace(params).zeros_like(params)
        z, backward = network.forward(
            network.views(params), x, Mode(training=True, sample_weight=weight)
        )
        loss, dz = objective.value_and_gradient(z, y, weight)
        backward(dz, network.views(grads))
        weights = params[:, : network.n_decayed]
        grads[:, : network.n_decayed] += l2 * weights
        return loss + 0.5 * l2 * (weights * weights).sum(axis=1), grads

    stopped: list[bool] = []

    def report(models: np.ndarray, params: Array, values: np.ndarray) -> None:
        progress.n_iter += 1
        progress.loss = float(values[0])
        trainee.reporter.epoch(progress.n_iter, progress.loss)
        if trainee.told_to_stop(params[0]):
            stopped.append(True)
            raise StopIteration

    result = minimize_lbfgs(
        value_and_gradient,
        start,
        max_iter=settings.max_iter,
        gtol=settings.tol,
        max_fun=max_fun,
        callback=report,
    )
    progress.params = to_host(result.x[0])
    progress.n_iter = int(result.n_iter[0])
    progress.loss = float(result.fun[0])
    if result.status[0] == INTERRUPTED:
        raise KeyboardInterrupt
    if result.status[0] == LIMIT and not stopped:
        warnings.warn(
            f"lbfgs failed to converge after {progress.n_iter} iteration(s) "
            f"({result.message[0]}). Increase the number of iterations to improve the "
            f"convergence (max_iter={settings.max_iter}).",
            ConvergenceWarning,
            stacklevel=4,
        )
