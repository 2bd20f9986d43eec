"""Fits of `LogisticRegression`; with "lbfgs", those on the same rows run as a stack of models."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from cukernels.runtime import (
    Array,
    and_surely,
    current,
    in_parallel,
    on_one_blas_thread,
    threads,
    to_host,
)
from estimators.checkpoints.fits import described
from estimators.costs.memory import MemoryEstimate, check_memory, present_bytes
from estimators.costs.work import learned_samples
from estimators.linear.descent import Stage
from estimators.linear.device_loss import DeviceObjective
from estimators.linear.fit import LinearFit
from estimators.linear.logistic_parameters import penalty_strength
from estimators.linear.logistic_solvers import Solution, solve, solve_lbfgs
from estimators.linear.loss import LinearObjective
from estimators.linear.resume import read_stage
from estimators.linear.row_blocks import stack_shares
from estimators.optimize.lbfgs import Iteration
from estimators.optimize.states import LBFGSState
from estimators.shared.base import float_dtype
from estimators.shared.callbacks import EpochCallbacks, told_of
from estimators.shared.fit_protocol import NotTrainedError, Watch, raise_error_of
from estimators.shared.progress import Reporter
from estimators.shared.samples import n_bytes_of
from estimators.shared.scaling import largest_of, warn_of_large
from estimators.shared.warnings import warn

_VECTORS = 28  # vectors of parameters in the memory of L-BFGS and in an iteration


@dataclass(eq=False)
class LogisticFit(LinearFit):
    """A fit of `LogisticRegression` that is prepared and not yet run; see `fit_protocol.Fit`.

    Attributes
    ----------
    weights : ndarray of shape (n_rows,) or None
        Weights of the rows, those of their classes included; None where all are 1.
    C, l1_ratio : float
        The penalty.
    device : str
        Where the fit runs.
    sample_weight : array-like or None
        The weights of the rows as the user gave them.
    strength : float
        The strength of the penalty beside the mean loss.
    solution : Solution or None
        Where the solver ended, or None if it has not run.
    objective : LinearObjective or None
        What the solver minimises, from the beginning of the run on.
    """

    weights: np.ndarray | None
    C: float
    l1_ratio: float
    device: str
    sample_weight: Any = None
    solution: Solution | None = None
    objective: LinearObjective | None = None

    def __post_init__(self) -> None:
        mass = len(self.labels) if self.weights is None else self.weights.sum(dtype=np.float64)
        self.strength = penalty_strength(self.C, float(mass))

    @property
    def dtype(self) -> np.dtype:
        """That of the passes over X, and of what is learned."""
        return float_dtype(self.X)

    @property
    def key(self) -> Hashable:
        """What the fits that run together have in common."""
        e = self.estimator
        shape = (e.solver, e.loss, e.fit_intercept, e.intercept_scaling)
        return (self.device, self.weights is None, shape)

    @property
    def n_bytes(self) -> int:
        """The memory of its vectors of parameters, and of the scores of its rows."""
        n_outputs = len(self.estimator.classes_)
        n_parameters = n_outputs * (self.X.shape[1] + 1)
        return 8 * _VECTORS * n_parameters + 4 * self.dtype.itemsize * len(self.labels) * n_outputs

    @classmethod
    def memory_of(cls, fits: Sequence[Any]) -> MemoryEstimate:
        """Return what fits need that run together.

        Folds come one by one, or on the CPU one for each core, and each has a copy of its rows.
        """
        first = fits[0]
        together = first.estimator.solver == "lbfgs"
        models = Counter((id(fit.samples), id(fit.rows)) for fit in fits)
        folds = {(id(fit.samples), id(fit.rows)): fit for fit in fits}
        estimates = []
        for fold, fit in folds.items():
            rows, n_classes = learned_samples(fit.X, fit.rows), len(fit.estimator.classes_)
            stack = models[fold] if together else 1
            estimates.append(fit.estimator._fit_memory(rows, n_classes, fit.device, stack))
        most = max(estimates, key=lambda estimate: estimate.parameters + estimate.step)
        data = max(estimate.data for estimate in estimates)
        if first.device == "cpu" and first.rows is not None:
            data = data * min(len(folds), threads() if together else 1) + n_bytes_of(first.X)
        return replace(most, data=data)

    @classmethod
    @on_one_blas_thread  # sums are then the same on any number of cores
    def run(cls, fits: Sequence[LogisticFit], watch: Watch | None = None) -> None:
        """Run fits of equal keys.

        With "lbfgs" the fits on the same rows are one stack or a few, and the stacks share the
        cores. With other solvers the fits run one after the other.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C. Each model then is as far as it got.
        """
        first = fits[0]
        folds: dict[tuple, list[LogisticFit]] = {}
        for fit in fits:
            folds.setdefault((id(fit.samples), id(fit.rows)), []).append(fit)
        together = first.estimator.solver == "lbfgs"
        silent = len(fits) > 1
        memory = cls.memory_of(fits)
        is_whole = first.rows is None  # others are copied
        check_memory(memory, present=present_bytes(first.X, first.device) if is_whole else 0)

        def run_on_rows(_: None, fold: list[LogisticFit]) -> None:
            X = fold[0].X if fold[0].rows is None else fold[0].X[fold[0].rows]
            for stack in [fold] if together else [[fit] for fit in fold]:
                _run_stack(stack, X, silent, watch)

        with current(first.device):
            if together and first.device == "cpu":
                n_classes = len(first.estimator.classes_)
                stacks = [
                    fold[some]
                    for fold in folds.values()
                    for some in stack_shares(
                        len(fold), len(folds), first.X, len(fold[0].labels), n_classes
                    )
                ]
                # callbacks need not know of threads
                in_parallel(
                    run_on_rows,
                    stacks,
                    worth=not any(fit.estimator.callbacks is not None for fit in fits),
                )
            else:
                for fold in folds.values():
                    run_on_rows(None, fold)

    @property
    def has_begun(self) -> bool:
        """Whether there is a solution, however far it got."""
        return self.solution is not None

    @property
    def learned(self) -> tuple[np.ndarray, np.ndarray]:
        """The arrays that become `coef_` and `intercept_`."""
        assert self.solution is not None and self.objective is not None
        return self.kept or _weights_of(self.objective, self.dtype, self.solution.x)

    def finish(self) -> None:
        """Set the fitted attributes of the estimator, with the warnings and errors of its fit."""
        raise_error_of(self)
        if self.solution is None:
            raise NotTrainedError("the training was interrupted before it began")
        assert self.objective is not None
        end = self.solution
        attributes = _attributes_of(self.objective, self.dtype, end.x, end.n_iter)
        attributes["coef_"], attributes["intercept_"] = self.learned
        vars(self.estimator).update(attributes)
        if end.complaint:
            warn(end.complaint, ConvergenceWarning)
        if self.dtype == np.float32 and "scal" not in end.complaint.lower():
            largest = self.samples.once("largest", lambda: largest_of(self.X))
            warn_of_large(self.estimator, largest)
        if self.callbacks is not None:
            self.callbacks.end()

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Go on from a file.

        Raises
        ------
        ValueError
            If the file is of another fit, or damaged.
        """
        X = self.X if self.rows is None else self.X[self.rows]
        n_classes, e = len(self.estimator.classes_), self.estimator
        n_outputs = n_classes if n_classes > 2 else 1
        n_parameters = n_outputs * (X.shape[1] + bool(e.fit_intercept))
        read: Callable = partial(
            Stage.read, n_parameters=n_parameters, has_norm=self.l1_ratio * self.strength > 0
        )
        if e.solver == "lbfgs":
            read = partial(LBFGSState.read, like=np.empty(n_parameters))
        self.resumed = read_stage(path, described(e, self._data(X)), read, e.max_iter)

    def _data(self, X: Any) -> dict[str, Any]:
        """Return what it learns from, as `described` takes it, with its rows of X."""
        classes = self.estimator.classes_
        return {"X": X, "y": self.labels, "the classes": classes, "sample_weight": self.weights}

    def _begin(self, objective: LinearObjective, X: Any) -> np.ndarray:
        """Tell the callbacks that the fit begins; return the parameters to start from."""
        estimator, self.objective = self.estimator, objective
        y = estimator.classes_[self.labels]
        # A bound method would make a cycle, which keeps X until Python looks for cycles.
        attributes_of = partial(_attributes_of, objective, self.dtype)
        self.callbacks = EpochCallbacks(
            estimator, X, y, self.sample_weight, estimator.max_iter, attributes_of
        )
        self.callbacks.describe = partial(described, estimator, self._data(X))
        is_new = self.resumed is None
        x0 = estimator._start(objective) if is_new else self.resumed.x
        self.callbacks.begin(x0, 0 if is_new else self.resumed.n_iter)
        return x0

    def _ended(
        self, x: Array, value: float, n_iter: int, stage: Callable[[], Any], is_last: bool
    ) -> bool:
        """Tell the callbacks of an iteration; return whether the fit is to end here."""
        info = self.callbacks.info(n_iter, value, None, np.nan)
        return self.tell(info, (x, n_iter), stage, is_last=is_last)


