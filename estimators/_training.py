"""The one training loop: minibatches for a stack of M models, which may be one.

Every model has its own rows, weights, rates and random stream; they share the data and the shapes
of their layers. A model that is done leaves the stack, so that nobody computes for it. The host
reads results once an epoch; all that changes from step to step is in arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from cukernels._array import Array, namespace, to_device, to_host
from cukernels.gather import gather_rows
from cukernels.optimizers import adam, sgd
from estimators._layers import Mode, Parameters, SparseRows
from estimators._network import Network
from estimators._objective import Objective
from estimators._trainee import Trainee


class Data(NamedTuple):
    """What a stack learns from: samples on the device (or a SciPy CSR matrix), and targets."""

    X: Any
    y: Array

    def inputs(self, rows: np.ndarray) -> Array | SparseRows:
        """The samples of each model, (M, B, ...), for row numbers of shape (M, B)."""
        if sp.issparse(self.X):
            picked = self.X[rows.ravel()]
            return SparseRows(picked.data, picked.indices, picked.indptr)
        return gather_rows(self.X, _like(rows, self.X))

    def targets(self, rows: np.ndarray) -> Array:
        """The targets of each model, (M, B, ...)."""
        return gather_rows(self.y, _like(rows, self.y))


class Stack:
    """The arrays of the models that are still training, one row a model."""

    def __init__(self, network: Network, trainees: list[Trainee], like: Array) -> None:
        self.network = network
        self.trainees = trainees
        self.params = _like(np.stack([t.progress.params for t in trainees]), like)
        self.grads = namespace(like).zeros_like(self.params)
        self.moments = {
            name: _like(np.stack([t.progress.moments[name] for t in trainees]), like)
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
            self.parameters[place]["rate"] = _like(rates, self.params)
            self.parameters[place]["seed"] = _like(seeds, self.params)
        names = ("momentum",) if "velocity" in self.moments else ("beta_1", "beta_2", "epsilon")
        self.alpha = self._vector("alpha")
        self.settings = {name: self._vector(name) for name in names}

    def _vector(self, name: str) -> Array:
        """One setting of every model, as an array of shape (M,)."""
        values = np.array([getattr(t.settings, name) for t in self.trainees], float)
        return _like(values, self.params)

    def parameters_of(self, m: int) -> list[Parameters]:
        """The parameters of one model, as a stack of one."""
        return [{name: a[m : m + 1] for name, a in p.items()} for p in self.parameters]

    def save(self, chosen: list[int]) -> None:
        """Bring the arrays of some models home to their `progress`."""
        for m in chosen:
            progress = self.trainees[m].progress
            progress.params = to_host(self.params[m]).copy()
            progress.moments = {n: to_host(a[m]).copy() for n, a in self.moments.items()}

    def keep(self, chosen: list[int]) -> None:
        """Go on with some of the models only."""
        self.trainees = [self.trainees[m] for m in chosen]
        self.params = self.params[chosen]
        self.grads = self.grads[chosen]
        self.moments = {name: a[chosen] for name, a in self.moments.items()}
        self._bind()


def train(
    network: Network, objective: Objective, data: Data, trainees: list[Trainee], epochs: int
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
        How many epochs at the most.
    """
    stack = Stack(network, trainees, data.y if sp.issparse(data.X) else data.X)
    try:
        for _ in range(epochs):
            with np.errstate(over="ignore", invalid="ignore"):  # a diverging loss says it itself
                losses = _epoch(stack, objective, data)
            done = [
                trainee.end_epoch(float(loss), stack.parameters_of(m), stack.params[m])
                for m, (trainee, loss) in enumerate(zip(stack.trainees, losses, strict=True))
            ]
            if any(done):
                stack.save([m for m, is_done in enumerate(done) if is_done])
                stack.keep([m for m, is_done in enumerate(done) if not is_done])
            if not stack.trainees:
                break
    finally:  # an interrupt keeps what is trained
        stack.save(list(range(len(stack.trainees))))


def _epoch(stack: Stack, objective: Objective, data: Data) -> np.ndarray:
    """One pass over the rows of every model; returns the mean loss of each, on the host."""
    trainees, params = stack.trainees, stack.params
    first_steps = np.array([t.progress.step for t in trainees])
    rates = _like(np.stack([t.start_epoch() for t in trainees]), params)
    total = namespace(params).zeros(len(trainees))
    for i, (rows, sizes, weight) in enumerate(_batches(trainees, params)):
        step = _like(first_steps + i + 1, params)
        mass = sizes if weight is None else weight.sum(axis=1)
        l2 = stack.alpha / namespace(params).where(mass == 0, 1, mass)
        x = _augmented(data.inputs(rows), trainees)
        z, backward = stack.network.forward(
            stack.parameters, x, Mode(training=True, sample_weight=weight, step=step)
        )
        loss, dz = objective.value_and_gradient(z, data.targets(rows), weight)
        backward(dz, stack.gradients)
        total += (loss + 0.5 * l2 * _squared_norm(params[:, : stack.network.n_decayed])) * sizes
        _optimize(stack, rates[:, i], l2, step)
    n_rows = np.array([len(t.rows) for t in trainees])
    return to_host(total) / n_rows


def _batches(
    trainees: list[Trainee], like: Array
) -> Iterator[tuple[np.ndarray, Array, Array | None]]:
    """Row numbers (M, B), how many are real (M,), and weights (M, B) or None.

    Where the last batches differ in length, the short ones are filled up with rows of weight 0.
    """
    size = trainees[0].settings.batch_size
    weighted = any(t.sample_weight is not None for t in trainees)
    for start in range(0, max(len(t.rows) for t in trainees), size):
        picked = [t.rows[start : start + size] for t in trainees]
        sizes = np.array([len(rows) for rows in picked])
        rows = np.zeros((len(picked), sizes.max()), np.intp)
        weights = np.zeros(rows.shape)
        for m, (trainee, own) in enumerate(zip(trainees, picked, strict=True)):
            rows[m, : len(own)] = own
            weights[m, : len(own)] = 1 if trainee.sample_weight is None else (
                trainee.sample_weight[own]
            )  # fmt: skip
        plain = not weighted and sizes.min() == sizes.max()
        weight = None if plain else _like(weights.astype(like.dtype), like)
        yield rows, _like(sizes.astype(float), like), weight


def _augmented(x: Array | SparseRows, trainees: list[Trainee]) -> Array | SparseRows:
    for m, trainee in enumerate(trainees):
        if trainee.augment is not None and not isinstance(x, SparseRows):
            x[m] = trainee.augment(x[m])
    return x


def _optimize(stack: Stack, rates: Array, l2: Array, step: Array) -> None:
    arguments = stack.moments | stack.settings
    arguments |= {"learning_rate": rates, "l2": l2, "n_decayed": stack.network.n_decayed}
    if "velocity" in stack.moments:
        nesterov = stack.trainees[0].settings.nesterovs_momentum
        sgd(stack.params, stack.grads, **arguments, nesterov=nesterov)
    else:
        adam(stack.params, stack.grads, **arguments, step=step)


def _squared_norm(weights: Array) -> Array:
    """Squared length of each row, by the dot product of BLAS."""
    return (weights[:, None, :] @ weights[:, :, None])[:, 0, 0]


def _like(x: np.ndarray, like: Array) -> Array:
    """Put a host array where `like` is."""
    return x if isinstance(like, np.ndarray) else to_device(x, f"cuda:{like.device.id}")
