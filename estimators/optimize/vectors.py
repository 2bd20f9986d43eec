"""The vectors of L-BFGS as NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from cukernels import matmul
from cukernels.runtime import Array
from estimators.optimize.curvature import CurvatureMemory
from estimators.optimize.states import LBFGSState

ValueAndGradient = Callable[[Array, np.ndarray], tuple[Array, Array]]


class HostVectors:
    """Where each model of a stack stands, its gradient and direction there, and its memory.

    Parameters
    ----------
    x0 : ndarray of shape (M, P)
        Where to start; it is not changed.
    memory : int
        The number of pairs that a model remembers.
    """

    def __init__(self, x0: np.ndarray, memory: int) -> None:
        self.x = x0.copy()
        self.gradient = self.direction = self.x
        self.memory = CurvatureMemory(len(x0), memory, x0.shape[1], like=x0)
        self._trial = (self.x, self.x, self.x)  # the last change, point and gradient

    def __getitem__(self, keep: np.ndarray) -> HostVectors:
        """Return those of some of the models."""
        taken = object.__new__(HostVectors)
        taken.x, taken.memory = self.x[keep], self.memory[keep]
        taken.gradient, taken.direction = self.gradient[keep], self.direction[keep]
        return taken

    def begin(
        self, evaluate: ValueAndGradient, models: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Evaluate the first points; return values, and the largest component of each gradient."""
        value, self.gradient = evaluate(self.x, models)
        self.direction = -self.gradient
        return _double(value), self.largest()

    def vectors_of(self, model: int) -> dict[str, Any]:
        """Return copies of the vectors of a model and of its memory, as `LBFGSState` has them."""
        x, gradient = self.x[model].copy(), self.gradient[model].copy()
        memory = self.memory.of_model(model)
        return {"x": x, "gradient": gradient, "memory": memory, "products": None, "square": None}

    def take_up(self, model: int, state: LBFGSState) -> None:
        """Go on with a model, at whose point it is, as another run has left it."""
        self.gradient[model] = state.gradient
        self.memory.take_up(model, state.memory)

    def choose(self, fresh: np.ndarray) -> np.ndarray:
        """Choose directions for the models of a mask; return the slope of all along theirs."""
        step = self.memory.newton_step(self.gradient)
        self.direction = merge(self.direction, step, fresh)
        return _dot(self.gradient, self.direction)

    def go_downhill(self, models: list[int]) -> np.ndarray:
        """Choose minus the gradient for some models, without memory; return their slopes."""
        self.forget(models)
        self.direction[models] = -self.gradient[models]
        return _dot(self.gradient, self.direction)[models]

    def step(
        self, evaluate: ValueAndGradient, models: np.ndarray, steps: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Evaluate steps along the directions; return values, and slopes along the directions."""
        change = steps.astype(self.x.dtype, copy=False)[:, None] * self.direction
        x = self.x + change
        value, gradient = evaluate(x, models)
        self._trial = change, x, gradient
        return _double(value), _dot(gradient, self.direction)

    def move(self, moved: list[int], curved: list[int], sy: np.ndarray) -> Callable[[], None]:
        """Let models stay where their step led, once what is returned is called; again if need be.

        Parameters
        ----------
        moved, curved : lists of int
            The models, and those that remember the step.
        sy : ndarray of shape (M,)
            Products of the steps and the changes of gradient.
        """
        change, x, gradient = self._trial
        n_models = len(sy)
        if len(curved) == n_models:  # the usual case, without copies
            self.memory.add(curved, change, gradient - self.gradient, sy)
        elif curved:
            y = gradient[curved] - self.gradient[curved]
            self.memory.add(curved, change[curved], y, sy[curved])
        if len(moved) < n_models:
            chosen = np.zeros(n_models, dtype=bool)
            chosen[moved] = True
            gradient = merge(self.gradient, gradient, chosen)
            x = merge(self.x, x, chosen)
        return partial(self.__dict__.update, gradient=gradient, x=x)

    def forget(self, models: list[int]) -> None:
        """Empty the memory of some models."""
        self.memory.forget(models)

    def largest(self) -> np.ndarray:
        """Return the largest component of each gradient."""
        return _double(abs(self.gradient).max(axis=1))

    def points(self, models: list[int]) -> np.ndarray:
        """Return where some models stand."""
        return self.x[models]

    def results(self) -> np.ndarray:
        """Return an array for the points of all models, which holds where they start."""
        return self.x.copy()

    def write(self, models: list[int], places: np.ndarray, x: np.ndarray) -> None:
        """Write where some models stand to places in what `results` returned."""
        x[places] = self.x[models]


def merge(old: np.ndarray, new: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return `new` for the chosen models and `old` for the others."""
    if chosen.all():
        return new
    merged = old.copy()
    merged[chosen] = new[chosen]
    return merged


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return _double(matmul(a[:, None], b[..., None])[:, 0, 0])


def _double(scalars: np.ndarray) -> np.ndarray:
    return scalars.astype(np.float64, copy=False)
