"""Logistic regression with scikit-learn's interface."""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_random_state

from cukernels import log_softmax, softmax
from cukernels.runtime import Array, Work, resolve_device
from estimators.costs.memory import ANY_GPU, MemoryEstimate
from estimators.costs.work import learned_samples, logistic_fit_work
from estimators.linear.classifier import LinearClassifier
from estimators.linear.fit import learn_classes
from estimators.linear.logistic_fit import LogisticFit
from estimators.linear.logistic_memory import logistic_memory
from estimators.linear.logistic_parameters import (
    check_classes,
    check_values,
    has_l1,
    resolve_penalty,
)
from estimators.linear.loss import LinearObjective
from estimators.linear.scores import n_outputs, two_columns
from estimators.scikit_learn import CallbackSupportMixin, Hidden, Interval, StrOptions, fit_context
from estimators.shared.all_or_nothing import all_or_nothing
from estimators.shared.base import float_dtype
from estimators.shared.device_arrays import device_for, in_kind, on_host
from estimators.shared.labels import total_weights
from estimators.shared.listeners import CALLBACKS
from estimators.shared.progress import VERBOSE
from estimators.shared.samples import Samples

_DEPRECATED = Hidden(StrOptions({"deprecated"}))
INDEX_32 = ("liblinear", "sag", "saga")  # these solvers of scikit-learn take no 64-bit indices


