"""Learning rates over the steps of a fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

WARM_UP = 0.3  # the fraction of the steps in which the rate of "one_cycle" rises
START_DIVISOR = 25.0  # from the highest rate of "one_cycle" to the first
END_DIVISOR = 1e4  # from the first rate of "one_cycle" to the last


def cosine(done: np.ndarray) -> np.ndarray:
    """Fall from 1 to 0 along half a cosine (Loshchilov and Hutter, arXiv:1608.03983, eq. 5)."""
    return 0.5 * (1 + np.cos(np.pi * done))


def one_cycle(done: np.ndarray) -> np.ndarray:
    """Rise from 1/25 to 1 in the first 30 %, then fall to 1/250,000, both along half cosines.

    This is the schedule of Smith and Topin (arXiv:1708.07120), with the divisors of PyTorch's
    OneCycleLR. The peak is at 30 % of the way from the first step to the last. PyTorch has it up to
    one step earlier.
    """
    start, end = 1 / START_DIVISOR, 1 / (START_DIVISOR * END_DIVISOR)
    up = start + (1 - start) * cosine(1 - done / WARM_UP)
    down = end + (1 - end) * cosine((done - WARM_UP) / (1 - WARM_UP))
    return np.where(done < WARM_UP, up, down)


# Schedules whose rate changes from step to step, as functions of the fraction of all steps that is
# done. The rates of "constant", "invscaling" and "adaptive" change between epochs only.
PER_STEP: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cosine": cosine,
    "one_cycle": one_cycle,
}


def epoch_rates(name: str, rate: float, first_step: int, n_steps: int, total: int) -> np.ndarray:
    """Return the learning rate of each step of an epoch.

    Parameters
    ----------
    name : str
        Name of the schedule.
    rate : float
        The learning rate that the schedule starts from, or peaks at.
    first_step : int
        How many steps were done before the epoch.
    n_steps : int
        How many steps the epoch has.
    total : int
        How many steps are planned in all.

    Returns
    -------
    rates : ndarray of shape (n_steps,), float64
    """
    if name not in PER_STEP:
        return np.full(n_steps, float(rate))
    done = (first_step + np.arange(n_steps)) / max(total - 1, 1)
    return rate * PER_STEP[name](np.minimum(done, 1.0))
