"""The perceptron with scikit-learn's interface."""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp

from cukernels.runtime import Work, resolve_device
from cukernels.sparse import check_rows
from estimators.costs.memory import ANY_GPU, MemoryEstimate, perceptron_memory
from estimators.costs.work import perceptron_fit_work
from estimators.linear.classifier import LinearClassifier
from estimators.linear.perceptron_compiled import CompiledFit
from estimators.linear.perceptron_fit import PerceptronFit
from estimators.linear.perceptron_prepare import prepare_fit, prepare_partial_fit
from estimators.linear.perceptron_swept import SweptFit
from estimators.linear.row_blocks import kept_forms
from estimators.scikit_learn import Interval, StrOptions, fit_context
from estimators.shared.all_or_nothing import all_or_nothing
from estimators.shared.device_arrays import device_for
from estimators.shared.listeners import CALLBACKS
from estimators.shared.samples import Samples


class Perceptron(LinearClassifier):
    """Linear classifier trained by Rosenblatt's online rule, exactly, one sample after the other.

    Parameters, attributes and results are those of scikit-learn's class. New are the textbook's
    multi-class rule, a rate that decays, and `device`. On the CPU, one class against the rest runs
    in scikit-learn's own compiled loop, so that the results are the same to the bit. A GPU sees the
    samples in the same order, but sums in another order, so that they are the same to rounding.

    Parameters
    ----------
    penalty : {"l2", "l1", "elasticnet"} or None, default=None
        Penalty on the weights.
    alpha : float, default=0.0001
        Strength of the penalty.
    l1_ratio : float, default=0.15
        Share of the L1 norm in "elasticnet", from 0 (only L2) to 1 (only L1).
    fit_intercept : bool, default=True
        Whether to learn intercepts.
    max_iter : int, default=1000
        The largest number of epochs of `fit`.
    tol : float or None, default=1e-3
        A class stops after `n_iter_no_change` epochs that do not lower its mean loss, or raise
        its validation score, by this much. With None it never does.
    shuffle : bool, default=True
        Whether to draw a new order of the samples in each epoch.
    verbose : int, default=0
        Above 0, scikit-learn's loop prints its own lines. A GPU, and classes that compete, print
        one line each epoch. There is no progress bar, as the loop does not tell when an epoch ends.
    eta0 : float, default=1.0
        The rate: a factor of all updates.
    n_jobs : int or None, default=None
        Threads for the classes in scikit-learn's loop. With None, large fits use as many as
        NumPy's products may use. The result does not depend on it.
    random_state : int, RandomState instance or None, default=0
        Draws the orders and the validation split.
    early_stopping : bool, default=False
        Whether to hold samples out, and to stop by the score on them.
    validation_fraction : float, default=0.1
        The fraction of the samples that is held out, in (0, 1).
    n_iter_no_change : int, default=5
        The number of epochs without improvement after which to stop.
    class_weight : dict, "balanced" or None, default=None
        Weights ``{label: weight}`` of the updates; "balanced" is ``n_samples / (n_classes *
        np.bincount(y))``.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the last one.
    multi_class : {"ovr", "multinomial"}, default="ovr"
        "ovr" learns each class against the rest. "multinomial" is the textbook's rule, by which
        the classes compete (Duda and Hart 1973, section 5.12): a mistake raises the weights of the
        right class and lowers those of the guess.
    learning_rate : {"constant", "invscaling"}, default="constant"
        The rate is `eta0`, or ``eta0 / t**power_t`` at the t-th sample.
    power_t : float, default=0.5
        Exponent of "invscaling".
    device : str, default="auto"
        "cpu", "cuda", "cuda:N", or "auto": the first GPU where it is expected to be clearly faster
        for these samples, and else the CPU.
    callbacks : callable, object, list of them, or None, default=None
        Called as ``f(estimator, info)``, or as ``callback.on_epoch_end(estimator, info)``, after
        each epoch. The estimator is a copy that is fitted as far as the fit has come; `info` is an
        `EpochInfo`. A callback that returns True stops the fit; `estimators.callbacks` has ready
        ones. With ``multi_class="ovr"`` on the CPU there can be none, which is a ValueError:
        scikit-learn's loop tells nothing before its end.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    coef_ : ndarray of shape (1 or n_classes, n_features)
        Weights, in the dtype of X; one row for two classes.
    intercept_ : ndarray of shape (1 or n_classes,)
        Intercepts.
    n_iter_ : int
        The number of epochs of the class that took most.
    t_ : float
        The number of samples seen, plus 1.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where X has names that are strings.

    Notes
    -----
    Ctrl-C takes effect when scikit-learn's loop has returned, as it does there. After Ctrl-C,
    classes that compete, which scikit-learn does not have, keep what they have learned.

    Where a score is so near 0 that rounding decides whether it is a mistake, the results of a GPU
    can differ by more than rounding. Such ties are frequent if X has whole numbers and the rate is
    no binary fraction, like 0.1. If `eta0` is a power of 2, as by default, these sums are exact.

    On the CPU, classes that compete are trained by NumPy. An epoch on images takes less time than
    an epoch of scikit-learn's loop, where each class has a problem of its own. An epoch on few
    features, or on sparse rows, takes 9 to 32 times as much.

    References
    ----------
    Rosenblatt, Psychological Review 65, 1958.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from estimators import Perceptron
    >>> X, y = load_digits(return_X_y=True)
    >>> Perceptron().fit(X, y).score(X, y) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "penalty": [StrOptions({"l2", "l1", "elasticnet"}), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "fit_intercept": ["boolean"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "shuffle": ["boolean"],
        "verbose": ["verbose"],
        "eta0": [Interval(Real, 0, None, closed="neither")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "warm_start": ["boolean"],
        "multi_class": [StrOptions({"ovr", "multinomial"})],
        "learning_rate": [StrOptions({"constant", "invscaling"})],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "device": [str],
        "callbacks": CALLBACKS,
    }

    def __init__(
        self,
        *,
        penalty: str | None = None,
        alpha: float = 0.0001,
        l1_ratio: float = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool = True,
        verbose: int = 0,
        eta0: float = 1.0,
        n_jobs: int | None = None,
        random_state: Any = 0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        class_weight: Any = None,
        warm_start: bool = False,
        multi_class: str = "ovr",
        learning_rate: str = "constant",
        power_t: float = 0.5,
        device: str = "auto",
        callbacks: Any = None,
    ) -> None:
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.verbose = verbose
        self.eta0 = eta0
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.multi_class = multi_class
        self.learning_rate = learning_rate
        self.power_t = power_t
        self.device = device
        self.callbacks = callbacks

    @fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def fit(
        self,
        X: Any,
        y: Any,
        coef_init: Any = None,
        intercept_init: Any = None,
        sample_weight: Any = None,
        *,
        resume_from: str | os.PathLike[str] | None = None,
    ) -> Perceptron:
        """Fit to X and y, until each class stops or for `max_iter` epochs.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,)
            Labels.
        coef_init : array-like of shape (1 or n_classes, n_features), default=None
            Weights to start from; zeros if not given.
        intercept_init : array-like of shape (1 or n_classes,), default=None
            Intercepts to start from.
        sample_weight : array-like of shape (n_samples,), default=None
            Factors of the updates.
        resume_from : path, default=None
            A file of `estimators.callbacks.Checkpoint` to go on from. It belongs to a fit with
            these parameters on these data; only `device`, `verbose`, `callbacks`, `n_jobs`,
            `warm_start` and `max_iter` may differ, and weights to start from have no effect. For
            what `callbacks` says, ``multi_class="ovr"`` needs a GPU.

        Returns
        -------
        self : Perceptron

        Raises
        ------
        ValueError
            If the input is not valid, or X too large; or if the file to resume from is of another
            fit, which the message describes.
        """
        start = coef_init, intercept_init, sample_weight
        return self._run(self._prepare(Samples(X, y), *start, resume_from=resume_from))

    @fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> Perceptron:
        """Go once over the data, from where the last call left off.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array-like of shape (n_classes,), default=None
            All labels that this call and later ones will have. The first call needs it.

        Returns
        -------
        self : Perceptron
        """
        return self._run(prepare_partial_fit(self, Samples(X, y), classes, sample_weight))

    def _input_options(self, X: Any) -> dict[str, Any]:
        options = super()._input_options(X)
        if self.multi_class == "multinomial":  # scikit-learn's loop takes nothing but floats
            options["dtype"] = kept_forms(X)["dtype"]
        return options

    def _fit_class(self, device: str) -> type[PerceptronFit]:
        """Return the kind of fit: by scikit-learn's loop, with one rule on one device, or swept."""
        return CompiledFit if self.multi_class == "ovr" and device == "cpu" else SweptFit

    def _fit_device(self, X: Any, n_classes: int, max_iter: int) -> str:
        """Return where a fit to X runs."""
        return device_for(
            X, self.device, lambda: self._fit_work(X, n_classes, max_iter), verbose=self.verbose
        )

    def _fit_work(self, X: Any, n_classes: int, max_iter: int) -> Work:
        memory = self._fit_memory(X, n_classes, ANY_GPU)
        n_problems, is_multinomial = self._problems(n_classes)
        return perceptron_fit_work(X, memory, n_problems, is_multinomial, max_iter)

    def _fit_memory(
        self, X: Any, n_classes: int, device: str, models: int = 1, n_learned: int | None = None
    ) -> MemoryEstimate:
        has_l1 = self.penalty in ("l1", "elasticnet") and self.alpha > 0
        n_problems, is_multinomial = self._problems(n_classes)
        orders = n_problems if self.shuffle and not is_multinomial else 1
        return perceptron_memory(
            X, n_problems, orders, has_l1, device, models, n_learned,
            held_out=self.early_stopping * self.validation_fraction, is_multinomial=is_multinomial,
        )  # fmt: skip

    def _problems(self, n_classes: int) -> tuple[int, bool]:
        """Return how many rows of weights there are, and whether classes compete."""
        is_multinomial = self.multi_class == "multinomial"
        return n_classes if is_multinomial or n_classes > 2 else 1, is_multinomial

    def _prepare(
        self,
        samples: Samples,
        coef_init: Any = None,
        intercept_init: Any = None,
        sample_weight: Any = None,
        **options: Any,
    ) -> PerceptronFit:
        """Return the fit before its first step; see `prepare_fit`. A search calls this too."""
        return prepare_fit(self, samples, coef_init, intercept_init, sample_weight, **options)

    def _check_classes(self) -> None:
        n_classes = len(self.classes_)
        if n_classes < 2:
            raise ValueError(
                f"The number of classes has to be greater than one; got {n_classes} class"
            )

    def _check_X_y(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, np.ndarray]:
        resolve_device(self.device)
        X, y = super()._check_X_y(X, y, reset=reset)
        if sp.issparse(X):  # the compiled loop would write wherever a column points to
            check_rows(type(self).__name__, X.data, X.indices, X.indptr, X.shape[1])
        return X, y
