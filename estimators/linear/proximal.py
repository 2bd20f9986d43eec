"""Minimise the objective of one linear classifier plus an L1 norm.

This is the proximal Newton method (Lee, Sun and Saunders, SIAM J. Optim. 24, 2014), as in Friedman,
Hastie and Tibshirani (J. Stat. Softw. 33, 2010). An iteration lowers the quadratic model plus the
norm, over the working set: the parameters that are not zero or whose slope leads away from it. The
last iterations reach the minimum of the model. While the working set is too large for a Hessian,
an iteration takes orthant-wise L-BFGS steps instead (Andrew and Gao, ICML 2007).
"""

from __future__ import annotations

import numpy as np

from estimators.linear.descent import (
    Callback,
    DescentResult,
    Point,
    Stage,
    check_finite,
    descend,
    evaluate,
)
from estimators.linear.lasso import quadratic_lasso, subgradient
from estimators.linear.loss import LinearObjective
from estimators.linear.newton import fix_class_means
from estimators.optimize.curvature import CurvatureMemory
from estimators.optimize.states import PAIRS

LARGEST_HESSIAN = 600  # parameters; with more of them, L-BFGS steps are far cheaper
REDUCTION = 0.3  # an iteration ends when the slope of the quadratic model is so much smaller
INNER_STEPS = 10  # the most steps in the quadratic model
STEPS = 3  # L-BFGS steps in an iteration, still cheaper than a pass of saga over the samples
FLAT = 0.01  # times `tol`: a relative decrease of the value that counts as none
DECREASE = 1e-3  # the fraction of the predicted decrease that a step must achieve


def minimize_proximal(
    objective: LinearObjective,
    l1: float,
    x0: np.ndarray,
    *,
    tol: float,
    max_iter: int,
    stage: Stage | None = None,
    callback: Callback | None = None,
) -> DescentResult:
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
    stage, callback
        As `descend` takes them.

    Returns
    -------
    result : DescentResult
        After Ctrl-C too: the last completed iteration, with `interrupted` True.
    """
    penalized = _L1Objective(objective, l1)
    if stage is not None:
        assert stage.memory is not None
        penalized.memory = stage.memory

    def lower(point: Point) -> Point | None:
        return penalized.newton_step(point) or penalized.orthant_steps(point)

    def steepest(before: Point | None, point: Point) -> float:
        if before is None:
            return 0.0
        least_decrease = max(FLAT * tol, penalized.rounding) * before.value
        return tol if before.value - point.value <= least_decrease else 0.0

    return descend(
        x0,
        penalized.at,
        lower,
        steepest,
        max_iter=max_iter,
        memory=penalized.memory,
        stage=stage,
        callback=callback,
    )


class _L1Objective:
    """An objective with an L1 norm, and two ways to a lower value of it."""

    def __init__(self, objective: LinearObjective, l1: float) -> None:
        self.objective = objective
        self.l1 = l1 * objective.penalized
        self.memory = CurvatureMemory(1, PAIRS, objective.n_parameters, like=np.empty(0))
        self.rounding = 16 * np.finfo(objective.dtype).eps

    def at(self, x: np.ndarray) -> Point:
        """Evaluate a point; its slope is the smallest subgradient."""
        value, gradient = evaluate(self.objective, x)
        slope = subgradient(x, gradient, self.l1)
        return Point(x, value + self.l1 @ np.abs(x), slope, gradient)

    def newton_step(self, point: Point) -> Point | None:
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

    def orthant_steps(self, point: Point) -> Point | None:
        """Take some L-BFGS steps; None if there is not even one."""
        found = None
        for _ in range(STEPS):
            step = self.orthant_step(point)
            if step is None:
                break
            found = point = step
        return found

    def orthant_step(self, point: Point) -> Point | None:
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
                length = 1 / max(size, np.finfo(slope.dtype).tiny)  # the squares may underflow
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

    def _lower(self, trial: Point, point: Point, predicted: float) -> bool:
        """Whether the value fell by enough of the prediction or, at equal value, the slope did."""
        if trial.value < point.value and trial.value <= point.value + DECREASE * predicted:
            return True
        same = abs(trial.value - point.value) <= self.rounding * abs(point.value)
        return same and np.abs(trial.slope).sum() < np.abs(point.slope).sum()

    def _remember(self, s: np.ndarray, y: np.ndarray) -> None:
        """Add a step `s`, and the change `y` of the gradient along it, unless there is none."""
        sy = s @ y
        if sy > np.finfo(np.float64).eps * (y @ y):
            self.memory.add([0], s[None], y[None], np.array([sy]))
