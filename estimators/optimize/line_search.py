"""A line search for the strong Wolfe conditions (Moré and Thuente, ACM TOMS 20, 1994).

Written as a state machine: it is told the value and slope at its current `step`, and answers with
the next step to try. So the caller decides when to evaluate, and many searches can share one
evaluation of a stack of models.
"""

from __future__ import annotations

import math
from typing import NamedTuple

DECREASE = 1e-3  # the part of the first slope that the value must keep
CURVATURE = 0.9  # the part of the first slope that may be left
NARROW = 0.1  # relative width of the bracket at which the search ends
LARGEST_STEP = 1e10


class Point(NamedTuple):
    """A step along the direction, with the value and the slope there."""

    step: float
    value: float
    slope: float


class WolfeSearch:
    """Search for a step of sufficient decrease and small enough slope.

    With ``phi(t)`` the value after a step t, the search ends where both
    ``phi(t) <= phi(0) + 1e-3 t phi'(0)`` and ``|phi'(t)| <= 0.9 |phi'(0)|`` hold (Nocedal and
    Wright 2006, eq. 3.7), or where the bracket cannot shrink any more; `step` is then the best
    point seen.

    Parameters
    ----------
    value, slope : float
        ``phi(0)`` and ``phi'(0)``; the slope must be negative.
    step : float
        The first step to try.
    noise : float, default=0.0
        Values that rise by no more than this count as level.

    Attributes
    ----------
    step : float
        The step to evaluate next or, once `advance` has returned True, the one to take.
    n_steps : int
        How many points have been evaluated.
    has_overflowed : bool
        Whether the value or the slope was not finite at one of them.
    """

    def __init__(self, value: float, slope: float, step: float, noise: float = 0.0) -> None:
        self.start = Point(0.0, value, slope)
        self.best = self.other = self.start
        self.step = step
        self.noise = noise
        self.n_steps = 0
        self.has_overflowed = False
        self._bracketed = False
        self._seeking_decrease = True  # the first stage, which works on an auxiliary function
        self._low, self._high = 0.0, 5 * step
        self._width, self._width_before = LARGEST_STEP, 2 * LARGEST_STEP

    def advance(self, value: float, slope: float) -> bool:
        """Take in the value and slope at `step`; return True if the search ends there."""
        self.n_steps += 1
        if not (math.isfinite(value) and math.isfinite(slope)):
            self._back_off()
            return False
        trial = Point(self.step, value, slope)
        decrease = DECREASE * self.start.slope
        enough = value <= self.start.value + trial.step * decrease + self.noise
        if enough and abs(slope) <= -CURVATURE * self.start.slope:
            return True
        if self._exhausted() or (self.step == LARGEST_STEP and enough):
            return True
        if enough and slope >= 0:
            self._seeking_decrease = False
        if self._seeking_decrease and not enough and value <= self.best.value:
            # the auxiliary function phi(t) - phi(0) - t * decrease keeps the interval honest
            best, other, trial = (_tilt(p, decrease) for p in (self.best, self.other, trial))
            self._narrow(best, other, trial)
            self.best, self.other = _tilt(self.best, -decrease), _tilt(self.other, -decrease)
        else:
            self._narrow(self.best, self.other, trial)
        self._safeguard()
        return False

    def _back_off(self) -> None:
        """Shorten a step at which the value overflowed: the minimiser is before it."""
        self.has_overflowed = True
        self.step = self.best.step + 0.1 * (self.step - self.best.step)
        self._high = 5 * self.step

    def _exhausted(self) -> bool:
        return self._bracketed and (
            not self._low < self.step < self._high or self._high - self._low <= NARROW * self._high
        )

    def _narrow(self, best: Point, other: Point, trial: Point) -> None:
        """Choose the next step by interpolation, and shrink the interval with the trial point."""
        step, closes = _interpolate(best, other, trial, self._bracketed, self._low, self._high)
        self._bracketed = self._bracketed or closes
        if trial.value > best.value:
            other = trial
        else:
            if trial.slope * best.slope < 0:
                other = best
            best = trial
        self.best, self.other, self.step = best, other, step

    def _safeguard(self) -> None:
        """Make sure that the interval shrinks, and say how far the next step may go."""
        best, other = self.best.step, self.other.step
        if self._bracketed:
            if abs(other - best) >= 0.66 * self._width_before:
                self.step = best + 0.5 * (other - best)
            self._width_before, self._width = self._width, abs(other - best)
            self._low, self._high = min(best, other), max(best, other)
        else:
            self._low = self.step + 1.1 * (self.step - best)
            self._high = self.step + 4 * (self.step - best)
        self.step = min(max(self.step, 0.0), LARGEST_STEP)
        if self._exhausted():
            self.step = best


def _tilt(point: Point, slope: float) -> Point:
    return Point(point.step, point.value - point.step * slope, point.slope - slope)


def _interpolate(
    best: Point, other: Point, trial: Point, bracketed: bool, low: float, high: float
) -> tuple[float, bool]:
    """The next step, and whether the trial closes a bracket (Moré and Thuente, section 4)."""
    limit = high if trial.step > best.step else low
    if trial.value > best.value:  # case 1: higher, so a minimum lies between
        cubic = _cubic_minimizer(best, trial)
        quadratic = best.step + 0.5 * _ratio(best, trial) * (trial.step - best.step)
        if abs(cubic - best.step) < abs(quadratic - best.step):
            return cubic, True
        return 0.5 * (cubic + quadratic), True
    if trial.slope * best.slope < 0:  # case 2: lower, but past a minimum
        cubic, secant = _cubic_minimizer(trial, best), _secant_minimizer(trial, best)
        return max((cubic, secant), key=lambda step: abs(step - trial.step)), True
    if abs(trial.slope) < abs(best.slope):  # case 3: lower, and flatter
        cubic = _cubic_minimizer(best, trial)
        if not (cubic - trial.step) * (trial.step - best.step) > 0:
            cubic = limit  # the cubic has no minimum further on
        secant = _secant_minimizer(trial, best)
        choose = min if bracketed else max
        step = choose((cubic, secant), key=lambda step: abs(step - trial.step))
        if bracketed:
            bound = trial.step + 0.66 * (other.step - trial.step)
            return (min(bound, step) if trial.step > best.step else max(bound, step)), False
        return min(max(step, low), high), False
    if bracketed:  # case 4: lower, and no flatter
        return _cubic_minimizer(trial, other), False
    return limit, False


def _ratio(a: Point, b: Point) -> float:
    return a.slope / ((a.value - b.value) / (b.step - a.step) + a.slope)


def _secant_minimizer(a: Point, b: Point) -> float:
    return a.step + a.slope / (a.slope - b.slope) * (b.step - a.step)


def _cubic_minimizer(a: Point, b: Point) -> float:
    """Minimiser of the cubic through two points and their slopes (Nocedal and Wright, 3.59)."""
    span = b.step - a.step
    theta = a.slope + b.slope - 3 * (b.value - a.value) / span
    scale = max(abs(theta), abs(a.slope), abs(b.slope))
    if scale == 0:
        return math.inf
    square = (theta / scale) ** 2 - (a.slope / scale) * (b.slope / scale)
    gamma = math.copysign(scale * math.sqrt(max(square, 0.0)), span)
    denominator = b.slope - a.slope + 2 * gamma
    if denominator == 0:
        return math.inf
    return b.step - span * (b.slope + gamma - theta) / denominator
