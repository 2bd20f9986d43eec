"""Go from point to lower point of an objective, until it is flat: what all Newton methods share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np

from estimators.checkpoints.parts import array_in, as_arrays, count_in, number_in
from estimators.linear.loss import LinearObjective
from estimators.optimize.curvature import CurvatureMemory
from estimators.optimize.states import PAIRS, memory_in

_ONE = np.zeros(1, dtype=int)  # the place of a single model in its stack of one


@dataclass(frozen=True, eq=False)
class Point:
    """A point of shape (P,), the value there, and the slope (P,), which is 0 at a minimum.

    Attributes
    ----------
    gradient : ndarray of shape (P,)
        With an L1 norm, which value and slope include, the gradient without it; else empty.
    """

    x: np.ndarray
    value: float
    slope: np.ndarray
    gradient: np.ndarray = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True, eq=False)
class Stage:
    """How far a descent has come after an iteration: all that the next one depends on.

    Attributes
    ----------
    point : Point
        Where it stands.
    n_iter : int
        Iterations done.
    enough : float
        The largest component of the slope with which it ends here.
    memory : CurvatureMemory or None
        What the iterations remember of those before. It changes with the next one.
    """

    point: Point
    n_iter: int
    enough: float
    memory: CurvatureMemory | None = None

    @property
    def x(self) -> np.ndarray:
        """The parameters, of shape (P,)."""
        return self.point.x

    @property
    def is_flat(self) -> bool:
        """Whether the slope is small enough to end."""
        return not np.abs(self.point.slope).max() > self.enough

    def written(self) -> dict[str, np.ndarray]:
        """Return it as arrays of a file."""
        memory = {} if self.memory is None else self.memory.of_model(0)
        return as_arrays(
            {**vars(self.point), "n_iter": self.n_iter, "enough": self.enough, **memory}
        )

    @classmethod
    def read(
        cls,
        arrays: Mapping[str, np.ndarray],
        n_parameters: int,
        *,
        has_norm: bool,
    ) -> Self:
        """Return what `written` has returned, of a descent with an L1 norm or without.

        Raises
        ------
        KeyError, ValueError
            If they are not arrays of such a descent.
        """
        x, slope = (array_in(arrays, name, (n_parameters,)) for name in ("x", "slope"))
        gradient, memory = array_in(arrays, "gradient", (n_parameters * has_norm,)), None
        if has_norm:
            memory = CurvatureMemory(1, PAIRS, n_parameters, like=x)
            memory.take_up(0, memory_in(arrays, PAIRS, n_parameters, x.dtype))
        point = Point(x, number_in(arrays, "value"), slope, gradient)
        numbers = count_in(arrays, "n_iter"), number_in(arrays, "enough")
        return cls(point, *numbers, memory)


Callback = Callable[[Stage], object]


class DescentResult(NamedTuple):
    """Where a descent ended: point (P,), value, iterations, and whether it converged.

    If it did not converge, it reached the limit of iterations, was interrupted or halted by its
    callback, or could not go on because numbers were too large.
    """

    x: np.ndarray
    fun: float
    n_iter: int
    converged: bool
    interrupted: bool = False
    overflowed: bool = False
    halted: bool = False


def descend(
    x0: np.ndarray,
    at: Callable[[np.ndarray], Point],
    lower: Callable[[Point], Point | None],
    steepest: Callable[[Point | None, Point], float],
    *,
    max_iter: int,
    memory: CurvatureMemory | None = None,
    stage: Stage | None = None,
    callback: Callback | None = None,
) -> DescentResult:
    """Iterate until the slope is small enough or no lower point can be told from rounding.

    Parameters
    ----------
    x0 : ndarray of shape (P,)
        Where to start.
    at : callable
        ``at(x)`` evaluates a point.
    lower : callable
        ``lower(point)`` is one iteration: it returns the next point, or None if there is none.
    steepest : callable
        ``steepest(before, point)`` returns the largest component of the slope with which the
        descent ends at `point`. `before` is the point of the last iteration, None at the start.
    max_iter : int
    memory : CurvatureMemory, default=None
        What `lower` remembers from one iteration to the next.
    stage : Stage, default=None
        What to go on from, in the place of `x0`.
    callback : callable, default=None
        Called as ``callback(stage)`` after each iteration. The descent halts if it returns True.

    Returns
    -------
    result : DescentResult
        After Ctrl-C too: the last completed iteration, with `interrupted` True.
    """
    x0 = x0.astype(np.float64)
    so_far: tuple[np.ndarray, float, int] = x0, np.nan, 0  # in one: Ctrl-C comes at any time
    if stage is not None:
        so_far = stage.x, stage.point.value, stage.n_iter
    try:
        if stage is None:
            point = at(x0)
            so_far = x0, point.value, 0
            check_finite(point.value, point.slope)
            stage = Stage(point, 0, steepest(None, point), memory)
        halts = False
        while not (halts or stage.is_flat):
            point, n_iter = stage.point, stage.n_iter
            if n_iter == max_iter:
                return DescentResult(*so_far, False)
            found = lower(point)
            if found is None:
                break
            enough = steepest(point, found)
            check_finite(found.slope)
            stage = Stage(found, n_iter + 1, enough, memory)
            so_far = found.x, found.value, n_iter + 1
            if callback is not None:
                halts = callback(stage) is True
        if halts:
            return DescentResult(*so_far, False, halted=True)
    except KeyboardInterrupt:
        return DescentResult(*so_far, False, interrupted=True)
    except FloatingPointError:
        return DescentResult(*so_far, False, overflowed=True)
    return DescentResult(*so_far, True)


def evaluate(objective: LinearObjective, x: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the value and the gradient of an objective of one model."""
    value, gradient = objective.value_and_gradient(x[None], _ONE)
    return float(value[0]), gradient[0]


def check_finite(*numbers: np.ndarray | float) -> None:
    """Raise FloatingPointError if values of X were too large for what was computed from them."""
    if not all(np.isfinite(number).all() for number in numbers):
        raise FloatingPointError("overflow")
