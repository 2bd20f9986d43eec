"""The one training loop: minibatches for a stack of M models, which may be one.

Every model has rows, weights, learning rates and a random stream of its own. The models share the
data and the shapes of their layers. A model that is done leaves the stack, so that nobody computes
for it. The host reads results once an epoch; all that changes from step to step is in arrays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cukernels import add_loss
from cukernels.runtime import Array, Workspaces, in_parallel, like, namespace, to_host
from cukernels.training import loss_total
from estimators.costs.compile_ahead import compiled_ahead
from estimators.layers.layer import Mode
from estimators.neural.chunking import Chunking
from estimators.neural.data import Data
from estimators.neural.member import Member
from estimators.neural.network import Network
from estimators.neural.objective import Objective
from estimators.neural.optimizers import solver_named
from estimators.neural.steps import Step, epoch_steps
from estimators.neural.validation import validation_scores
from estimators.shared.fit_protocol import Watch


class ModelGroup:
    """Some models of a stack, as views of its arrays.

    Parameters
    ----------
    stack : Stack
        The stack.
    models : slice
        Which of its models.
    dropouts : dict
        Rates and seeds of all models of the stack, by the place of the layer.
    settings : dict
        Settings of the solver by the arguments of its op, each of shape (M,).

    Attributes
    ----------
    constants : dict
        The arguments of the solver's op that are the same ones in every step.
    grads : list of array
        The flat gradients of each chunk of rows. The sum of all goes into the first.
    gradients : list
        The same, as the parameters of each layer.
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
        self.network, self.chunking = network, stack.chunking
        self.workspaces = stack.workspaces

    def learn(self, objective: Objective, step: Step, total: Array) -> None:
        """Take a step, one chunk of rows after the other."""
        n_chunks = len(self.chunking.chunks(step.n_rows))
        self.update(step, [self.gradient(objective, step, i) for i in range(n_chunks)], total)

    def gradient(self, objective: Objective, step: Step, chunk: int) -> Array:
        """Set the gradients of a chunk of rows, and return what it adds to the losses."""
        chunks, models = self.chunking.chunks(step.n_rows), self.models
        with self.workspaces.block(len(self.params) * self.chunking.bytes_of_step):
            x, y, weight = step.take(models, chunks[chunk])
            mode = Mode(training=True, sample_weight=weight, step=step.number[models])
            z, backward = self.network.forward(self.parameters, x, mode)
            loss, dz = objective.value_and_gradient(z, y, weight)
            if len(chunks) > 1:  # these are means over the chunk, and the step wants its own
                fraction = step.weight_fraction(models, chunks[chunk]).astype(dz.dtype)
                loss *= fraction
                dz *= fraction[:, None, None]
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
    """The arrays of the models that are still training, with a row for each model."""

    def __init__(
        self, network: Network, members: list[Member], chunking: Chunking, reference: Array
    ) -> None:
        self.network, self.chunking = network, chunking
        self.members, self.workspaces = members, Workspaces()
        first = members[0].settings
        self.solver = solver_named(first.solver)
        if self.solver.op is None:
            raise ValueError(f"solver={first.solver!r} does not train in steps")
        self.op = self.solver.op
        self.shared = {name: getattr(first, of) for name, of in self.solver.shared.items()}
        self.params = like(np.stack([m.state.params for m in members]), reference)
        xp = namespace(reference)
        self.grads = [xp.zeros_like(self.params) for _ in range(chunking.most_chunks)]
        self.moments = {
            name: like(np.stack([m.state.moments[name] for m in members]), reference)
            for name in self.solver.moments
        }
        self._regroup()

    def _regroup(self) -> None:
        """Make the groups anew, after models have come or gone."""
        dropouts = {
            place: (
                like(np.array([m.dropout[i][0] for m in self.members]), self.params),
                like(np.array([m.dropout[i][1] for m in self.members], np.uint64), self.params),
            )
            for i, place in enumerate(self.network.dropouts)
        }
        settings = {name: self._setting(of) for name, of in self.solver.settings.items()}
        self.groups = [
            ModelGroup(self, models, dropouts, settings)
            for models in self.chunking.groups(len(self.params))
        ]

    def _setting(self, name: str) -> Array:
        """Return one setting of every model, as an array of shape (M,)."""
        values = np.array([getattr(m.settings, name) for m in self.members], float)
        return like(values, self.params)

    def save(self, chosen: list[int]) -> None:
        """Copy the arrays of some models to their `state`, which is on the host."""
        for m in chosen:
            state = self.members[m].state
            state.params = to_host(self.params[m]).copy()
            state.moments = {n: to_host(a[m]).copy() for n, a in self.moments.items()}
            if state.best_params is not None:
                state.best_params = to_host(state.best_params)

    def keep(self, chosen: list[int]) -> None:
        """Go on with some of the models only."""
        self.members = [self.members[m] for m in chosen]
        self.params = self.params[chosen]
        self.grads = [grads[chosen] for grads in self.grads]
        self.moments = {name: a[chosen] for name, a in self.moments.items()}
        self._regroup()


