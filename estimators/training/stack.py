"""The arrays of the models that train together, and how a group of them takes a step."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from copy import copy
from functools import partial

import numpy as np

from cukernels.runtime import Array, Recorded, Workspaces, like, namespace, threads, to_host
from estimators.layers.layer import Mode
from estimators.training.chunking import Chunking
from estimators.training.member import Arrays, Member
from estimators.training.network import Network
from estimators.training.objective import Objective
from estimators.training.optimizers import solver_named
from estimators.training.repeated_steps import RepeatedSteps
from estimators.training.steps import Step, layout_of


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
    workspaces : Workspaces
        Where its steps are computed. Recordings stay there, so no other thread may use it.

    Attributes
    ----------
    constants : dict
        The arguments of the solver's op that are the same ones in every step.
    changed, moments : list
        What a step changes: the parameters and the moments of the solver; and the names of these.
    grads : list of array
        The flat gradients of each chunk of rows. The sum of all goes into the first.
    gradients : list
        The same, as the parameters of each layer.
    parts : list of ModelGroup
        The models with equally many rows in the last step, group by group; none where all have.
    """

    def __init__(
        self,
        stack: Stack,
        models: slice,
        dropouts: dict[int, tuple[Array, Array]],
        settings: dict[str, Array],
        workspaces: Workspaces,
    ) -> None:
        network = stack.network
        self.models, self.n_decayed = models, network.n_decayed
        self.params = stack.params[models]
        self.grads = [grads[models] for grads in stack.grads]
        self.constants = {name: a[models] for name, a in (stack.moments | settings).items()}
        self.constants |= stack.shared | {"n_decayed": self.n_decayed}
        self.moments = list(stack.moments)
        self.changed = [self.params, *(self.constants[name] for name in self.moments)]
        self.parameters = network.views(self.params)
        for place, (rate, seed) in dropouts.items():
            self.parameters[place] |= {"rate": rate[models], "seed": seed[models]}
        self.gradients = [network.views(grads) for grads in self.grads]
        self.op, self.of_step = stack.op, stack.solver.of_step
        self.network, self.chunking = network, stack.chunking
        self.workspaces = workspaces
        self.steps = RepeatedSteps(stack.steps_of_epoch)
        self._n_rows_at_last = stack.rows_at_last[models.start]
        equal = stack.equal_in_rows(models)
        own = equal if len(equal) > 1 else []
        self.parts = [ModelGroup(stack, part, dropouts, settings, workspaces) for part in own]

    def parts_in(self, step: Step) -> list[ModelGroup]:
        """Return the groups that take this step, each with equally many rows of all its models."""
        return self.parts if step.is_uneven and self.parts else [self]

    def chunks(self, step: Step) -> list[slice]:
        """Return the rows of each chunk of a step."""
        return self.chunking.chunks(self.n_rows(step))

    def seen(self) -> ModelGroup:
        """Return a group of the same models, from place 0 on, whose arrays a recording sees."""
        group = copy(self)
        group.models, group.parts = slice(0, len(self.params)), []
        group.params, *moments = (a.view(Recorded) for a in self.changed)
        group.grads = [grads.view(Recorded) for grads in self.grads]
        group.constants = self.constants | dict(zip(self.moments, moments, strict=True))
        pairs = zip(self.parameters, self.network.views(group.params), strict=True)
        group.parameters = [given | own for given, own in pairs]
        group.gradients = [self.network.views(grads) for grads in group.grads]
        return group

    def n_rows(self, step: Step) -> int:
        """Return how many rows each model takes in a step, in which these take equally many."""
        return self._n_rows_at_last if step.is_uneven else step.n_rows

    def learn(self, objective: Objective, step: Step, total: Array) -> None:
        """Take a step, as it was recorded if there is a recording."""
        for part in self.parts_in(step):
            if self.chunking.repeats:
                part.steps.take(part, objective, step, total)
            else:
                part.compute(objective, step, total)

    def compute(self, objective: Objective, step: Step, total: Array) -> None:
        """Take a step, one chunk of rows after the other."""
        n_chunks = len(self.chunks(step))
        self.update(step, [self.gradient(objective, step, i) for i in range(n_chunks)], total)

    def gradient(self, objective: Objective, step: Step, chunk: int) -> Array:
        """Set the gradients of a chunk of rows, and return what it adds to the losses."""
        n_bytes = len(self.params) * self.chunking.bytes_of_step
        return self.workspaces.compute(n_bytes, partial(self._gradient, objective, step, chunk))

    def _gradient(self, objective: Objective, step: Step, chunk: int) -> Array:
        chunks, models = self.chunks(step), self.models
        x, y, weight = step.take(models, chunks[chunk])
        mode = Mode(training=True, sample_weight=weight, step=step.number[models])
        z, backward = self.network.forward(self.parameters, x, mode)
        loss, dz = objective.value_and_gradient(z, y, weight)
        if len(chunks) > 1:  # these are means over the chunk, and the step wants its own
            fraction = step.weight_fraction(models, chunks[chunk], chunks[-1].stop)
            fraction = fraction.astype(dz.dtype)
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
        vectors = {name: getattr(step, of)[own] for name, of in self.of_step.items()}
        move = partial(
            self.op, self.params, self.grads[0], **self.constants, **vectors,
            total=total[own], loss=loss, size=step.size[own],
        )  # fmt: skip
        self.workspaces.compute(2 * self.grads[0].nbytes, move)


