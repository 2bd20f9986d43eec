"""The one training loop: minibatches for a stack of M models, which may be one.

Every model has its own rows, weights, rates and random stream; they share the data and the shapes
of their layers. A model that is done leaves the stack, so that nobody computes for it. The host
reads results once an epoch; all that changes from step to step is in arrays.
"""

from __future__ import annotations

import numpy as np

from cukernels._array import Array, like, namespace, to_host
from cukernels.epoch_loss import add_loss, loss_total
from cukernels.optimizers import adam, sgd
from estimators._batches import Data, Step, epoch_steps
from estimators._held_out import validation_scores
from estimators._layers import Mode
from estimators._network import Network
from estimators._objective import Objective
from estimators._samples import Watch
from estimators._trainee import Trainee


class Stack:
    """The arrays of the models that are still training, one row a model."""

    def __init__(self, network: Network, trainees: list[Trainee], reference: Array) -> None:
        self.network = network
        self.trainees = trainees
        self.params = like(np.stack([t.progress.params for t in trainees]), reference)
        self.grads = namespace(reference).zeros_like(self.params)
        self.moments = {
            name: like(np.stack([t.progress.moments[name] for t in trainees]), reference)
            for name in trainees[0].progress.moments
        }
        self._bind()

    def _bind(self) -> None:
        """Remake the views and vectors that follow from which models are in the stack."""
        self.parameters = self.network.views(self.params)
        self.gradients = self.network.views(self.grads)
        for i, place in enumerate(self.network.dropouts):
            rates = np.array([t.dropout[i][0] for t in self.trainees])
            seeds = np.array([t.dropout[i][1] for t in self.trainees], np.uint64)
            self.parameters[place]["rate"] = like(rates, self.params)
            self.parameters[place]["seed"] = like(seeds, self.params)
        names = ("momentum",) if "velocity" in self.moments else ("beta_1", "beta_2", "epsilon")
        self.settings = {name: self._vector(name) for name in names}

    def _vector(self, name: str) -> Array:
        """One setting of every model, as an array of shape (M,)."""
        values = np.array([getattr(t.settings, name) for t in self.trainees], float)
        return like(values, self.params)

    def save(self, chosen: list[int]) -> None:
        """Bring the arrays of some models home to their `progress`."""
        for m in chosen:
            progress = self.trainees[m].progress
            progress.params = to_host(self.params[m]).copy()
            progress.moments = {n: to_host(a[m]).copy() for n, a in self.moments.items()}
            if progress.best_params is not None:
                progress.best_params = to_host(progress.best_params)

    def keep(self, chosen: list[int]) -> None:
        """Go on with some of the models only."""
        self.trainees = [self.trainees[m] for m in chosen]
        self.params = self.params[chosen]
        self.grads = self.grads[chosen]
        self.moments = {name: a[chosen] for name, a in self.moments.items()}
        self._bind()


def train(
    network: Network,
    objective: Objective,
    data: Data,
    trainees: list[Trainee],
    epochs: int,
    watch: Watch | None = None,
) -> None:
    """Train models until each is done, or for a number of epochs; their `progress` is updated.

    Parameters
    ----------
    network : Network
        The layers that the models share.
    objective : Objective
        What they minimise.
    data : Data
        What their rows point into.
    trainees : list of Trainee
        The models. They agree in `solver`, `batch_size`, `nesterovs_momentum` and the number of
        batches an epoch, and may differ in everything else.
    epochs : int
        How many epochs at the most; a model may have fewer of its own.
    watch : callable, default=None
        Called after each epoch with the number of models that go on and the lowest loss.
    """
    stack = Stack(network, trainees, data.y)
    try:
        for _ in range(epochs):
            with np.errstate(over="ignore", invalid="ignore"):  # a diverging loss says it itself
                losses = _epoch(stack, objective, data)
                scores = validation_scores(network, objective, data, stack.trainees, stack.params)
            done = [
                trainee.end_epoch(float(loss), score, params)
                for trainee, loss, score, params in zip(
                    stack.trainees, losses, scores, stack.params, strict=True
                )
            ]
            if any(done):
                stack.save([m for m, is_done in enumerate(done) if is_done])
                stack.keep([m for m, is_done in enumerate(done) if not is_done])
            if watch is not None:
                watch(len(stack.trainees), float(np.nanmin(losses, initial=np.inf)))
            if not stack.trainees:
                break
    finally:  # an interrupt keeps what is trained
        stack.save(list(range(len(stack.trainees))))


def _epoch(stack: Stack, objective: Objective, data: Data) -> np.ndarray:
    """One pass over the rows of every model; returns the mean loss of each, on the host."""
    network, params = stack.network, stack.params
    total = loss_total(params, network.n_decayed)
    for step in epoch_steps(stack.trainees, data, params):
        mode = Mode(training=True, sample_weight=step.weight, step=step.number)
        z, backward = network.forward(stack.parameters, step.x, mode)
        loss, dz = objective.value_and_gradient(z, step.y, step.weight)
        backward(dz, stack.gradients)
        add_loss(total, loss, params, l2=step.l2, size=step.size, n_decayed=network.n_decayed)
        _optimize(stack, step)
    n_rows = np.array([len(t.rows) for t in stack.trainees])
    return to_host(total).sum(axis=1) / n_rows


def _optimize(stack: Stack, step: Step) -> None:
    arguments = stack.moments | stack.settings
    arguments |= {"learning_rate": step.learning_rate, "l2": step.l2}
    arguments["n_decayed"] = stack.network.n_decayed
    if "velocity" in stack.moments:
        nesterov = stack.trainees[0].settings.nesterovs_momentum
        sgd(stack.params, stack.grads, **arguments, nesterov=nesterov)
    else:
        adam(stack.params, stack.grads, **arguments, step=step.number)
