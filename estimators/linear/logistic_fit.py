"""Fits of `LogisticRegression` that are prepared: those on the same rows run as one L-BFGS."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from cukernels.runtime import current, in_parallel, on_one_blas_thread, shares, threads
from estimators.linear.logistic_parameters import penalty_strength
from estimators.linear.logistic_solvers import Solution, solve, solve_lbfgs
from estimators.linear.loss import LinearObjective
from estimators.linear.row_blocks import BLOCK_BYTES
from estimators.linear.scores import scores_together
from estimators.shared.callbacks import FitCallbacks
from estimators.shared.fit_protocol import NotTrainedError, Watch, raise_error_of
from estimators.shared.progress import Reporter
from estimators.shared.samples import Samples
from estimators.shared.warnings import warn

_CACHE = 5 << 19  # bytes that the scores of a block of rows may take, and their gradients
_LEAST_MODELS = 4  # of a stack, or it is little faster than one by one
_VECTORS = 28  # of a model's parameters: the memory of L-BFGS, and what an iteration makes


@dataclass(eq=False)
class LogisticFit:
    """A fit of `LogisticRegression` that is prepared and not yet run; see `fit_protocol.Fit`.

    Attributes
    ----------
    estimator : LogisticRegression
        Whose fit this is; its classes are known.
    samples : Samples
        What it shares with others.
    X : ndarray or CSR matrix of shape (n_samples, n_features)
        All samples as validated.
    labels : integer ndarray of shape (n_rows,)
        Places in the classes of the samples that it learns from.
    rows : integer ndarray of shape (n_rows,) or None
        Which these are; None for all.
    weights : ndarray of shape (n_rows,) or None
        What they weigh.
    C, l1_ratio : float
        The penalty.
    device : str
        Where it runs.
    sample_weight : array-like or None
        As the user gave it.
    strength : float
        That of the penalty, in the mean over samples.
    """

    estimator: Any
    samples: Samples
    X: Any
    labels: np.ndarray
    rows: np.ndarray | None
    weights: np.ndarray | None
    C: float
    l1_ratio: float
    device: str
    sample_weight: Any = None
    solution: Solution | None = None
    objective: LinearObjective | None = None
    callbacks: Any = None  # FitCallbacks, from its beginning on
    error: Exception | None = None

    def __post_init__(self) -> None:
        mass = len(self.labels) if self.weights is None else self.weights.sum(dtype=np.float64)
        self.strength = penalty_strength(self.C, float(mass))

    @property
    def key(self) -> Hashable:
        """What models have in common that run together."""
        e = self.estimator
        shape = (e.solver, e.loss, e.fit_intercept, e.intercept_scaling)
        return (self.device, self.weights is None, shape)

    @property
    def n_bytes(self) -> int:
        """Vectors of parameters, and the scores of its rows."""
        n_outputs = len(self.estimator.classes_)
        n_parameters = n_outputs * (self.X.shape[1] + 1)
        return (
            8 * _VECTORS * n_parameters + 4 * self.X.dtype.itemsize * len(self.labels) * n_outputs
        )

    @classmethod
    @on_one_blas_thread  # sums are then the same on any number of cores
    def run(cls, trainings: Sequence[LogisticFit], watch: Watch | None = None) -> None:
        """Run trainings of equal keys.

        With "lbfgs" those on the same rows are one stack, and stacks share the cores. Other
        solvers run one after the other.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C; each model then is as far as it got.
        """
        first = trainings[0]
        folds: dict[tuple, list[LogisticFit]] = {}
        for training in trainings:
            folds.setdefault((id(training.samples), id(training.rows)), []).append(training)
        together = first.estimator.solver == "lbfgs"
        silent = len(trainings) > 1

        def run_fold(_: None, fold: list[LogisticFit]) -> None:
            X = fold[0].X if fold[0].rows is None else fold[0].X[fold[0].rows]
            for stack in [fold] if together else [[training] for training in fold]:
                _run_stack(stack, X, silent, watch)

        with current(first.device):
            if together and first.device == "cpu":
                parts = [part for fold in folds.values() for part in _parts(fold, len(folds))]
                in_parallel(run_fold, parts)
            else:
                for fold in folds.values():
                    run_fold(None, fold)

    @property
    def has_begun(self) -> bool:
        """Whether there is a solution, however far it got."""
        return self.solution is not None

    @property
    def learned(self) -> tuple[np.ndarray, np.ndarray]:
        """What becomes `coef_` and `intercept_`."""
        assert self.solution is not None and self.objective is not None
        return _weights_of(self.objective, self.X.dtype, self.solution.x)

    @staticmethod
    def outputs_of(fits: Sequence[LogisticFit], X: Any) -> list[np.ndarray]:
        """Compute the scores for X of fits that ran together."""
        return scores_together(fits, X)

    def finish(self) -> None:
        """Set the fitted attributes of the estimator, with the warnings and errors of its fit."""
        raise_error_of(self)
        if self.solution is None:
            raise NotTrainedError("the training was interrupted before it began")
        estimator = self.estimator
        estimator.coef_, estimator.intercept_ = self.learned
        estimator.n_iter_ = np.array([self.solution.n_iter], dtype=np.int32)
        if self.solution.complaint:
            warn(self.solution.complaint, ConvergenceWarning)
        self.callbacks.end()

    def _begin(self, objective: LinearObjective, X: Any) -> np.ndarray:
        """Tell the callbacks of the fit; return where it starts."""
        estimator, self.objective = self.estimator, objective
        y = estimator.classes_[self.labels]
        # not a bound method: the cycle through it would keep X until Python looks for cycles
        attributes_of = partial(_attributes_of, objective, self.X.dtype)
        self.callbacks = FitCallbacks(
            estimator, X, y, self.sample_weight, estimator.max_iter, attributes_of
        )
        x0 = estimator._start(objective)
        self.callbacks.begin(x0)
        return x0


def _weights_of(
    objective: LinearObjective, dtype: np.dtype, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    coef, intercept = objective.unpacked(x)
    return coef.astype(dtype), intercept.astype(dtype)


def _attributes_of(
    objective: LinearObjective, dtype: np.dtype, x: np.ndarray
) -> dict[str, np.ndarray]:
    """The fitted attributes that follow from the parameters of an iteration."""
    return dict(zip(("coef_", "intercept_"), _weights_of(objective, dtype, x), strict=True))


def _parts(fold: list[LogisticFit], n_folds: int) -> list[list[LogisticFit]]:
    """Cut the models of a fold so that their scores stay in the cache, and every core has some."""
    first = fold[0]
    n_rows = min(
        len(first.labels), BLOCK_BYTES // max(first.X.shape[1] * first.X.dtype.itemsize, 1)
    )
    n_bytes = 2 * n_rows * len(first.estimator.classes_) * first.X.dtype.itemsize
    at_once = max(_LEAST_MODELS, _CACHE // max(n_bytes, 1))
    for_cores = max(_LEAST_MODELS, -(-len(fold) * n_folds // threads()))
    return [fold[part] for part in shares(len(fold), min(at_once, for_cores))]


def _run_stack(stack: Sequence[LogisticFit], X: Any, silent: bool, watch: Watch | None) -> None:
    """Run trainings on all rows of X; more than one with "lbfgs" only."""
    first, estimator = stack[0], stack[0].estimator
    objective = _objective(stack, X)
    x0 = np.stack([t._begin(objective, X) for t in stack])
    reporter = Reporter(0 if silent else estimator.verbose, estimator.max_iter, unit="iteration")

    def after_iteration(models: Any, x: np.ndarray, values: np.ndarray) -> None:
        if watch is not None:
            watch(len(models), float(values.min()))
        if not silent:
            reporter.iteration(float(values[0]))
            first.callbacks.iteration(x[0])

    with reporter, np.errstate(over="ignore", invalid="ignore"):  # a solution says it in words
        if estimator.solver == "lbfgs":
            solutions = solve_lbfgs(
                objective,
                x0,
                tol=np.array([t.estimator.tol for t in stack]),
                max_iter=np.array([t.estimator.max_iter for t in stack]),
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
                callback=lambda x, value: after_iteration([0], x[None], np.array([value])),
            )
            solutions = [alone]
    for training, solution in zip(stack, solutions, strict=True):
        training.solution = solution
    if any(solution.interrupted for solution in solutions):
        raise KeyboardInterrupt


def _objective(trainings: Sequence[LogisticFit], X: Any) -> LinearObjective:
    first, estimator = trainings[0], trainings[0].estimator
    liblinear = estimator.solver == "liblinear"
    weights = [t.weights for t in trainings if t.weights is not None]
    return LinearObjective(
        X,
        first.labels,
        len(estimator.classes_),
        l2=np.array([(1 - t.l1_ratio) * t.strength for t in trainings]),
        loss=estimator.loss,
        sample_weight=None if first.weights is None else np.stack(weights),
        fit_intercept=estimator.fit_intercept,
        intercept_scaling=estimator.intercept_scaling if liblinear else 1.0,
        penalize_intercept=liblinear,
        device=first.device,
    )
