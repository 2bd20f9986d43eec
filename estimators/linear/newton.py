"""Newton's method for the smooth objective of one linear classifier.

The Newton step is either solved for, with the Cholesky factor of the whole Hessian, or approached
by conjugate gradients, which only multiply with it (Nocedal and Wright 2006, algorithms 3.2 and
7.1). Few iterations, whatever the scale of the features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.linalg

from estimators.linear.loss import LinearObjective

ONE = np.zeros(1, dtype=int)  # the place of a single model in its stack of one
Callback = Callable[[np.ndarray, float], object]


class NewtonResult(NamedTuple):
    """Where Newton's method ended: point (P,), value, iterations, and whether it converged.

    Otherwise it was at the limit of iterations, interrupted, or could not go on because numbers
    were too large.
    """

    x: np.ndarray
    fun: float
    n_iter: int
    converged: bool
    interrupted: bool = False
    overflowed: bool = False


def minimize_newton(
    objective: LinearObjective,
    x0: np.ndarray,
    *,
    factorize: bool,
    tol: float,
    max_iter: int,
    callback: Callback | None = None,
) -> NewtonResult:
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
    callback : callable, default=None
        Called as ``callback(x, value)`` after each iteration.

    Returns
    -------
    result : NewtonResult
        After Ctrl-C too: the last completed iteration, with `interrupted` True.
    """
    x, n_iter, value = x0.astype(np.float64), 0, np.nan
    step_of = _cholesky_step if factorize else _conjugate_gradient_step
    try:
        value, gradient = evaluate(objective, x)
        check_finite(value, gradient)
        while abs(gradient).max() > tol:
            if n_iter == max_iter:
                return NewtonResult(x, value, n_iter, False)
            step = step_of(objective, x, gradient)
            found = _backtrack(objective, x, value, gradient, step)
            if found is None:  # no lower value can be told from rounding
                return NewtonResult(x, value, n_iter, True)
            x, value, gradient = found
            check_finite(gradient)
            n_iter += 1
            if callback is not None:
                callback(x, value)
    except KeyboardInterrupt:
        return NewtonResult(x, value, n_iter, False, interrupted=True)
    except FloatingPointError:
        return NewtonResult(x, value, n_iter, False, overflowed=True)
    return NewtonResult(x, value, n_iter, True)


def fix_class_means(
    hessian: np.ndarray, objective: LinearObjective, free: np.ndarray, subset: np.ndarray
) -> None:
    """Give a Hessian curvature, in place, where the softmax has none.

    Adding a constant to all classes of a softmax changes nothing, so where no penalty holds, the
    Hessian has no curvature in that direction, and the gradient no part (Simon, Friedman and
    Hastie, arXiv:1311.6529). With some curvature there the Newton step is unique: it leaves the
    mean over the classes as it is.

    Parameters
    ----------
    hessian : ndarray of shape (S, S)
        Of the parameters in `subset`.
    objective : LinearObjective
    free : boolean ndarray of shape (P,)
        The parameters that no penalty holds.
    subset : integer ndarray of shape (S,)
    """
    if objective.n_outputs > 1:
        column = np.where(free, objective.column, -1)[subset]
        mean = np.trace(hessian) / len(hessian)
        hessian[(column[:, None] == column) & (column >= 0)] += mean / objective.n_outputs


def evaluate(objective: LinearObjective, x: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the value and the gradient of an objective of one model."""
    value, gradient = objective.value_and_gradient(x[None], ONE)
    return float(value[0]), gradient[0]


def check_finite(*numbers: np.ndarray | float) -> None:
    """Raise FloatingPointError where values of X were too large for what was computed of them."""
    if not all(np.isfinite(number).all() for number in numbers):
        raise FloatingPointError("overflow")


def _cholesky_step(objective: LinearObjective, x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Solve for the Newton step; of collinear features conjugate gradients find the shortest."""
    hessian = objective.hessian(objective.probabilities(x))
    check_finite(hessian)
    free = objective.l2[0] * objective.penalized == 0
    fix_class_means(hessian, objective, free, np.arange(len(hessian)))
    curvature = np.diag(hessian).copy()
    # to unit diagonal, so that the pivots tell collinear features from those of small scale
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


def _backtrack(
    objective: LinearObjective,
    x: np.ndarray,
    value: float,
    gradient: np.ndarray,
    step: np.ndarray,
) -> tuple[np.ndarray, float, np.ndarray] | None:
    """Halve the step until it lowers the value enough, or at equal value the gradient.

    None where it is too long for that by rounding alone; where by overflow, FloatingPointError.
    """
    slope = gradient @ step
    rounding = 16 * np.finfo(objective.dtype).eps * abs(value)
    check_finite(slope)
    values = []
    for exponent in range(30):
        length = 0.5**exponent
        trial = x + length * step
        new_value, new_gradient = evaluate(objective, trial)
        values.append(new_value)
        if new_value <= value + 2**-11 * length * slope:
            return trial, new_value, new_gradient
        flatter = np.abs(new_gradient).sum() < np.abs(gradient).sum()
        if abs(new_value - value) <= rounding and flatter:
            return trial, new_value, new_gradient
    check_finite(*values)
    return None
