"""The minimum of a quadratic plus a weighted L1 norm, by Newton steps within an orthant.

Where no variable changes its sign, the function is quadratic. So a step solves for the minimum over
the variables that are not zero or want to leave it, within the signs that they have or would get
(Andrew and Gao, ICML 2007; the exact step of Lee, Battle, Raina and Ng, NIPS 2006). On the way
there a variable that meets zero stays at zero, and of some points of this bent path the lowest is
taken. Up to the first that meets zero the path is straight and goes down, so that every step lowers
the value, whatever the condition of the quadratic, and the last one is exact to rounding.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

LENGTHS = 0.5 ** np.arange(10)  # the points of a path that are tried
N_MEETINGS = 12  # points of a path, where a variable meets zero, that are tried too
NEWCOMERS = 32  # zeros that a step may set free, if no more are free already
ROUNDING = 16 * np.finfo(np.float64).eps  # relative rounding error of a value
PATIENCE = 5  # rounds that drop newcomers of the wrong sign, before all but one are dropped


def quadratic_lasso(
    hessian: np.ndarray,
    linear: np.ndarray,
    l1: np.ndarray,
    start: np.ndarray,
    *,
    reduction: float = 0.0,
    max_steps: int = 1000,
) -> np.ndarray:
    """Minimise ``w' hessian w / 2 + linear' w + sum(l1 * |w|)``.

    Parameters
    ----------
    hessian : ndarray of shape (P, P)
        Positive definite.
    linear : ndarray of shape (P,)
    l1 : ndarray of shape (P,)
        Weights of the norm; a variable of weight 0 is always free.
    start : ndarray of shape (P,)
        Where to begin; the answer is nowhere higher.
    reduction : float, default=0.0
        Where to end: the largest component of the smallest subgradient as a part of the first
        one's. With 0, at the minimum.
    max_steps : int, default=1000
        Steps after which to end in any case.

    Returns
    -------
    w : ndarray of shape (P,)

    Raises
    ------
    numpy.linalg.LinAlgError
        If the Hessian is not positive definite.
    """
    w, product = start, hessian @ start
    value = start @ (0.5 * product + linear) + l1 @ np.abs(start)
    slope = subgradient(w, product + linear, l1)
    enough = reduction * np.abs(slope).max(initial=0)
    for _ in range(max_steps):
        if np.abs(slope).max(initial=0) <= enough:
            break
        path = _path(w, _direction(hessian, w, slope, l1), slope, l1)
        products = hessian @ path
        values = ((0.5 * products + linear[:, None]) * path).sum(axis=0) + l1 @ np.abs(path)
        rounding = ROUNDING * abs(value)
        best = int((values <= values.min() + rounding).argmax())  # the longest of the lowest
        before, slope = slope, subgradient(path[:, best], products[:, best] + linear, l1)
        lower = values[best] < value - rounding
        if not lower and np.abs(slope).sum() >= np.abs(before).sum():
            break
        w, product, value = path[:, best], products[:, best], values[best]
    return w


def subgradient(x: np.ndarray, gradient: np.ndarray, l1: np.ndarray) -> np.ndarray:
    """Return the smallest subgradient of a function plus a weighted L1 norm.

    Parameters
    ----------
    x : ndarray of shape (P,)
    gradient : ndarray of shape (P,)
        Of the function, without the norm.
    l1 : ndarray of shape (P,)
        Weights of the norm.
    """
    shrunk = np.sign(gradient) * np.maximum(np.abs(gradient) - l1, 0)
    return np.where(x == 0, shrunk, gradient + l1 * np.sign(x))


def _direction(hessian: np.ndarray, w: np.ndarray, slope: np.ndarray, l1: np.ndarray) -> np.ndarray:
    """Return the way to the minimum over some variables, on which no zero moves uphill."""
    free = (w != 0) | (l1 == 0)
    newcomers = np.flatnonzero((slope != 0) & ~free)
    room = max(NEWCOMERS, int(free.sum()))
    if len(newcomers) > room:  # the steepest; an early step would send most of them back
        newcomers = newcomers[np.argsort(-np.abs(slope[newcomers]), kind="stable")[:room]]
    n_solutions = 0
    while True:
        new = np.zeros(len(w), dtype=bool)
        new[newcomers] = True
        places = np.flatnonzero(free | new)
        factor = scipy.linalg.cho_factor(
            hessian[np.ix_(places, places)], overwrite_a=True, check_finite=False
        )
        direction = np.zeros_like(w)
        direction[places] = -scipy.linalg.cho_solve(factor, slope[places], check_finite=False)
        n_solutions += 1
        uphill = direction[newcomers] * slope[newcomers] >= 0
        if not uphill.any():
            return direction
        newcomers = newcomers[~uphill]
        if n_solutions >= PATIENCE and len(newcomers):
            newcomers = newcomers[[np.abs(slope[newcomers]).argmax()]]


def _path(w: np.ndarray, direction: np.ndarray, slope: np.ndarray, l1: np.ndarray) -> np.ndarray:
    """Return points, as columns, on the way along a direction that stays in the orthant."""
    orthant = np.where(w != 0, np.sign(w), -np.sign(slope))
    turns_back = np.flatnonzero((direction * w < 0) & (l1 > 0))
    meets_zero = -w[turns_back] / direction[turns_back]
    meetings = np.sort(meets_zero[meets_zero < 1])
    if len(meetings) > N_MEETINGS:
        meetings = meetings[np.linspace(0, len(meetings) - 1, N_MEETINGS).astype(int)]
    lengths = np.concatenate([LENGTHS, meetings])
    points = w[:, None] + lengths * direction[:, None]
    points[(l1 > 0)[:, None] & (points * orthant[:, None] < 0)] = 0
    arrived = turns_back[:, None], np.arange(len(lengths))
    points[arrived] = np.where(meets_zero[:, None] <= lengths, 0, points[arrived])
    return points