def train(
    network: Network,
    objective: Objective,
    data: Data,
    members: list[Member],
    epochs: int,
    watch: Watch | None = None,
) -> None:
    """Train models until each is done, or for a number of epochs. Their `state` is updated.

    Parameters
    ----------
    network : Network
        The layers that the models share.
    objective : Objective
        What they minimise.
    data : Data
        What their rows point into.
    members : list of Member
        The models. They agree in `solver`, in what it shares (`Solver.shared`), in `batch_size`
        and in the number of batches of an epoch, and may differ in everything else.
    epochs : int
        The most epochs. A model may have fewer of its own.
    watch : callable, default=None
        Called after each epoch with the number of models that go on and the lowest loss.
    """
    stack = Stack(network, members, Chunking.of(network, members, data), data.y)
    try:
        for _ in range(epochs):
            with np.errstate(over="ignore", invalid="ignore"):  # a loss that diverges is reported
                losses = _epoch(stack, objective, data)
                scores = validation_scores(network, objective, data, stack.members, stack.params)
            done = [
                member.end_epoch(float(loss), score, params)
                for member, loss, score, params in zip(
                    stack.members, losses, scores, stack.params, strict=True
                )
            ]
            if any(done):
                stack.save([m for m, is_done in enumerate(done) if is_done])
                stack.keep([m for m, is_done in enumerate(done) if not is_done])
            if watch is not None:
                watch(len(stack.members), float(np.nanmin(losses, initial=np.inf)))
            if not stack.members:
                break
    finally:  # after an interrupt too, so that it keeps what is trained
        stack.save(list(range(len(stack.members))))


def _epoch(stack: Stack, objective: Objective, data: Data) -> np.ndarray:
    """Pass once over the rows of every model; return the mean loss of each, on the host."""
    total = loss_total(stack.params, stack.network.n_decayed)
    steps = compiled_ahead(stack, objective, epoch_steps(stack.members, data, stack.params), total)
    if len(stack.groups) > 1 and stack.chunking.by_groups(len(stack.groups)):
        _by_groups(stack, objective, list(steps), total)
    else:
        for step in steps:
            _by_chunks(stack, objective, step, total)
    n_rows = np.array([len(m.rows) for m in stack.members])
    return to_host(total).sum(axis=1) / n_rows


def _by_groups(stack: Stack, objective: Objective, steps: list[Step], total: Array) -> None:
    """Let each group take all steps, so that its models stay in the cache of a core."""
    stopped = False

    def learn(_: None, group: ModelGroup) -> None:
        nonlocal stopped
        try:
            for step in steps:
                if stopped:
                    return
                group.learn(objective, step, total)
        except BaseException:
            stopped = True  # the other groups need not go on
            raise

    in_parallel(learn, stack.groups, worth=stack.chunking.models_of_a_thread > 0)


def _by_chunks(stack: Stack, objective: Objective, step: Step, total: Array) -> None:
    """Take one step, with the cores sharing in its chunks of rows."""
    chunks = range(len(stack.chunking.chunks(step.n_rows)))
    if len(chunks) == len(stack.groups) == 1:
        return stack.groups[0].learn(objective, step, total)
    jobs = [(group, chunk) for group in stack.groups for chunk in chunks]
    if isinstance(stack.params, np.ndarray):
        losses = in_parallel(lambda _, job: job[0].gradient(objective, step, job[1]), jobs)
    else:
        losses = [group.gradient(objective, step, chunk) for group, chunk in jobs]
    for i, group in enumerate(stack.groups):
        group.update(step, losses[i * len(chunks) : (i + 1) * len(chunks)], total)
