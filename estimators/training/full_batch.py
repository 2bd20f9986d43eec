"""Training on all rows at once, by a solver that minimises a fixed function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from cukernels import l2_penalty
from cukernels.runtime import Array, and_surely, like, namespace, to_host
from estimators.layers.layer import Mode
from estimators.optimize.lbfgs import HALTED, INTERRUPTED, LIMIT, NOT_FINITE, Iteration, LBFGSResult
from estimators.shared.fit_protocol import Watch
from estimators.shared.scaling import ADVICE
from estimators.training.data import BatchLayout, Data
from estimators.training.member import Arrays, Member
from estimators.training.network import Network
from estimators.training.objective import Objective
from estimators.training.optimizers import solver_named


def train_at_once(
    network: Network,
    objective: Objective,
    data: Data,
    members: Sequence[Member],
    max_fun: Sequence[int],
    watch: Watch | None = None,
) -> list[str]:
    """Minimise the loss of models over all their rows. Their `state` is updated.

    Parameters
    ----------
    network, objective, data
        As `loop.train` takes them.
    members : sequence of Member
        The models. They have the same solver and the same rows. Several models cannot have sparse
        rows.
    max_fun : sequence of int
        The most evaluations of the loss, for each model.
    watch : callable, default=None
        Called after each iteration with the number of models that go on and the lowest loss.

    Returns
    -------
    complaints : list of str
        For each model, why it stopped short of its `tol`, or "" if it reached it.

    Raises
    ------
    ValueError
        If the solver trains in steps.
    KeyboardInterrupt
        After Ctrl-C. The last iterates are in `state`.
    """
    first = members[0]
    minimize = solver_named(first.settings.solver).minimize
    if minimize is None:
        raise ValueError(f"solver={first.settings.solver!r} does not train on all rows at once")
    rows, n_rows = first.first_row + first.rows, len(first.rows)
    (batch,) = data.batches(rows, BatchLayout(models=1, size=n_rows, full=0, rest=n_rows))
    x, y = batch.take()
    start = like(np.stack([m.state.params for m in members]), data.y)
    weights, mass = None, np.full(len(members), float(n_rows))
    if any(m.sample_weight is not None for m in members):
        weights = np.stack([m.row_weights.astype(start.dtype) for m in members])
        mass = weights.sum(axis=1).astype(float)
    chosen: list[Any] = [[], None, None]  # models, and what `of` returns
    l2 = np.array([m.settings.alpha for m in members]) / mass

    def of(models: np.ndarray) -> tuple[Array, Array | None]:
        """Return the penalties and sample weights of some models: mostly those of last time."""
        if not np.array_equal(chosen[0], models):
            strength = like(l2[models].astype(start.dtype), start)
            own = None if weights is None else weights[models]
            chosen[:] = models, strength, None if own is None else like(own, start)
        return chosen[1], chosen[2]

    def value_and_gradient(params: Array, models: np.ndarray) -> tuple[Array, Array]:
        grads = namespace(params).zeros_like(params)
        strength, weight = of(models)
        z, backward = network.forward(
            network.views(params), x, Mode(training=True, sample_weight=weight)
        )
        targets = namespace(y).broadcast_to(y, (len(models), *y.shape[1:]))
        loss, dz = objective.value_and_gradient(z, targets, weight)
        backward(dz, network.views(grads))
        return l2_penalty(loss, grads, params, strength, n_decayed=network.n_decayed), grads

    def report(
        models: np.ndarray, params: Array, values: np.ndarray, ended: Iteration
    ) -> list[bool]:
        stop = []
        each = zip(models.tolist(), params, values.tolist(), strict=True)
        for place, (m, own, value) in enumerate(each):
            member = members[m]
            member.state = replace(member.state, n_iter=member.state.n_iter + 1, loss=value)
            member.reporter.epoch(member.state.n_iter, value)
            arrays = Arrays(own, {}, partial(ended.state, place), ended.is_last(place))
            stop.append(member.told_to_stop(arrays))
        if watch is not None:
            watch(len(models), float(values.min()))
        return stop

    with np.errstate(over="ignore", invalid="ignore"):  # a loss that diverges is reported
        result = minimize(
            value_and_gradient,
            start,
            max_iter=np.array([m.settings.max_iter for m in members]),
            gtol=np.array([m.settings.tol for m in members]),
            max_fun=np.array(max_fun),
            states=[m.of_lbfgs for m in members],
            callback=report,
        )

    def store() -> None:
        ends = to_host(result.x), result.n_iter.tolist(), result.fun.tolist()
        for member, x, n_iter, value in zip(members, *ends, strict=True):
            member.state = replace(member.state, params=x, n_iter=n_iter, loss=value)

    and_surely(store, store)
    if (result.status == INTERRUPTED).any():
        raise KeyboardInterrupt
    return [_complaint(member, result, m) for m, member in enumerate(members)]


def _complaint(member: Member, result: LBFGSResult, m: int) -> str:
    """Return why model `m` stopped short of its `tol`, or "" if it reached it."""
    settings, message = member.settings, result.message[m]
    if message == NOT_FINITE[1]:
        advice = f"The input data may contain large values and need to be preprocessed. {ADVICE}"
    elif result.status[m] == LIMIT and message != HALTED[1]:
        advice = (
            "Increase the number of iterations to improve the convergence "
            f"(max_iter={settings.max_iter})."
        )
    else:
        return ""
    n_iter = member.state.n_iter
    return f"{settings.solver} failed to converge after {n_iter} iteration(s) ({message}). {advice}"