def _weights_of(
    objective: LinearObjective, dtype: np.dtype, x: Array
) -> tuple[np.ndarray, np.ndarray]:
    """Return `coef_` and `intercept_` of the parameters of one model."""
    coef, intercept = objective.unpacked(to_host(x))
    return coef.astype(dtype), intercept.astype(dtype)


def _attributes_of(
    objective: LinearObjective, dtype: np.dtype, x: Array, n_iter: int
) -> dict[str, np.ndarray]:
    """Return the fitted attributes after an iteration with these parameters."""
    coef, intercept = _weights_of(objective, dtype, x)
    return {"coef_": coef, "intercept_": intercept, "n_iter_": np.array([n_iter], dtype=np.int32)}


def _run_stack(stack: Sequence[LogisticFit], X: Any, silent: bool, watch: Watch | None) -> None:
    """Run fits on all rows of X; with another solver than "lbfgs" there is one."""
    first, estimator = stack[0], stack[0].estimator
    objective = _objective(stack, X)
    x0 = np.stack([fit._begin(objective, X) for fit in stack])
    reporter = Reporter(0 if silent else estimator.verbose, estimator.max_iter, unit="iteration")
    are_heard = any(fit.callbacks.are_heard for fit in stack)

    def report(n_models: int, lowest: float, n_iter: int, value: float) -> None:
        if watch is not None:
            watch(n_models, lowest)
        if not silent:
            reporter.epoch(n_iter, value)

    def after_iteration(
        models: np.ndarray, x: Any, values: np.ndarray, ended: Iteration
    ) -> list[bool] | None:
        report(len(models), float(values.min()), ended.n_iter(0), float(values[0]))
        if not are_heard:
            return None
        each = enumerate(zip(models.tolist(), x, values.tolist(), strict=True))
        return [
            stack[m]._ended(own, value, ended.n_iter(i), partial(ended.state, i), ended.is_last(i))
            for i, (m, own, value) in each
        ]

    def after_stage(stage: Stage) -> bool:
        value, n_iter = float(stage.point.value), stage.n_iter
        report(1, value, n_iter, value)
        ends = stage.is_flat or n_iter == estimator.max_iter
        return are_heard and first._ended(stage.x, value, n_iter, lambda: stage, ends)

    n_done = [0 if fit.resumed is None else fit.resumed.n_iter for fit in stack]
    telling = told_of(stack, n_done, is_alone=not silent)
    # the complaint says what overflows
    with reporter, telling, np.errstate(over="ignore", invalid="ignore"):
        if estimator.solver == "lbfgs":
            solutions = solve_lbfgs(
                objective,
                x0,
                tol=np.array([fit.estimator.tol for fit in stack]),
                max_iter=np.array([fit.estimator.max_iter for fit in stack]),
                states=[fit.resumed for fit in stack],
                callback=after_iteration,
            )
        else:
            alone = solve(
                estimator.solver,
                objective,
                first.l1_ratio * first.strength,
                x0[0],
                tol=estimator.tol,
                max_iter=estimator.max_iter,
                stage=first.resumed,
                callback=after_stage,
            )
            solutions = [alone]

    def store() -> None:
        # in a search others come, and what follows needs no samples
        small = objective.without_samples()
        for fit, solution in zip(stack, solutions, strict=True):
            fit.solution, fit.objective = solution, small
            if not are_heard:  # they hold the samples, too
                fit.callbacks = None

    and_surely(store, store)
    if any(solution.interrupted for solution in solutions):
        raise KeyboardInterrupt


def _objective(fits: Sequence[LogisticFit], X: Any) -> LinearObjective:
    """Return the objective of a stack of fits on all rows of X."""
    first, estimator = fits[0], fits[0].estimator
    liblinear = estimator.solver == "liblinear"
    weights = [fit.weights for fit in fits if fit.weights is not None]
    kind = LinearObjective if first.device == "cpu" else DeviceObjective
    return kind(
        X,
        first.labels,
        len(estimator.classes_),
        l2=np.array([(1 - fit.l1_ratio) * fit.strength for fit in fits]),
        loss=estimator.loss,
        sample_weight=None if first.weights is None else np.stack(weights),
        fit_intercept=estimator.fit_intercept,
        intercept_scaling=estimator.intercept_scaling if liblinear else 1.0,
        penalize_intercept=liblinear,
        device=first.device,
    )
