"""The one training loop: minibatches for a stack of M models, which may be one.

Every model has its own rows, weights, rates and random stream; they share the data and the shapes
of their layers. A model that is done leaves the stack, so that nobody computes for it. The host
reads results once an epoch; all that changes from step to step is in arrays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cukernels import add_loss
from cukernels.runtime import Array, Workspaces, in_parallel, like, namespace, to_host
from cukernels.training import loss_total
from estimators.layers.layer import Mode
from estimators.neural.data import Data
from estimators.neural.network import Network
from estimators.neural.objective import Objective
from estimators.neural.optimizers import solver_named
from estimators.neural.pieces import Pieces
from estimators.neural.steps import Step, epoch_steps
from estimators.neural.trainee import Trainee
from estimators.neural.validation import validation_scores
from estimators.shared.fit_protocol import Watch


class Part:
    """Some models of a stack, as views of its arrays.

    Parameters
    ----------
    stack : Stack
    models : slice
        Which models.
    dropouts : dict
        Rates and seeds of the models of the stack, by the place of the layer.
    settings : dict
        Settings of the solver by the arguments of its op, each of shape (M,).

    Attributes
    ----------
    constants : dict
        The arguments of the solver's op that are the same ones in every step.
    grads, gradients : list
        Of each chunk of rows, flat and by layer; that of the first is the stack's.
    """

    def __init__(
        self,
        stack: Stack,
        models: slice,
        dropouts: dict[int, tuple[Array, Array]],
        settings: dict[str, Array],
    ) -> None:
        network = stack.network
        self.models, self.n_decayed = models, network.n_decayed
        self.params = stack.params[models]
        self.grads = [grads[models] for grads in stack.grads]
        self.constants = {name: a[models] for name, a in (stack.moments | settings).items()}
        self.constants |= stack.shared | {"n_decayed": self.n_decayed}
        self.parameters = network.views(self.params)
        for place, (rate, seed) in dropouts.items():
            self.parameters[place] |= {"rate": rate[models], "seed": seed[models]}
        self.gradients = [network.views(grads) for grads in self.grads]
        self.op, self.of_step = stack.op, stack.solver.of_step
        self.network, self.cut = network, stack.cut
        self.workspaces = stack.workspaces

    def learn(self, objective: Objective, step: Step, total: Array) -> None:
        """Take a step, one chunk of rows after the other."""
        n_chunks = len(self.cut.rows(step.n_rows))
        self.update(step, [self.gradient(objective, step, i) for i in range(n_chunks)], total)

    def gradient(self, objective: Objective, step: Step, chunk: int) -> Array:
        """Set the gradients of a chunk of the rows of a step; returns its part of the losses."""
        chunks, models = self.cut.rows(step.n_rows), self.models
        with self.workspaces.block(len(self.params) * self.cut.bytes_of_step):
            x, y, weight = step.part(models, chunks[chunk])
            mode = Mode(training=True, sample_weight=weight, step=step.number[models])
            z, backward = self.network.forward(self.parameters, x, mode)
            loss, dz = objective.value_and_gradient(z, y, weight)
            if len(chunks) > 1:
                share = step.share(models, chunks[chunk]).astype(dz.dtype)
                loss *= share
                dz *= share[:, None, None]
            backward(dz, self.gradients[chunk])
        return loss

    def update(self, step: Step, losses: Sequence[Array], total: Array) -> None:
        """Add up the chunks in their order, and let the optimizer take its step."""
        loss, own = losses[0], self.models
        for other, grads in zip(losses[1:], self.grads[1:], strict=False):
            loss = loss + other
            self.grads[0] += grads
        add_loss(
            total[own], loss, self.params, size=step.size[own], l2=step.l2[own],
            n_decayed=self.n_decayed,
        )  # fmt: skip
        vectors = {name: getattr(step, of)[own] for name, of in self.of_step.items()}
        self.op(self.params, self.grads[0], **self.constants, **vectors)


class Stack:
    """The arrays of the models that are still training, one row a model."""

    def __init__(
        self, network: Network, trainees: list[Trainee], cut: Pieces, reference: Array
    ) -> None:
        self.network, self.cut = network, cut
        self.trainees, self.workspaces = trainees, Workspaces()
        first = trainees[0].settings
        self.solver = solver_named(first.solver)
        if self.solver.op is None:
            raise ValueError(f"solver={first.solver!r} does not train in steps")
        self.op = self.solver.op
        self.shared = {name: getattr(first, of) for name, of in self.solver.shared.items()}
        self.params = like(np.stack([t.progress.params for t in trainees]), reference)
        xp = namespace(reference)
        self.grads = [xp.zeros_like(self.params) for _ in range(cut.most_chunks)]
        self.moments = {
            name: like(np.stack([t.progress.moments[name] for t in trainees]), reference)
            for name in self.solver.moments
        }
        self._bind()

    def _bind(self) -> None:
        """Remake what follows from which models are in the stack."""
        dropouts = {
            place: (
                like(np.array([t.dropout[i][0] for t in self.trainees]), self.params),
                like(np.array([t.dropout[i][1] for t in self.trainees], np.uint64), self.params),
            )
            for i, place in enumerate(self.network.dropouts)
        }
        settings = {name: self._vector(of) for name, of in self.solver.settings.items()}
        self.parts = [
            Part(self, models, dropouts, settings) for models in self.cut.models(len(self.params))
        ]

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
        self.grads = [grads[chosen] for grads in self.grads]
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
        The models. They agree in `solver`, in what it shares (`Solver.shared`), in `batch_size`
        and in the number of batches an epoch, and may differ in everything else.
    epochs : int
        How many epochs at the most; a model may have fewer of its own.
    watch : callable, default=None
        Called after each epoch with the number of models that go on and the lowest loss.
    """
    stack = Stack(network, trainees, Pieces.of(network, trainees, data), data.y)
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
    total = loss_total(stack.params, stack.network.n_decayed)
    steps = epoch_steps(stack.trainees, data, stack.params)
    if len(stack.parts) > 1 and stack.cut.by_models(len(stack.parts)):
        _by_models(stack, objective, list(steps), total)
    else:
        for step in steps:
            _by_rows(stack, objective, step, total)
    n_rows = np.array([len(t.rows) for t in stack.trainees])
    return to_host(total).sum(axis=1) / n_rows


def _by_models(stack: Stack, objective: Objective, steps: list[Step], total: Array) -> None:
    """Piece after piece of the models, which stay in the cache of a core from step to step."""
    stopped = False

    def learn(_: None, part: Part) -> None:
        nonlocal stopped
        try:
            for step in steps:
                if stopped:
                    return
                part.learn(objective, step, total)
        except BaseException:
            stopped = True
            raise

    in_parallel(learn, stack.parts, worth=stack.cut.models_of_a_thread > 0)


def _by_rows(stack: Stack, objective: Objective, step: Step, total: Array) -> None:
    """The cores share in the rows of a step."""
    chunks = range(len(stack.cut.rows(step.n_rows)))
    if len(chunks) == len(stack.parts) == 1:
        return stack.parts[0].learn(objective, step, total)
    pieces = [(part, chunk) for part in stack.parts for chunk in chunks]
    if isinstance(stack.params, np.ndarray):
        losses = in_parallel(lambda _, piece: piece[0].gradient(objective, step, piece[1]), pieces)
    else:
        losses = [part.gradient(objective, step, chunk) for part, chunk in pieces]
    for i, part in enumerate(stack.parts):
        part.update(step, losses[i * len(chunks) : (i + 1) * len(chunks)], total)
