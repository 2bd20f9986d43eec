"""Limited-memory BFGS over a stack of models (Liu and Nocedal, Mathematical Programming 45, 1989).

Every model has its own direction, line search, memory and end, and all models share each
evaluation. A model that has ended leaves the stack, and the others go on. The numbers of different
models never mix: the steps of each are, bit for bit, those that it would take alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cukernels.runtime import Array, and_surely, like, to_host
from estimators.optimize.device_vectors import DeviceVectors
from estimators.optimize.line_search import LARGEST_STEP, WolfeSearch
from estimators.optimize.states import PAIRS, Iteration, LBFGSState
from estimators.optimize.vectors import HostVectors, ValueAndGradient, merge

Callback = Callable[[np.ndarray, Array, np.ndarray, Iteration], Any]
Limit = float | np.ndarray  # one for all models, or one for each

CONVERGED, LIMIT, ABNORMAL, INTERRUPTED = 0, 1, 2, 3
EPSILON = np.finfo(np.float64).eps
SMALLEST = float(np.finfo(np.float64).tiny)

End = tuple[int, str]
FLAT_GRADIENT = CONVERGED, "CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL"  # SciPy's wording
FLAT_VALUE = CONVERGED, "CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH"
MAX_ITER = LIMIT, "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT"
MAX_FUN = LIMIT, "STOP: TOTAL NO. OF F,G EVALUATIONS EXCEEDS LIMIT"
HALTED = LIMIT, "STOP: CALLBACK REQUESTED HALT"
NO_STEP = ABNORMAL, "ABNORMAL: the line search found no lower value"
NOT_FINITE = ABNORMAL, "ABNORMAL: the first value or gradient is not finite"
CTRL_C = INTERRUPTED, "STOP: INTERRUPTED BY THE USER"


@dataclass
class LBFGSResult:
    """Where each model of a stack ended.

    Attributes
    ----------
    x : array of shape (M, P)
    fun : ndarray of shape (M,)
        Value at `x`.
    n_iter, n_evaluations : integer ndarrays of shape (M,)
    status : integer ndarray of shape (M,)
        0 converged; 1 a limit or the callback stopped it; 2 the line search found no step, or the
        first value was not finite; 3 interrupted by Ctrl-C.
    message : list of M str
    """

    x: Array
    fun: np.ndarray
    n_iter: np.ndarray
    n_evaluations: np.ndarray
    status: np.ndarray
    message: list[str]


def minimize_lbfgs(
    value_and_gradient: ValueAndGradient,
    x0: Array,
    *,
    max_iter: Limit = 15000,
    gtol: Limit = 1e-5,
    ftol: Limit = 2.2e-9,
    max_fun: Limit = 15000,
    max_line_search: int = 50,
    memory: int = PAIRS,
    noise: float = 0.0,
    states: Sequence[LBFGSState | None] | None = None,
    callback: Callback | None = None,
) -> LBFGSResult:
    """Minimise a stack of M smooth functions of P variables each.

    Stopping rules, first step and line search are those of L-BFGS-B as SciPy runs it (Zhu et al.,
    ACM TOMS 23, 1997), so that iteration counts compare.

    Parameters
    ----------
    value_and_gradient : callable
        ``value_and_gradient(x, models) -> values, gradients`` at points `x` of shape (A, P) of
        the A models of the stack whose places are in `models`: new arrays of shapes (A,) and
        (A, P).
    x0 : array of shape (M, P), float32 or float64
        Where to start; it is not changed. Vectors stay in its dtype and on its device. The
        scalars of each model are float64 on the host, which reads a device once an evaluation.
    max_iter : int or array of shape (M,), default=15000
        The largest number of iterations of a model.
    gtol : float or array of shape (M,), default=1e-5
        A model has converged when no component of its gradient is larger. In float32 it is at
        least 2e-19, as the square of a smaller component underflows.
    ftol : float or array of shape (M,), default=2.2e-9
        A model has converged when an iteration lowers its value f by no more than
        ``ftol * max(|f before|, |f after|, 1)``.
    max_fun : int or array of shape (M,), default=15000
        Evaluations of a model after which it begins no further iteration.
    max_line_search : int, default=50
        The largest number of evaluations in one line search.
    memory : int, default=10
        The number of steps that the curvature is estimated from.
    noise : float, default=0.0
        Relative rounding error of the values, for values that are rounded more than their
        gradients. While a value moves no further than that, a smaller gradient counts as progress.
    states : sequence of M LBFGSState or None, default=None
        What some models go on from, by the rules of this run; None for those that begin in `x0`.
    callback : callable, default=None
        Called as ``callback(models, x, values, iteration)`` with the models that have just ended an
        iteration; `x` is an array or, on a device, a sequence of one for each, and `iteration`
        tells more of them. It may return which of these are to halt, as booleans, and it ends the
        whole run by raising StopIteration.

    Returns
    -------
    result : LBFGSResult
        After Ctrl-C too: the last completed iteration of each model, with status 3.
    """
    gtol = np.maximum(gtol, 2 * math.sqrt(np.finfo(x0.dtype).tiny))
    limits = [np.broadcast_to(limit, len(x0)) for limit in (max_iter, gtol, ftol, max_fun)]
    resumed = {m: state for m, state in enumerate(states or ()) if state is not None}
    run = _Run(value_and_gradient, x0, memory, noise, limits, resumed)
    try:
        run.begin(resumed)
        while len(run.models):
            run.choose_directions()
            before, largest = run.value, run.largest
            moved, stuck = run.try_steps(max_line_search)
            halted, ends = None, run.judge(moved, before)
            if callback is not None and len(moved):
                told = run.models[moved], run.vectors.points(moved), run.value[moved]
                halted = callback(*told, Iteration(run, moved, before, largest, ends))
            if halted is not None:
                ends |= {i: HALTED for i, halts in zip(moved, halted, strict=True) if halts}
            run.end(ends | run.restart(stuck))
    except StopIteration:
        run.end_all(HALTED)
    except KeyboardInterrupt:
        run.end_all(CTRL_C)
    return run.result


class _Run:
    """The models that still run (axis 0 of every array), and the result of those that ended."""

    STATE: ClassVar[list[str]] = [
        *("models", "vectors", "value", "slope", "fresh", "searches", "largest"),
        *("n_iter", "n_evaluations", "max_iter", "gtol", "ftol", "max_fun"),
    ]

    def __init__(
        self,
        evaluate: ValueAndGradient,
        x0: Array,
        memory: int,
        noise: float,
        limits: list[np.ndarray],
        resumed: Mapping[int, LBFGSState],
    ) -> None:
        n_models = len(x0)
        if resumed:
            x0 = _with_points(x0, resumed)
        self.evaluate, self.noise = evaluate, noise
        self.tiny = np.finfo(x0.dtype).tiny
        self.max_iter, self.gtol, self.ftol, self.max_fun = limits
        self.models = np.arange(n_models)  # places in the whole stack
        on_host = isinstance(x0, np.ndarray)
        self.vectors: Any = (HostVectors if on_host else DeviceVectors)(x0, memory)
        self.value = np.full(n_models, np.nan)
        self.slope = np.zeros(n_models)  # of the value along the direction
        self.fresh = np.ones(n_models, dtype=bool)  # about to choose a direction
        self.searches = np.empty(n_models, dtype=object)  # each a WolfeSearch
        self.largest = np.zeros(n_models)  # component of the gradient
        self.n_iter = np.zeros(n_models, dtype=int)
        self.n_evaluations = np.zeros(n_models, dtype=int)
        for i, state in resumed.items():
            self.value[i], self.n_iter[i] = state.value, state.n_iter
            self.n_evaluations[i] = state.n_evaluations
        self.result = LBFGSResult(
            self.vectors.results(),
            self.value.copy(),
            self.n_iter.copy(),
            self.n_evaluations.copy(),
            np.full(n_models, CTRL_C[0]),
            [CTRL_C[1]] * n_models,
        )

    def begin(self, resumed: Mapping[int, LBFGSState]) -> None:
        """Evaluate the first points, and take up the models that another run has left there."""
        value, largest = self.vectors.begin(self.evaluate, self.models)
        before = value
        if resumed:
            value, before, largest = value.copy(), value.copy(), largest.copy()
        for i, state in resumed.items():
            self.vectors.take_up(i, state)
            value[i], before[i], largest[i] = state.value, state.value_before, state.largest_before
        self.value, self.largest = value, largest
        ends: dict[int, End] = {}
        for i in (i for i in range(len(value)) if i not in resumed):
            self.n_evaluations[i] = 1
            if not (np.isfinite(value[i]) and np.isfinite(largest[i])):
                ends[i] = NOT_FINITE
            elif largest[i] <= self.gtol[i]:
                ends[i] = FLAT_GRADIENT
            elif self.max_iter[i] == 0:
                ends[i] = MAX_ITER
        if resumed:
            ends |= self.judge(list(resumed), before)
        self.end(ends)

    def choose_directions(self) -> None:
        """Begin a line search for the models that have just moved, or lost their memory."""
        fresh = self.fresh.nonzero()[0].tolist()
        if not fresh:
            return
        self.slope = merge(self.slope, self.vectors.choose(self.fresh), self.fresh)
        uphill = [i for i in fresh if not self.slope[i] < 0]
        if uphill:
            self.slope[uphill] = self.vectors.go_downhill(uphill)
        n_pairs = self.vectors.memory.n_pairs
        for i in fresh:
            first = 1.0
            if n_pairs[i] == 0:  # the gradient has no natural length: move by 1
                square = max(-self.slope[i], SMALLEST)  # which may underflow, if nothing else does
                first = min(1 / math.sqrt(square), LARGEST_STEP)
            value, slope = float(self.value[i]), float(self.slope[i])
            self.searches[i] = WolfeSearch(value, slope, first, self.noise * abs(value))

    def try_steps(self, max_line_search: int) -> tuple[list[int], list[int]]:
        """Evaluate the next step of each search.

        Returns
        -------
        moved : list of int
            The models whose search ended, and which are now at its end.
        stuck : list of int
            Those whose search failed, and which are where they were.
        """
        steps = np.array([search.step for search in self.searches])
        value, slope = self.vectors.step(self.evaluate, self.models, steps)
        values, slopes = value.tolist(), slope.tolist()  # plain numbers are faster one by one
        self.n_evaluations = self.n_evaluations + 1
        moved: list[int] = []
        stuck: list[int] = []
        for i, search in enumerate(self.searches):
            if search.advance(values[i], slopes[i]):
                (moved if search.step > 0 else stuck).append(i)
            elif search.n_steps >= max_line_search:
                stuck.append(i)
        # s'y follows from the slopes along the direction; a step without curvature is forgotten
        rise = slope - self.slope
        sy = steps * rise
        curved = [i for i in moved if rise[i] > EPSILON * -self.slope[i] and sy[i] > self.tiny]
        settle = self.vectors.move(moved, curved, sy)
        fresh = np.ones(len(steps), dtype=bool)
        if len(moved) < len(steps):  # else, as usual, without copies
            fresh = np.zeros(len(steps), dtype=bool)
            fresh[moved] = True
            value = merge(self.value, value, fresh)
        n_iter = self.n_iter + fresh

        def commit() -> None:
            """End the iteration, which may be done twice."""
            settle()
            self.__dict__.update(fresh=fresh, value=value, n_iter=n_iter)

        and_surely(_nothing, commit)  # else Ctrl-C could come between point and count
        return moved, stuck

    def restart(self, stuck: list[int]) -> dict[int, End]:
        """Send models on down the gradient; return the ends of those that came from there."""
        ends: dict[int, End] = {}
        for i in stuck:
            if self.vectors.memory.n_pairs[i] == 0:
                search = self.searches[i]
                flat = search.step == 0 and not search.has_overflowed
                ends[i] = FLAT_VALUE if flat else NO_STEP
        again = [i for i in stuck if i not in ends]
        if again:
            self.vectors.forget(again)
            self.fresh[again] = True
        return ends

    def judge(self, moved: list[int], before: np.ndarray) -> dict[int, End]:
        """Return the ends of the models that have converged or reached a limit."""
        ends: dict[int, End] = {}
        largest, largest_before = self.vectors.largest(), self.largest
        self.largest = largest
        for i in moved:
            old, new = before[i], self.value[i]
            flatter = self.noise > 0 and largest[i] < largest_before[i]
            if largest[i] <= self.gtol[i]:
                ends[i] = FLAT_GRADIENT
            elif old - new <= self.ftol[i] * max(abs(old), abs(new), 1) and not flatter:
                ends[i] = FLAT_VALUE
            elif self.n_iter[i] >= self.max_iter[i]:
                ends[i] = MAX_ITER
            elif self.n_evaluations[i] > self.max_fun[i]:
                ends[i] = MAX_FUN
        return ends

    def end(self, ends: dict[int, End]) -> None:
        """Write the models of `ends` into the result, and go on with the others."""
        if not ends:
            return
        gone = list(ends)
        models, result = self.models[gone], self.result
        self.vectors.write(gone, models, result.x)
        result.fun[models] = self.value[gone]
        result.n_iter[models] = self.n_iter[gone]
        result.n_evaluations[models] = self.n_evaluations[gone]
        for model, (status, message) in zip(models, ends.values(), strict=True):
            result.status[model], result.message[model] = status, message
        keep = np.setdiff1d(np.arange(len(self.models)), gone)
        # a single call, so that Ctrl-C cannot come between two of the arrays
        self.__dict__.update({name: getattr(self, name)[keep] for name in self.STATE})

    def end_all(self, why: End) -> None:
        """Write all models that still run into the result."""
        self.end(dict.fromkeys(range(len(self.models)), why))


def _with_points(x0: Array, resumed: Mapping[int, LBFGSState]) -> Array:
    """Return where models start, which is where another run has left some of them."""
    x = np.array(to_host(x0))
    for i, state in resumed.items():
        x[i] = state.x
    return like(x, x0)


def _nothing() -> None:
    pass
