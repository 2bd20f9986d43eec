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

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from estimators import _lbfgs
from estimators._linear_loss import LinearObjective
from estimators._newton import Callback, NewtonResult, minimize_newton
from estimators._proximal import minimize_proximal

FACTORIZABLE = 500  # parameters: up to here a factorisation costs less than conjugate gradients

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
    """Parameters of shape (P,) and the number of iterations it took to find them."""

    x: np.ndarray
    n_iter: int


def solve(
    solver: str,
    objective: LinearObjective,
    l1: float,
    x0: np.ndarray,
    *,
    tol: float,
    max_iter: int,
    callback: Callback | None = None,
) -> Solution:
    """Minimise the objective of one model plus an L1 norm by the named solver.

    Parameters
    ----------
    solver : {"lbfgs", "newton-cg", "newton-cholesky", "liblinear", "sag", "saga"}
    objective : LinearObjective
    l1 : float
        Strength of the norm; 0 for the solvers that do not take one.
    x0 : ndarray of shape (P,)
        Where to start.
    tol : float
        The largest component of the (smallest sub)gradient at which to stop.
    max_iter : int
    callback : callable, default=None
        Called as ``callback(x, value)`` after each iteration.

    Warns
    -----
    ConvergenceWarning
        In scikit-learn's words, if the solver stops short of `tol`.
    UserWarning
        If it was interrupted by Ctrl-C; the solution is then where it had got to.
    """
    if solver == "lbfgs":
        return _solve_lbfgs(objective, x0, tol, max_iter, callback)
    if l1 > 0:
        result = minimize_proximal(objective, l1, x0, tol=tol, max_iter=max_iter, callback=callback)
    else:
        factorize = solver == "newton-cholesky" or (
            solver != "newton-cg" and len(x0) <= FACTORIZABLE
        )
        result = minimize_newton(
            objective, x0, factorize=factorize, tol=tol, max_iter=max_iter, callback=callback
        )
    _warn_newton(solver, result)
    return Solution(result.x, result.n_iter)


def _solve_lbfgs(
    objective: LinearObjective,
    x0: np.ndarray,
    tol: float,
    max_iter: int,
    callback: Callback | None,
) -> Solution:
    result = _lbfgs.minimize_lbfgs(
        objective.value_and_gradient,
        x0[None],
        max_iter=max_iter,
        gtol=tol,
        ftol=64 * np.finfo(np.float64).eps,
        noise=0.0 if objective.dtype == np.float64 else np.finfo(objective.dtype).eps,
        callback=callback and (lambda models, x, value: callback(x[0], value[0])),
    )
    status, message, n_iter = result.status[0], result.message[0], int(result.n_iter[0])
    if status == _lbfgs.INTERRUPTED:
        _warn_interrupted()
    elif status != _lbfgs.CONVERGED:
        text = f"lbfgs failed to converge after {n_iter} iteration(s) (status={status}):\n"
        text += f"{message}\n"
        if n_iter == max_iter:
            text += (
                "\nIncrease the number of iterations to improve the convergence "
                f"(max_iter={max_iter})."
            )
        warnings.warn(text + SCALE_DATA, ConvergenceWarning, stacklevel=4)
    return Solution(result.x[0], n_iter)


def _warn_newton(solver: str, result: NewtonResult) -> None:
    if result.interrupted:
        _warn_interrupted()
    elif not result.converged:
        text = FAILED[solver].format(fun=result.fun, n_iter=result.n_iter)
        warnings.warn(text, ConvergenceWarning, stacklevel=5)


def _warn_interrupted() -> None:
    warnings.warn("Training interrupted by user.", stacklevel=5)
