"""The vectors of L-BFGS on a GPU, of which the host reads a few numbers an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from cukernels import lbfgs_products, lbfgs_step, matmul, scatter_rows
from cukernels.quasi_newton import (
    COEFFICIENTS,
    COUNT,
    G_FACTOR,
    GG,
    LARGEST,
    MODEL,
    PRODUCTS,
    S_FACTOR,
    SLOPE,
    SLOT,
    SOURCE,
    STEP,
    TURNS,
    VALUE,
    Y_FACTOR,
    YG,
    YY,
)
from cukernels.runtime import Array, like, namespace, to_host
from estimators.optimize.curvature import CompactInverse
from estimators.optimize.states import LBFGSState
from estimators.optimize.vectors import ValueAndGradient


class DeviceVectors:
    """What `HostVectors` is, on a device, where no model ever moves to another place.

    The host knows the inner products of all vectors of a model, and so its slope along any
    direction. What a model is to do (move, remember, turn) is only noted, and then done by the
    launch that takes the next step. So an evaluation costs two launches besides its own, and one
    read. Moving twice to the same point does no harm: Ctrl-C may come at any time.

    Parameters
    ----------
    x0 : array of shape (M, P)
        Where to start; it is not changed.
    memory : int
        The number of pairs that a model remembers.
    """

    _OF_MODELS: ClassVar[list[str]] = [
        *("memory", "_rows", "_source", "_slot", "_factors", "_turns"),
        *("_products", "_gg", "_largest"),
    ]

    def __init__(self, x0: Array, memory: int) -> None:
        xp, n_models = namespace(x0), len(x0)
        self._x = xp.empty_like(x0)
        self._gradient, self._direction = xp.zeros_like(x0), xp.zeros_like(x0)
        self._pairs = xp.empty((n_models, 2 * memory, x0.shape[1]), x0.dtype)
        self.memory = CompactInverse(n_models, memory, x0.dtype)
        self._rows = np.arange(n_models)  # of the arrays above
        # what the next launch does first: from which point a model moves, and the pair it keeps
        self._source, self._slot = np.arange(n_models), np.full(n_models, -1)
        self._factors = np.zeros((n_models, 2))
        self._turns = np.zeros(n_models, dtype=bool)
        # of the gradient with all s, then with all y; with itself
        self._products, self._gg = np.zeros((n_models, 2 * memory)), np.zeros(n_models)
        self._largest = np.zeros(n_models)
        self._point, self._slope = x0, self._gradient  # those of the last evaluation
        self._steps, self._record = np.zeros(n_models), np.empty(0)

    def __getitem__(self, keep: np.ndarray) -> DeviceVectors:
        """Return those of some of the models; the others leave their vectors where they are."""
        taken = object.__new__(DeviceVectors)
        taken.__dict__.update(self.__dict__)
        taken.__dict__.update({name: getattr(self, name)[keep] for name in self._OF_MODELS})
        return taken

    def begin(
        self, evaluate: ValueAndGradient, models: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Evaluate the first points; return values, and the largest component of each gradient."""
        plan = like(self._plan(self._steps), self._x)
        self._evaluate(evaluate, models, self._point, plan, self._steps)
        self._gg, self._largest = self._record[:, GG], self._record[:, LARGEST]
        self._source = np.arange(len(models))  # with the gradient
        return self._record[:, VALUE], self._largest

    def vectors_of(self, model: int) -> dict[str, Any]:
        """Return the vectors of a model and of its memory on the host, as `LBFGSState` has them.

        What is noted of it is done to these copies, in the arithmetic of `lbfgs_step`.
        """
        size, row = self.memory.size, self._rows[model]
        source, slot = self._source[model], self._slot[model]
        memory = self.memory.of_model(model)
        x, gradient, pairs = (np.array(to_host(a[row])) for a in self._standing)
        if source >= 0:
            x, before = np.array(to_host(self._point[source])), gradient
            gradient = np.array(to_host(self._slope[source]))
            if slot >= 0:
                s_factor, y_factor = self._factors[model]
                direction = to_host(self._direction[row])
                pairs[slot] = s_factor * direction.astype(np.float64)
                pairs[size + slot] = y_factor * (gradient.astype(np.float64) - before)
        count = min(int(memory["n_pairs"]), size)
        pairs[count:size] = pairs[size + count :] = 0  # nobody has written them
        return {
            "x": x, "gradient": gradient, "memory": memory | {"pairs": pairs},
            "products": self._products[model].copy(), "square": float(self._gg[model]),
        }  # fmt: skip

    def take_up(self, model: int, state: LBFGSState) -> None:
        """Go on with a model, at whose point it is, as another run has left it."""
        row, pairs = like(self._rows[[model]], self._x), state.memory["pairs"]
        for a, values in zip(self._standing, (state.x, state.gradient, pairs), strict=True):
            scatter_rows(a, like(values[None], a), row)
        self.memory.take_up(model, state.memory)
        gradient = state.gradient.astype(np.float64)
        products, square = state.products, state.square
        if products is None:  # the other run was on the host
            rows = np.concatenate([pairs, state.gradient[None]]).astype(np.float64)
            *products, square = matmul(rows, gradient[:, None])[:, 0]
        largest = np.abs(gradient).max(initial=0)
        for name, own in (("_products", products), ("_gg", square), ("_largest", largest)):
            merged = getattr(self, name).copy()
            merged[model] = own
            setattr(self, name, merged)
        self._source[model] = -1

    @property
    def _standing(self) -> tuple[Array, Array, Array]:
        """Where the models stand, the gradients there, and the pairs; a row a model."""
        return self._x, self._gradient, self._pairs

    def choose(self, fresh: np.ndarray) -> np.ndarray:
        """Choose directions for the models of a mask; return the slope of all along theirs."""
        self._turns = self._turns | fresh
        coefficients = self.memory.coefficients(self._products)
        return (coefficients * self._products).sum(axis=1) - self.memory.scale * self._gg

    def go_downhill(self, models: list[int]) -> np.ndarray:
        """Choose minus the gradient for some models, without memory; return their slopes."""
        self.forget(models)
        return -self._gg[models]

    def step(
        self, evaluate: ValueAndGradient, models: np.ndarray, steps: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Evaluate steps along the directions; return values, and slopes along the directions."""
        plan = like(self._plan(steps), self._x)
        self._evaluate(evaluate, models, self._launch(plan), plan, steps)
        return self._record[:, VALUE], self._record[:, SLOPE]

    def move(self, moved: list[int], curved: list[int], sy: np.ndarray) -> Callable[[], None]:
        """Let models stay where their step led, once what is returned is called; again if need be.

        Parameters
        ----------
        moved, curved : lists of int
            The models, and those that remember the step.
        sy : ndarray of shape (M,)
            Products of the steps and the changes of gradient.
        """
        m, record = self.memory.size, self._record
        with_gradient, with_change = record[:, PRODUCTS:][:, : 2 * m], record[:, PRODUCTS + 2 * m :]
        products, slots = self._products.copy(), self._slot.copy()
        factors = self._factors.copy()
        products[moved] = with_gradient[moved]
        if curved:
            # the new pair is s and y times `unit`, so that their product is 1
            unit = 1 / np.sqrt(sy[curved])
            rows, every, slot = self.memory.next_slots(curved)
            new = unit[:, None] * with_change[curved]
            new[every, m + slot] = unit**2 * record[curved, YY]
            self.memory.replace(rows, every, slot, new)
            factors[curved, 0] = unit * self._steps[curved]
            factors[curved, 1] = unit
            products[rows, slot] = factors[curved, 0] * record[curved, SLOPE]
            products[rows, m + slot] = unit * record[curved, YG]
            slots[rows] = slot
        return partial(
            self.__dict__.update, _products=products, _slot=slots, _factors=factors,
            _gg=_with(self._gg, record[:, GG], moved),
            _largest=_with(self._largest, record[:, LARGEST], moved),
            _source=_with(self._source, np.arange(len(sy)), moved),
        )  # fmt: skip

    def forget(self, models: list[int]) -> None:
        """Empty the memory of some models."""
        self.memory.forget(models)
        self._products[models], self._slot[models] = 0, -1

    def largest(self) -> np.ndarray:
        """Return the largest component of each gradient."""
        return self._largest

    def points(self, models: list[int]) -> Sequence[Array]:
        """Return where some models stand, which have just moved."""
        return [self._point[i] for i in self._source[models].tolist()]

    def results(self) -> Array:
        """Return the array for the points of all models, which is the one they lie in."""
        return self._x

    def write(self, models: list[int], places: np.ndarray, x: Array) -> None:
        """Bring some models to where they stand, which is noted and maybe not yet done."""
        if (self._source[models] >= 0).any():
            plan = self._plan(np.zeros(len(self._rows)))[models]
            plan[:, SLOT], plan[:, TURNS] = -1, 0
            self._launch(like(plan, self._x))

    def _plan(self, steps: np.ndarray) -> np.ndarray:
        """Return the plan of the next launch, as `lbfgs_step` takes it."""
        memory = self.memory
        plan = np.empty((len(steps), COEFFICIENTS + 2 * memory.size))
        plan[:, MODEL], plan[:, SOURCE], plan[:, SLOT] = self._rows, self._source, self._slot
        plan[:, COUNT] = np.minimum(memory.n_pairs, memory.size)
        plan[:, S_FACTOR : Y_FACTOR + 1] = self._factors
        plan[:, TURNS], plan[:, G_FACTOR], plan[:, STEP] = self._turns, -memory.scale, steps
        plan[:, COEFFICIENTS:] = memory.coefficients(self._products)
        return plan

    def _launch(self, plan: Array) -> Array:
        """Do what a plan says; return the points that it leads to."""
        vectors = self._x, self._gradient, self._direction, self._pairs
        return lbfgs_step(*vectors, self._point, self._slope, plan)

    def _evaluate(
        self,
        evaluate: ValueAndGradient,
        models: np.ndarray,
        point: Array,
        plan: Array,
        steps: np.ndarray,
    ) -> None:
        """Evaluate points that a launch led to, and read all that the host asks of them."""
        value, slope = evaluate(point, models)
        vectors = self._gradient, self._direction, self._pairs
        record = to_host(lbfgs_products(value, slope, *vectors, plan))
        # in one call: until then all that is noted can be done again
        self.__dict__.update(
            _point=point, _slope=slope, _record=record, _steps=steps,
            _source=np.full(len(models), -1), _slot=np.full(len(models), -1),
            _turns=np.zeros(len(models), dtype=bool),
        )  # fmt: skip


def _with(old: np.ndarray, new: np.ndarray, chosen: list[int]) -> np.ndarray:
    """Return `new` at some places and `old` at the others."""
    merged = old.copy()
    merged[chosen] = new[chosen]
    return merged
