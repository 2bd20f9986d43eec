"""Newton's method for the smooth objective of one linear classifier.

The Newton step is either solved for, with the Cholesky factor of the whole Hessian, or approached
by conjugate gradients, which only multiply with it (Nocedal and Wright 2006, algorithms 3.2 and
7.1). Either way few iterations are enough, whatever the scale of the features.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from estimators.linear.descent import (
    Callback,
    DescentResult,
    Point,
    Stage,
    check_finite,
    descend,
    evaluate,
)
from estimators.linear.loss import LinearObjective


def minimize_newton(
    objective: LinearObjective,
    x0: np.ndarray,
    *,
    factorize: bool,
    tol: float,
    max_iter: int,
    stage: Stage | None = None,
    callback: Callback | None = None,
) -> DescentResult:
    """Minimise the objective of a single model.

    Parameters
    ----------
    objective : LinearObjective
        With M = 1 and the log-loss.
    x0 : ndarray of shape (P,)
    factorize : bool
        Whether to factorise the Hessian, which takes P x P numbers, or to multiply with it.
    tol : float
        The largest component of the gradient at which to stop.
    max_iter : int
    stage, callback
        As `descend` takes them.

    Returns
    -------
    result : DescentResult
        After Ctrl-C too: the last completed iteration, with `interrupted` True.
    """
    step_of = _cholesky_step if factorize else _conjugate_gradient_step

    def at(x: np.ndarray) -> Point:
        return Point(x, *evaluate(objective, x))

    def lower(point: Point) -> Point | None:
        return _backtrack(objective, point, step_of(objective, point.x, point.slope))

    def steepest(before: Point | None, point: Point) -> float:
        return tol

    return descend(x0, at, lower, steepest, max_iter=max_iter, stage=stage, callback=callback)


def fix_class_means(
    hessian: np.ndarray, objective: LinearObjective, free: np.ndarray, subset: np.ndarray
) -> None:
    """Give a Hessian curvature, in place, where the softmax has none.

    The softmax does not change when a constant is added to the scores of all classes. In that
    direction the Hessian of parameters without a penalty has no curvature, and their gradient is 0
    (Simon, Friedman and Hastie, arXiv:1311.6529). With some curvature added there the Newton step
    is unique, and it leaves the mean over the classes as it is.

    Parameters
    ----------
    hessian : ndarray of shape (S, S)
        The Hessian of the parameters in `subset`.
    objective : LinearObjective
    free : boolean ndarray of shape (P,)
        The parameters that no penalty holds.
    subset : integer ndarray of shape (S,)
    """
    if objective.n_outputs > 1:
        column = np.where(free, objective.column, -1)[subset]
        mean = np.trace(hessian) / len(hessian)
        hessian[(column[:, None] == column) & (column >= 0)] += mean / objective.n_outputs


def _cholesky_step(objective: LinearObjective, x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Solve for the Newton step.

    Of collinear features no factorisation is exact. Conjugate gradients find the shortest step.
    """
    hessian = objective.hessian(objective.probabilities(x))
    check_finite(hessian)
    free = objective.l2[0] * objective.penalized == 0
    fix_class_means(hessian, objective, free, np.arange(len(hessian)))
    curvature = np.diag(hessian).copy()
    # With a unit diagonal, a small pivot means collinear features and not features of small scale.
    scale = 1 / np.sqrt(np.where(curvature > 0, curvature, 1))
    hessian *= scale[:, None] * scale
    hessian[curvature <= 0, curvature <= 0] = 1
    try:
        factor, _ = scipy.linalg.cho_factor(hessian, check_finite=False)
    except np.linalg.LinAlgError:
        return _conjugate_gradient_step(objective, x, gradient)
    if np.diag(factor).min() ** 2 < 1e3 * np.finfo(objective.dtype).eps:
        return _conjugate_gradient_step(objective, x, gradient)
    return -scale * scipy.linalg.cho_solve((factor, False), scale * gradient, check_finite=False)


def _conjugate_gradient_step(
    objective: LinearObjective, x: np.ndarray, gradient: np.ndarray, max_steps: int = 200
) -> np.ndarray:
    """Approach the Newton step until the residual makes the outer iteration superlinear."""
    probabilities = objective.probabilities(x)
    size = np.abs(gradient).sum()
    enough = min(0.5, np.sqrt(size)) * size
    step, residual = np.zeros_like(gradient), gradient.copy()
    direction, square = -residual, residual @ residual
    for n_steps in range(max_steps):
        if np.abs(residual).sum() <= enough:
            break
        product = objective.hessian_product(probabilities, direction)
        curvature = direction @ product
        check_finite(curvature)
        if curvature <= 16 * np.finfo(objective.dtype).eps * (direction @ direction):
            return step if n_steps else -gradient
        length = square / curvature
        step += length * direction
        residual += length * product
        square, square_before = residual @ residual, square
        direction = -residual + (square / square_before) * direction
    return step


def _backtrack(objective: LinearObjective, point: Point, step: np.ndarray) -> Point | None:
    """Halve the step until it lowers the value enough or, at an equal value, the gradient.

    Returns None where the value cannot be told from rounding. Where it has overflowed, raises
    FloatingPointError.
    """
    value, gradient = point.value, point.slope
    slope = gradient @ step
    rounding = 16 * np.finfo(objective.dtype).eps * abs(value)
    check_finite(slope)
    values = []
    for exponent in range(30):
        length = 0.5**exponent
        x = point.x + length * step
        trial = Point(x, *evaluate(objective, x))
        values.append(trial.value)
        if trial.value <= value + 2**-11 * length * slope:
            return trial
        flatter = np.abs(trial.slope).sum() < np.abs(gradient).sum()
        if abs(trial.value - value) <= rounding and flatter:
            return trial
    check_finite(*values)
    return None
