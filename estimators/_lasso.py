"""The exact minimum of a quadratic plus a weighted L1 norm, by block principal pivoting.

Every variable is either held at zero or free with a known sign, so that the free ones solve a
linear system. All variables that contradict their state change it at once; where that does not
help, one at a time, which is sure to end (Kim and Park, AISTATS 2010, algorithm 3). The answer is
exact to rounding, zeros included, whatever the condition of the quadratic.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

PATIENCE = 3  # full exchanges without a new fewest contradictions, before single ones


def quadratic_lasso(
    hessian: np.ndarray, linear: np.ndarray, l1: np.ndarray, signs: np.ndarray
) -> np.ndarray:
    """Minimise ``w' hessian w / 2 + linear' w + sum(l1 * |w|)``.

    Parameters
    ----------
    hessian : ndarray of shape (P, P)
        Positive definite.
    linear : ndarray of shape (P,)
    l1 : ndarray of shape (P,)
        Weights of the norm; a variable of weight 0 is always free.
    signs : ndarray of shape (P,)
        A guess of the signs of the answer, 0 for a zero.

    Returns
    -------
    w : ndarray of shape (P,)

    Raises
    ------
    numpy.linalg.LinAlgError
        If the Hessian is not positive definite.
    """
    signs = np.sign(signs)
    unpenalized = l1 == 0
    fewest, patience = len(l1) + 1, PATIENCE
    w = np.zeros_like(linear)
    for _ in range(10 * len(l1) + 100):
        free = np.flatnonzero((signs != 0) | unpenalized)
        w = np.zeros_like(linear)
        factor = scipy.linalg.cho_factor(hessian[np.ix_(free, free)], check_finite=False)
        right = -(linear + l1 * signs)[free]
        w[free] = scipy.linalg.cho_solve(factor, right, check_finite=False)
        slope = linear + hessian[:, free] @ w[free]
        crossed = (w * signs < 0) & ~unpenalized
        rising = (signs == 0) & ~unpenalized & (np.abs(slope) > l1 * (1 + 1e-10))
        wrong = np.flatnonzero(crossed | rising)
        if len(wrong) == 0:
            break
        if len(wrong) < fewest:
            fewest, patience = len(wrong), PATIENCE
        elif patience > 0:
            patience -= 1
        else:
            wrong = wrong[-1:]
        signs[wrong] = np.where(crossed[wrong], 0, -np.sign(slope[wrong]))
    return w
