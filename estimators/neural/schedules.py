"""Learning rates over the steps of a training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

WARM_UP = 0.3  # of the steps of "one_cycle"
START_DIVISOR = 25.0
END_DIVISOR = 1e4


def cosine(part: np.ndarray) -> np.ndarray:
    """From 1 down to 0 along half a cosine (Loshchilov and Hutter, arXiv:1608.03983, eq. 5)."""
    return 0.5 * (1 + np.cos(np.pi * part))


def one_cycle(part: np.ndarray) -> np.ndarray:
    """Up from 1/25 to 1 in the first 30 %, then down to 1/250,000, along half cosines.

    Smith and Topin, arXiv:1708.07120, with the divisors of PyTorch's OneCycleLR. The peak is at
    30 % of the way from the first step to the last; PyTorch has it up to a step earlier.
    """
    start, end = 1 / START_DIVISOR, 1 / (START_DIVISOR * END_DIVISOR)
    up = start + (1 - start) * cosine(1 - part / WARM_UP)
    down = end + (1 - end) * cosine((part - WARM_UP) / (1 - WARM_UP))
    return np.where(part < WARM_UP, up, down)


# Functions of the part of all steps that is done, in [0, 1], by name. The rates of "constant",
# "invscaling" and "adaptive" change between epochs only.
PER_STEP: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cosine": cosine,
    "one_cycle": one_cycle,
}


def epoch_rates(name: str, rate: float, first_step: int, n_steps: int, total: int) -> np.ndarray:
    """Learning rate of each step of an epoch.

    Parameters
    ----------
    name : str
        Name of the schedule.
    rate : float
        The learning rate that the schedule starts from, or peaks at.
    first_step, n_steps, total : int
        Steps done before the epoch, of the epoch, and planned in all.

    Returns
    -------
    rates : ndarray of shape (n_steps,), float64
    """
    if name not in PER_STEP:
        return np.full(n_steps, float(rate))
    part = (first_step + np.arange(n_steps)) / max(total - 1, 1)
    return rate * PER_STEP[name](np.minimum(part, 1.0))
