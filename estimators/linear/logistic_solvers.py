"""What a solver name of `LogisticRegression` stands for: an engine and the words of its warning.

A name promises the penalties it takes and the optimum it reaches. Some share an engine:

================  ==================================================================
lbfgs             L-BFGS
newton-cg         Newton's method, steps by conjugate gradients
newton-cholesky   Newton's method, steps by Cholesky factorisation
liblinear, sag,   proximal Newton with an L1 norm; without one, Newton's method with the
saga              factorisation where that is small, else with conjugate gradients
================  ==================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cukernels.runtime import to_device, to_host
from estimators.linear.descent import Callback, DescentResult, Stage
from estimators.linear.loss import LinearObjective
from estimators.linear.newton import minimize_newton
from estimators.linear.proximal import minimize_proximal
from estimators.optimize import lbfgs
from estimators.optimize.lbfgs import CONVERGED, HALTED, INTERRUPTED
from estimators.optimize.states import LBFGSState
from estimators.shared.scaling import OVERFLOWED

FACTORIZABLE = 500  # parameters up to which a factorisation costs less than conjugate gradients

SCALE_DATA = (
    "\nYou might also want to scale the data as shown in:\n"
    "    https://scikit-learn.org/stable/modules/preprocessing.html\n"
    "Please also refer to the documentation for alternative solver options:\n"
    "    https://scikit-learn.org/stable/modules/linear_model.html#logistic-regression"
)
FAILED = {
    "newton-cg": "newton-cg failed to converge at loss = {fun}. Increase the number of iterations.",
    "newton-cholesky": "Newton solver did not converge after {n_iter} iterations.",
    "liblinear": "Liblinear failed to converge, increase the number of iterations.",
    "sag": "The max_iter was reached which means the coef_ did not converge",
    "saga": "The max_iter was reached which means the coef_ did not converge",
}


class Solution(NamedTuple):
    """Where a solver ended.

    Attributes
    ----------
    x : ndarray of shape (P,)
        The parameters.
    n_iter : int
        Iterations done.
    complaint : str
        What scikit-learn says of a solver that stopped short of `tol`; empty if it did not.
    interrupted : bool
        Whether Ctrl-C stopped it.
    """

    x: np.ndarray
    n_iter: int
    complaint: str = ""
    interrupted: bool = False


def solve(
    solver: str,
    objective: LinearObjective,
    l1: float,
    x0: np.ndarray,
    *,
    tol: float,
    max_iter: int,
    stage: Stage | None = None,
    callback: Callback | None = None,
) -> Solution:
    """Minimise the objective of one model plus an L1 norm by a solver other than "lbfgs".

    Parameters
    ----------
    solver : {"newton-cg", "newton-cholesky", "liblinear", "sag", "saga"}
    objective : LinearObjective
    l1 : float
        Strength of the norm; 0 for the solvers that take none.
    x0 : ndarray of shape (P,)
        Where to start.
    tol : float
        The largest component of the (smallest sub)gradient at which to stop.
    max_iter : int
    stage, callback
        As `descend` takes them.
    """
    result: DescentResult
    settings: Any = {"tol": tol, "max_iter": max_iter, "stage": stage, "callback": callback}
    if l1 > 0:
        result = minimize_proximal(objective, l1, x0, **settings)
    else:
        result = minimize_newton(objective, x0, factorize=factorizes(solver, len(x0)), **settings)
    complaint = ""
    if result.overflowed:
        complaint = OVERFLOWED.format("iteration", result.n_iter + 1)
    elif not (result.converged or result.interrupted or result.halted):
        complaint = FAILED[solver].format(fun=result.fun, n_iter=result.n_iter)
    return Solution(result.x, result.n_iter, complaint, result.interrupted)


def factorizes(solver: str, n_parameters: int) -> bool:
    """Whether a solver factorises a Hessian of so many parameters, if there is no L1 norm."""
    if solver in ("lbfgs", "newton-cg"):
        return False
    return solver == "newton-cholesky" or n_parameters <= FACTORIZABLE


def solve_lbfgs(
    objective: LinearObjective,
    x0: np.ndarray,
    *,
    tol: np.ndarray,
    max_iter: np.ndarray,
    states: Sequence[LBFGSState | None] | None = None,
    callback: lbfgs.Callback | None = None,
) -> list[Solution]:
    """Minimise the objective of a stack of models by L-BFGS.

    Parameters
    ----------
    objective : LinearObjective
    x0 : ndarray of shape (M, P)
        Where to start.
    tol, max_iter : arrays of shape (M,)
        Those of each model, as `solve` takes them.
    states, callback
        As `minimize_lbfgs` takes them.
    """
    result = lbfgs.minimize_lbfgs(
        objective.value_and_gradient,
        to_device(x0, objective.device),
        max_iter=max_iter,
        gtol=tol,
        ftol=64 * np.finfo(np.float64).eps,
        noise=0.0 if objective.dtype == np.float64 else np.finfo(objective.dtype).eps,
        states=states,
        callback=callback,
    )
    ends = zip(
        to_host(result.x), result.n_iter.tolist(), result.status, result.message, strict=True
    )
    return [
        Solution(x, n_iter, _lbfgs_complaint(status, message, n_iter, limit), status == INTERRUPTED)
        for (x, n_iter, status, message), limit in zip(ends, max_iter, strict=True)
    ]


def _lbfgs_complaint(status: int, message: str, n_iter: int, max_iter: int) -> str:
    if status in (CONVERGED, INTERRUPTED) or message == HALTED[1]:
        return ""
    text = f"lbfgs failed to converge after {n_iter} iteration(s) (status={status}):\n{message}\n"
    if n_iter == max_iter:
        text += (
            f"\nIncrease the number of iterations to improve the convergence (max_iter={max_iter})."
        )
    return text + SCALE_DATA
