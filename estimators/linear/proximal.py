"""Minimise the objective of one linear classifier plus an L1 norm.

Proximal Newton (Lee, Sun and Saunders, SIAM J. Optim. 24, 2014; as in Friedman, Hastie and
Tibshirani, J. Stat. Softw. 33, 2010): an iteration lowers the quadratic model plus the norm over
the parameters that are not zero or want to leave it, in the end down to its minimum. While these
are too many for a Hessian, orthant-wise L-BFGS steps (Andrew and Gao, ICML 2007) stand in.
"""

from __future__ import annotations

import numpy as np

from estimators.linear.lasso import quadratic_lasso, subgradient
from estimators.linear.loss import LinearObjective
from estimators.linear.newton import Callback, NewtonResult, check_finite, evaluate, fix_class_means
from estimators.optimize.curvature import CurvatureMemory

LARGEST_HESSIAN = 600  # parameters; above, L-BFGS steps are cheaper than it by far
REDUCTION = 0.3  # of the slope in the quadratic model, in which an iteration ends
INNER_STEPS = 10  # in the quadratic model, at most
STEPS = 3  # of L-BFGS in an iteration, still cheaper than a pass of saga over the samples
FLAT = 0.01  # a relative decrease of the value by this part of `tol` is none
DECREASE = 1e-3  # the part of the predicted decrease that a step must achieve


def minimize_proximal(
    objective: LinearObjective,
    l1: float,
    x0: np.ndarray,
    *,
    tol: float,
    max_iter: int,
    callback: Callback | None = None,
) -> NewtonResult:
    """Minimise ``objective + l1 * |x|_1``, the norm over the penalised parameters.

    Parameters
    ----------
    objective : LinearObjective
        With M = 1 and the log-loss.
    l1 : float
        Strength of the norm.
    x0 : ndarray of shape (P,)
    tol : float
        The largest component of the smallest subgradient at which to stop, once an iteration has
        lowered the value by no more than 0.01 `tol` of it. Where features are small, so are
        gradients, and the first alone would stop far from the minimum.
    max_iter : int
    callback : callable, default=None
        Called as ``callback(x, value)`` after each iteration.

    Returns
    -------
    result : NewtonResult
        After Ctrl-C too: the last completed iteration, with `interrupted` True.
    """
    problem = _L1Problem(objective, l1)
    x0 = x0.astype(np.float64)
    point, n_iter = _Point(x0, np.nan, np.zeros_like(x0), problem.l1), 0
    try:
        point = problem.at(x0)
        check_finite(point.value, point.slope)
        flat = False  # whether the last iteration has hardly lowered the value
        while np.abs(point.slope).max() > (tol if flat else 0):
            if n_iter == max_iter:
                return NewtonResult(point.x, point.value, n_iter, False)
            found = problem.newton_step(point) or problem.orthant_steps(point)
            if found is None:  # no lower value can be told from rounding
                break
            flat = point.value - found.value <= max(FLAT * tol, problem.rounding) * point.value
            point = found
            check_finite(point.slope)
            n_iter += 1
            if callback is not None:
                callback(point.x, point.value)
    except KeyboardInterrupt:
        return NewtonResult(point.x, point.value, n_iter, False, interrupted=True)
    except FloatingPointError:
        return NewtonResult(point.x, point.value, n_iter, False, overflowed=True)
    return NewtonResult(point.x, point.value, n_iter, True)


class _Point:
    """A point, its value with the norm, its gradient without, and its smallest subgradient."""

    def __init__(self, x: np.ndarray, value: float, gradient: np.ndarray, l1: np.ndarray) -> None:
        self.x, self.value, self.gradient = x, value, gradient
        self.slope = subgradient(x, gradient, l1)


class _L1Problem:
    """An objective with an L1 norm, and two ways to a lower value of it."""

    def __init__(self, objective: LinearObjective, l1: float) -> None:
        self.objective = objective
        self.l1 = l1 * objective.penalized
        self.memory = CurvatureMemory(1, 10, objective.n_parameters, like=np.empty(0))
        self.rounding = 16 * np.finfo(objective.dtype).eps

    def at(self, x: np.ndarray) -> _Point:
        """Evaluate a point."""
        value, gradient = evaluate(self.objective, x)
        return _Point(x, value + self.l1 @ np.abs(x), gradient, self.l1)

    def newton_step(self, point: _Point) -> _Point | None:
        """Minimise the quadratic model with the norm over the working set; None if that fails."""
        x, l1, objective = point.x, self.l1, self.objective
        working = np.flatnonzero((x != 0) | (point.slope != 0) | (l1 == 0))
        if len(working) > LARGEST_HESSIAN:
            return None
        hessian = objective.hessian(objective.probabilities(x), working)
        check_finite(hessian)
        fix_class_means(hessian, objective, self.l1 == 0, working)
        hessian[np.diag_indices_from(hessian)] *= 1 + np.sqrt(np.finfo(objective.dtype).eps)
        linear = point.gradient[working] - hessian @ x[working]
        target = x.copy()
        try:
            target[working] = quadratic_lasso(
                hessian, linear, l1[working], x[working], reduction=REDUCTION, max_steps=INNER_STEPS
            )
        except np.linalg.LinAlgError:
            return None
        step = target - x
        predicted = point.gradient @ step + l1 @ (np.abs(target) - np.abs(x))
        for exponent in range(20):
            length = 0.5**exponent
            trial = self.at(target if exponent == 0 else x + length * step)
            if self._lower(trial, point, length * predicted):
                return trial
        return None

    def orthant_steps(self, point: _Point) -> _Point | None:
        """Take some L-BFGS steps; None if there is not even one."""
        found = None
        for _ in range(STEPS):
            step = self.orthant_step(point)
            if step is None:
                break
            found = point = step
        return found

    def orthant_step(self, point: _Point) -> _Point | None:
        """Take an L-BFGS step within the orthant of the point; None if there is none."""
        x, slope, norm = point.x, point.slope, self.l1 > 0
        if not slope.any():
            return None
        orthant = np.where(x != 0, np.sign(x), -np.sign(slope))
        for _ in range(2):
            step = self.memory.newton_step(slope[None])[0]
            step[norm & (step * slope >= 0)] = 0
            length = 1.0
            if self.memory.n_pairs[0] == 0:
                size = float(np.linalg.norm(slope))
                check_finite(size)
                length = 1 / max(size, np.finfo(slope.dtype).tiny)  # squares may underflow
            for _ in range(30):
                x_new = x + length * step
                x_new[norm & (x_new * orthant < 0)] = 0
                trial = self.at(x_new)
                predicted = slope @ (x_new - x)
                if self._lower(trial, point, predicted):
                    self._remember(x_new - x, trial.gradient - point.gradient)
                    return trial
                length /= 2
            if self.memory.n_pairs[0] == 0:
                check_finite(trial.value)
                return None
            self.memory.forget([0])
        return None

    def _lower(self, trial: _Point, point: _Point, predicted: float) -> bool:
        """Whether a part of the predicted decrease is there, or at equal value a lesser slope."""
        if trial.value < point.value and trial.value <= point.value + DECREASE * predicted:
            return True
        same = abs(trial.value - point.value) <= self.rounding * abs(point.value)
        return same and np.abs(trial.slope).sum() < np.abs(point.slope).sum()

    def _remember(self, s: np.ndarray, y: np.ndarray) -> None:
        sy = s @ y
        if sy > np.finfo(np.float64).eps * (y @ y):
            self.memory.add([0], s[None], y[None], np.array([sy]))