class Stack:
    """The arrays of the models that are still training, with a row for each model.

    Attributes
    ----------
    groups, groups_of_one : list of ModelGroup
        All models, divided for the threads that there are, and for one.
    rows_at_last : list of int
        Rows of each model in the last step of an epoch. Models with equally many are neighbours.
    steps_of_epoch : int
        How many steps an epoch has.
    """

    def __init__(
        self, network: Network, members: list[Member], chunking: Chunking, reference: Array
    ) -> None:
        self.network, self.chunking = network, chunking
        self.members = sorted(members, key=lambda m: len(m.rows))
        self._workspaces = [Workspaces() for _ in range(threads())]
        layout = layout_of(self.members)
        self.rows_at_last = [len(m.rows) - layout.full * layout.size for m in self.members]
        self.steps_of_epoch = layout.steps
        first = self.members[0].settings
        self.solver = solver_named(first.solver)
        if self.solver.op is None:
            raise ValueError(f"solver={first.solver!r} does not train in steps")
        self.op = self.solver.op
        self.shared = {name: getattr(first, of) for name, of in self.solver.shared.items()}
        self.params = like(np.stack([m.state.params for m in self.members]), reference)
        xp = namespace(reference)
        self.grads = [xp.zeros_like(self.params) for _ in range(chunking.most_chunks)]
        self.moments = {
            name: like(np.stack([m.state.moments[name] for m in self.members]), reference)
            for name in self.solver.moments
        }
        # what `begin_epoch` keeps
        self._before: tuple[Array, ...] = ()
        self._epochs_before = [-1] * len(members)
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

        def groups_of(divided: list[slice]) -> list[ModelGroup]:
            pairs = zip(divided, itertools.cycle(self._workspaces), strict=False)
            return [ModelGroup(self, models, dropouts, settings, own) for models, own in pairs]

        shared, alone = (self.chunking.groups(len(self.params), n) for n in (threads(), 1))
        self._arrays_of = [
            Arrays(self.params[m], {name: a[m] for name, a in self.moments.items()})
            for m in range(len(self.members))
        ]
        self.groups = groups_of(shared)
        self.groups_of_one = self.groups if alone == shared else groups_of(alone)

    def in_lanes(self, groups: list[ModelGroup]) -> list[list[ModelGroup]]:
        """Divide groups into lists, of which no two threads may take the same one.

        Recorded steps lie in the workspace where they were recorded, and groups share workspaces.
        """
        n_lanes = len(self._workspaces) if self.chunking.repeats else len(groups)
        return [groups[i::n_lanes] for i in range(min(n_lanes, len(groups)))]

    def equal_in_rows(self, models: slice) -> list[slice]:
        """Divide a group where the rows of the last step become more."""
        rows, first = self.rows_at_last, models.start
        begins = [i for i in range(first + 1, models.stop) if rows[i] != rows[i - 1]]
        return [slice(a, b) for a, b in itertools.pairwise([first, *begins, models.stop])]

    def _setting(self, name: str) -> Array:
        """Return one setting of every model, as an array of shape (M,)."""
        values = np.array([getattr(m.settings, name) for m in self.members], float)
        return like(values, self.params)

    # What the models have learned -----------------------------------------------------------

    @property
    def _arrays(self) -> tuple[Array, ...]:
        return self.params, *self.moments.values()

    def arrays_of(self, m: int) -> Arrays:
        """Return views of the arrays of a model."""
        return self._arrays_of[m]

    def begin_epoch(self) -> None:
        """Keep copies of the arrays, to which a model goes back that is interrupted meanwhile."""
        if not self._before:
            self._before = tuple(namespace(a).empty_like(a) for a in self._arrays)
        for before, array in zip(self._before, self._arrays, strict=True):
            namespace(array).copyto(before, array)
        self._epochs_before = [m.state.n_iter for m in self.members]

    def save(self, chosen: list[int]) -> None:
        """Copy the arrays of some models to their `state`, which is on the host.

        They are those of the last epoch that has ended.
        """
        pairs = zip(self.members, self._epochs_before, strict=True)
        is_within = [m.state.n_iter == before for m, before in pairs]
        self._save([m for m in chosen if not is_within[m]], self._arrays)
        self._save([m for m in chosen if is_within[m]], self._before)

    def _save(self, chosen: list[int], arrays: tuple[Array, ...]) -> None:
        if not chosen:
            return
        whole = len(chosen) == len(self.members)
        params, *moments = (  # one read of each from a GPU, however many models there are
            to_host(a if whole else a[chosen]) for a in arrays
        )
        for i, m in enumerate(chosen):
            member = self.members[m]
            own = {name: a[i] for name, a in zip(self.moments, moments, strict=True)}
            member.state = member.state.with_arrays(Arrays(params[i], own))
            member.is_saved = True

    def save_the_rest(self) -> None:
        """Save all models that nobody has saved."""
        self.save([m for m, member in enumerate(self.members) if not member.is_saved])

    def keep(self, chosen: list[int]) -> None:
        """Go on with some of the models only."""
        self.__dict__.update(  # in one step: Ctrl-C must not come between two of them
            members=[self.members[m] for m in chosen],
            rows_at_last=[self.rows_at_last[m] for m in chosen],
            params=self.params[chosen],
            grads=[grads[chosen] for grads in self.grads],
            moments={name: a[chosen] for name, a in self.moments.items()},
            _before=(),
            _epochs_before=[-1] * len(chosen),
        )
        self._regroup()
