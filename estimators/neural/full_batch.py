"""Training on all rows at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cukernels.runtime import Array, like, namespace, to_host
from estimators.layers.layer import Mode
from estimators.neural.data import Cut, Data
from estimators.neural.network import Network
from estimators.neural.objective import Objective
from estimators.neural.optimizers import solver_named
from estimators.neural.trainee import Trainee
from estimators.optimize.lbfgs import HALTED, INTERRUPTED, LIMIT, NOT_FINITE
from estimators.shared.fit_protocol import Watch


def train_at_once(
    network: Network,
    objective: Objective,
    data: Data,
    trainees: Sequence[Trainee],
    max_fun: Sequence[int],
    watch: Watch | None = None,
) -> list[str]:
    """Minimise the loss of models over all their rows; their `progress` is updated.

    Parameters
    ----------
    network, objective, data
        As `loop.train` takes them.
    trainees : sequence of Trainee
        The models. They have the same solver and rows, and these are not sparse if there are
        several.
    max_fun : sequence of int
        Most evaluations of the loss of each model.
    watch : callable, default=None
        Called after each iteration with the number of models that go on and the lowest loss.

    Returns
    -------
    complaints : list of str
        Of each model, why it stopped short of its `tol`; empty where it did not.

    Raises
    ------
    ValueError
        If the solver is one that trains in steps.
    KeyboardInterrupt
        After Ctrl-C, with the last iterates in `progress`.
    """
    first = trainees[0]
    minimize = solver_named(first.settings.solver).minimize
    if minimize is None:
        raise ValueError(f"solver={first.settings.solver!r} does not train on all rows at once")
    rows, n_rows = first.first_row + first.rows, len(first.rows)
    (batch,) = data.batches(rows, Cut(models=1, size=n_rows, full=0, rest=n_rows))
    x, y = batch.part()
    start = like(np.stack([t.progress.params for t in trainees]), data.y)
    weights, mass = None, np.full(len(trainees), float(n_rows))
    if any(t.sample_weight is not None for t in trainees):
        weights = np.stack([_weights(t, start.dtype) for t in trainees])
        mass = weights.sum(axis=1).astype(float)
        weights = like(weights, start)
    l2 = np.array([t.settings.alpha for t in trainees]) / mass

    def value_and_gradient(params: Array, models: np.ndarray) -> tuple[Array, Array]:
        grads = namespace(params).zeros_like(params)
        weight = None if weights is None else weights[models]
        z, backward = network.forward(
            network.views(params), x, Mode(training=True, sample_weight=weight)
        )
        targets = namespace(y).broadcast_to(y, (len(models), *y.shape[1:]))
        loss, dz = objective.value_and_gradient(z, targets, weight)
        backward(dz, network.views(grads))
        decayed = params[:, : network.n_decayed]
        strength = like(l2[models, None].astype(params.dtype), params)
        grads[:, : network.n_decayed] += strength * decayed
        return loss + 0.5 * strength[:, 0] * (decayed * decayed).sum(axis=1), grads

    def report(models: np.ndarray, params: Array, values: np.ndarray) -> list[bool]:
        stop = []
        for m, own, value in zip(models.tolist(), params, values.tolist(), strict=True):
            progress = trainees[m].progress
            progress.n_iter += 1
            progress.loss = value
            trainees[m].reporter.epoch(progress.n_iter, value)
            stop.append(trainees[m].told_to_stop(own))
        if watch is not None:
            watch(len(models), float(values.min()))
        return stop

    with np.errstate(over="ignore", invalid="ignore"):  # a diverging loss says it itself
        result = minimize(
            value_and_gradient,
            start,
            max_iter=np.array([t.settings.max_iter for t in trainees]),
            gtol=np.array([t.settings.tol for t in trainees]),
            max_fun=np.array(max_fun),
            callback=report,
        )
    complaints = []
    for m, trainee in enumerate(trainees):
        progress = trainee.progress
        progress.params = to_host(result.x[m])
        progress.n_iter = int(result.n_iter[m])
        progress.loss = float(result.fun[m])
        message, advice = result.message[m], ""
        if message == NOT_FINITE[1]:
            advice = "The input data may contain large values and need to be preprocessed."
        elif result.status[m] == LIMIT and message != HALTED[1]:
            advice = (
                "Increase the number of iterations to improve the convergence "
                f"(max_iter={trainee.settings.max_iter})."
            )
        failed = (
            f"{trainee.settings.solver} failed to converge after {progress.n_iter} iteration(s) "
            f"({message}). "
        )
        complaints.append(failed + advice if advice else "")
    if (result.status == INTERRUPTED).any():
        raise KeyboardInterrupt
    return complaints


def _weights(trainee: Trainee, dtype: np.dtype) -> np.ndarray:
    if trainee.sample_weight is None:
        return np.ones(len(trainee.rows), dtype)
    return trainee.sample_weight[trainee.rows].astype(dtype)