class LogisticRegression(CallbackSupportMixin, LinearClassifier):
    """Linear classifier that maximises the likelihood of the labels, less a penalty.

    It minimises ``C * sum_i s_i loss_i + (1 - l1_ratio) / 2 |coef|^2 + l1_ratio |coef|_1`` with the
    weights s_i of the samples. Parameters, attributes, warnings and errors are those of
    scikit-learn's class, with `loss` and `device` in addition. The computation is in the dtype of
    `X`: float32 data are never copied to float64.

    Parameters
    ----------
    penalty : {"l1", "l2", "elasticnet", None}, default="l2"
        Deprecated: use `l1_ratio`, and ``C=np.inf`` for no penalty.
    C : float, default=1.0
        Inverse of the strength of the penalty; `np.inf` for none.
    l1_ratio : float, default=0.0
        Share of the L1 norm in the penalty, from 0 (only L2) to 1 (only L1). "liblinear" takes
        0 and 1, "saga" takes any share, and the other solvers take 0.
    dual : bool, default=False
        Accepted for solver "liblinear" with an L2 penalty. It has no effect, as both formulations
        have the same optimum.
    tol : float, default=1e-4
        The largest component of the gradient of the objective, taken as a mean over samples, at
        which to stop. With an L1 norm an iteration must also have lowered the objective by no
        more than 0.01 `tol` of it.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    intercept_scaling : float, default=1
        The value of a constant feature that solver "liblinear" adds. The weight of this feature
        stands for the intercept, and is penalised like the others.
    class_weight : dict or "balanced", default=None
        Weights ``{label: weight}``; "balanced" is ``n_samples / (n_classes * np.bincount(y))``.
    random_state : int, RandomState instance or None, default=None
        Accepted, and without effect, as no solver draws random numbers.
    solver : {"lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga"}, \
            default="lbfgs"
        A name promises the penalties that the solver takes and the optimum that it reaches.
        "liblinear" takes two classes only. "newton-cholesky" suits features of very different
        scale, if there are not too many.
    max_iter : int, default=100
        The largest number of iterations of the solver.
    verbose : int or "bar", default=0
        From 1 on, each iteration prints a line, which is alike for all solvers. (scikit-learn's
        solvers print lines of their own.) "bar" shows a progress bar, by tqdm or rich.
    warm_start : bool, default=False
        Whether to start from the last fit. "liblinear" never does.
    n_jobs : int, default=None
        Deprecated, and without effect.
    loss : {"log_loss", "squared_error"}, default="log_loss"
        "squared_error" is half the squared error between the probabilities (logistic for two
        classes, softmax for more) and targets of 0 and 1. It is not convex. Solver "lbfgs".
    device : str, default="auto"
        "cpu", "cuda", "cuda:N", or "auto": the first GPU where it is expected to be clearly faster
        for these samples, and else the CPU.
    callbacks : callable, object, list of them, or None, default=None
        Called as ``f(estimator, info)``, or as ``callback.on_epoch_end(estimator, info)``, after
        each iteration. The estimator is a copy that is fitted as far as the fit has come; `info`
        is an `EpochInfo`. A callback that returns True stops the fit; `estimators.callbacks` has
        ready ones. Those of scikit-learn's API (`set_callbacks`) are called as well.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Weights of the features; one row for two classes. A CSR matrix after `sparsify`.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts, 0 without `fit_intercept`.
    n_iter_ : int32 ndarray of shape (1,)
        The number of iterations of the solver.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where X has names that are strings.

    References
    ----------
    Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", Mathematical
    Programming 45, 1989; Friedman, Hastie and Tibshirani, "Regularization paths for generalized
    linear models via coordinate descent", J. Stat. Softw. 33, 2010.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from estimators.logistic import LogisticRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> LogisticRegression(max_iter=200).fit(X, y).predict(X[:2])
    array([0, 0])
    """

    _goes_by_blocks = True
    _parameter_constraints: ClassVar[dict] = {
        "penalty": [StrOptions({"l1", "l2", "elasticnet"}), None, _DEPRECATED],
        "C": [Interval(Real, 0, None, closed="right")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both"), None],
        "dual": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "fit_intercept": ["boolean"],
        "intercept_scaling": [Interval(Real, 0, None, closed="neither")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "random_state": ["random_state"],
        "solver": [
            StrOptions({"lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga"})
        ],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "verbose": VERBOSE,
        "warm_start": ["boolean"],
        "n_jobs": [None, Integral],
        "loss": [StrOptions({"log_loss", "squared_error"})],
        "device": [str],
        "callbacks": CALLBACKS,
    }

    def __init__(
        self,
        penalty: str | None = "deprecated",
        *,
        C: float = 1.0,
        l1_ratio: float | None = 0.0,
        dual: bool = False,
        tol: float = 1e-4,
        fit_intercept: bool = True,
        intercept_scaling: float = 1,
        class_weight: dict | str | None = None,
        random_state: Any = None,
        solver: str = "lbfgs",
        max_iter: int = 100,
        verbose: int | str = 0,
        warm_start: bool = False,
        n_jobs: int | None = None,
        loss: str = "log_loss",
        device: str = "auto",
        callbacks: Any = None,
    ) -> None:
        self.penalty = penalty
        self.C = C
        self.l1_ratio = l1_ratio
        self.dual = dual
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.random_state = random_state
        self.solver = solver
        self.max_iter = max_iter
        self.verbose = verbose
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.loss = loss
        self.device = device
        self.callbacks = callbacks

    @fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        resume_from: str | os.PathLike[str] | None = None,
    ) -> LogisticRegression:
        """Fit the model to labelled samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.
        resume_from : path, default=None
            A file of `estimators.callbacks.Checkpoint` to go on from. It belongs to a fit with
            these parameters on these data; only `device`, `verbose`, `callbacks`, `n_jobs`,
            `warm_start` and `max_iter` may differ.

        Returns
        -------
        self : LogisticRegression
            After Ctrl-C too: as far as it got, with a warning.

        Raises
        ------
        ValueError
            If the parameters contradict each other, or X and y cannot be learned from; or if the
            file to resume from is of another fit, which the message describes.
        KeyboardInterrupt
            After Ctrl-C before the first evaluation.
        """
        return self._run(self._prepare(Samples(X, y), sample_weight, resume_from=resume_from))

    def _prepare(
        self,
        samples: Samples,
        sample_weight: Any = None,
        rows: np.ndarray | None = None,
        resume_from: Any = None,
    ) -> LogisticFit:
        """Do what comes before the first step of a fit on some rows, whose weights are given."""
        C, l1_ratio = resolve_penalty(self)
        resolve_device(self.device)  # an unknown one is refused before anything else
        sample_weight = on_host(sample_weight)
        check_random_state(self.random_state)
        X, y = samples.checked(self, self._takes_large_sparse)
        self.classes_, labels = learn_classes(samples, y, rows)
        self._check_classes()
        check_values(self, X)
        y = y if rows is None else y[rows]
        weights = total_weights(
            self.class_weight, self.classes_, y, float_dtype(X), sample_weight, balance="weights"
        )
        n_classes = len(self.classes_)
        device = device_for(
            X,
            self.device,
            lambda: self._fit_work(learned_samples(X, rows), n_classes, self.max_iter),
            verbose=self.verbose,
        )
        fit = LogisticFit(
            self, samples, X, labels, rows, weights, C, l1_ratio, device, sample_weight
        )
        if resume_from is not None:
            fit.resume(resume_from)
        return fit

    def _check_classes(self) -> None:
        check_classes(self)

    def _fit_memory(
        self, X: Any, n_classes: int, device: str, models: int = 1, n_learned: int | None = None
    ) -> MemoryEstimate:
        return logistic_memory(
            X, n_outputs(n_classes), self.solver, device, models, has_l1=has_l1(self)
        )

    def _fit_work(self, X: Any, n_classes: int, max_iter: int) -> Work:
        memory = self._fit_memory(X, n_classes, ANY_GPU)
        return logistic_fit_work(X, memory, n_outputs(n_classes), self.solver, max_iter)

    @property
    def _takes_large_sparse(self) -> bool:  # type: ignore[override]
        return self.solver not in INDEX_32

    def _start(self, objective: LinearObjective) -> np.ndarray:
        """Return the parameters to start from: with `warm_start` the last fit's, else zeros."""
        x0 = np.zeros(objective.n_parameters)
        if not (self.warm_start and hasattr(self, "coef_")) or self.solver == "liblinear":
            return x0
        coef: Any = self.coef_
        coef = coef.toarray() if sp.issparse(coef) else coef
        expected = (objective.n_outputs, objective.n_features)
        if coef.shape != expected:
            raise ValueError(
                f"Initialization coef is of shape {coef.shape}, expected shape {expected}"
            )
        x0[: objective.n_coef] = coef.ravel()
        if self.fit_intercept:
            x0[objective.n_coef :] = self.intercept_
        return x0

    @in_kind
    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class for each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        scores = two_columns(self.decision_function(X))
        with np.errstate(over="ignore", invalid="ignore"):  # scores may be far apart
            return softmax(scores)

    @in_kind
    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithms of the probabilities, finite even where those round to 0.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        scores = two_columns(self.decision_function(X))
        with np.errstate(over="ignore", invalid="ignore"):
            return log_softmax(scores)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if self.solver == "liblinear":
            tags.classifier_tags.multi_class = False
        return tags
