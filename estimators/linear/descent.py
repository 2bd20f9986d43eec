"""Go from point to lower point of an objective, until it is flat: what all Newton methods share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from estimators.linear.loss import LinearObjective

Callback = Callable[[np.ndarray, float], object]

_ONE = np.zeros(1, dtype=int)  # the place of a single model in its stack of one


@dataclass(frozen=True, eq=False)
class Point:
    """A point of shape (P,), the value there, and the slope (P,), which is 0 at a minimum."""

    x: np.ndarray
    value: float
    slope: np.ndarray


P = TypeVar("P", bound=Point)


class DescentResult(NamedTuple):
    """Where a descent ended: point (P,), value, iterations, and whether it converged.

    If it did not converge, it reached the limit of iterations, was interrupted, or could not go on
    because numbers were too large.
    """

    x: np.ndarray
    fun: float
    n_iter: int
    converged: bool
    interrupted: bool = False
    overflowed: bool = False


def descend(
    x0: np.ndarray,
    at: Callable[[np.ndarray], P],
    lower: Callable[[P], P | None],
    steepest: Callable[[P | None, P], float],
    *,
    max_iter: int,
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
    callback : callable, default=None
        Called as ``callback(x, value)`` after each iteration.

    Returns
    -------
    result : DescentResult
        After Ctrl-C too: the last completed iteration, with `interrupted` True.
    """
    x0 = x0.astype(np.float64)
    so_far: tuple[np.ndarray, float, int] = x0, np.nan, 0  # in one: Ctrl-C comes at any time
    try:
        point, n_iter = at(x0), 0
        so_far = x0, point.value, 0
        check_finite(point.value, point.slope)
        enough = steepest(None, point)
        while np.abs(point.slope).max() > enough:
            if n_iter == max_iter:
                return DescentResult(*so_far, False)
            found = lower(point)
            if found is None:
                break
            enough = steepest(point, found)
            check_finite(found.slope)
            point, n_iter = found, n_iter + 1
            so_far = point.x, point.value, n_iter
            if callback is not None:
                callback(point.x, point.value)
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
