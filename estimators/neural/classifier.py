"""The face of the networks: parameters, `fit` and `partial_fit` of the neural classifiers.

`MLPClassifier` and `ConvNetClassifier` say what their layers are. A fit has three parts: it is
prepared (`prepare_fit`), it runs (`NeuralFit.run`), and it sets the fitted attributes
(`NeuralFit.finish`). A search prepares many fits and runs them together.
"""

from __future__ import annotations

import os
from math import ceil
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from cukernels.activations import ACTIVATIONS
from cukernels.runtime import Work, resolve_device
from estimators.costs.memory import ANY_GPU, MemoryEstimate
from estimators.costs.network_memory import Training, network_memory
from estimators.costs.work import network_fit_work
from estimators.layers.layer import Shape
from estimators.neural.fit import NeuralFit
from estimators.neural.fitted import NetworkModel
from estimators.neural.prepare import prepare_fit
from estimators.scikit_learn import (
    CallbackSupportMixin,
    Interval,
    Options,
    StrOptions,
    check_partial_fit_first_call,
    fit_context,
)
from estimators.shared.all_or_nothing import all_or_nothing
from estimators.shared.device_arrays import device_for, on_host, received
from estimators.shared.interrupts import has_to_raise
from estimators.shared.labels import count_outputs
from estimators.shared.listeners import CALLBACKS
from estimators.shared.progress import VERBOSE
from estimators.shared.samples import Samples
from estimators.shared.validation import validated, validated_shape
from estimators.shared.warnings import warn
from estimators.training.network import Network
from estimators.training.optimizers import SOLVERS, VECTORS_OF_LBFGS, solver_named
from estimators.training.schedules import PER_STEP
from estimators.training.settings import batch_size_of


def _is_stochastic(estimator: NeuralClassifier) -> bool:
    """Return True, or raise AttributeError if the solver has no `partial_fit`."""
    name = estimator.solver
    known = isinstance(name, str) and name in SOLVERS  # the call itself refuses any other
    if known and not SOLVERS[name].goes_by_steps:
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {name} is not stochastic."
        )
    return True


class NeuralClassifier(CallbackSupportMixin, NetworkModel):
    """A classifier that trains a network of layers."""

    classes_: np.ndarray

    _parameter_constraints: ClassVar[dict] = {
        "activation": [StrOptions(set(ACTIVATIONS)), "array-like"],
        "solver": [StrOptions(set(SOLVERS))],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive", *PER_STEP})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": VERBOSE,
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "loss": [StrOptions({"log_loss", "squared_error"})],
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "batch_norm": ["boolean"],
        "dtype": [StrOptions({"float32", "float64", "auto"})],
        "device": [str],
        "callbacks": CALLBACKS,
    }

    # Fit -------------------------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        resume_from: str | os.PathLike[str] | None = None,
    ) -> NeuralClassifier:
        """Fit the network to X and y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels, or indicators where samples have several labels each. An indicator that is not
            0 counts as 1.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights. A sample of weight 0 counts as absent.
        X_val, y_val : as X and y, default=None
            A validation set of your own. The accuracy on it is recorded in `validation_scores_`
            after each epoch. With ``early_stopping=True`` it decides when to stop, and no part of
            X is held out. If it has labels that y does not have, there is a warning, as no
            prediction of them can be right.
        resume_from : path, default=None
            A file of `estimators.callbacks.Checkpoint` to go on from. It belongs to a fit with
            these parameters on these data; only `device`, `verbose`, `callbacks` and, if no plan of
            learning rates depends on it, `max_iter` may differ.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If the input is not valid, if no label of y_val is one of y, or if the weights diverge;
            or if the file to resume from is of another fit, which the message describes.
            Where early stopping has seen a good epoch before they diverge, there is a
            ConvergenceWarning instead.
        """
        return self._fit(
            X, y, sample_weight, X_val, y_val, incremental=False, resume_from=resume_from
        )

    @available_if(_is_stochastic)
    @fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        classes: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
    ) -> NeuralClassifier:
        """Go once over the data, from where the last call left off.

        With ``early_stopping=True`` each call scores the network on X_val and y_val, or on a part
        of its data that it holds out. When `n_iter_no_change` calls have brought no improvement,
        or one has diverged, the best weights come back and `early_stopped_` becomes True. Later
        calls then change nothing.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val
            As in `fit`.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come. The first call needs them.

        Returns
        -------
        self : object
        """
        y, classes = on_host(y), on_host(classes)
        if isinstance(classes, list | tuple | np.ndarray):
            _check_one_axis(classes)
        if check_partial_fit_first_call(self, classes):
            try:
                multilabel = type_of_target(y).startswith("multilabel")
                self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
            except (TypeError, ValueError):
                del self.classes_  # the next call is the first one again
                raise
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit. In order to use "
                "'balanced' weights, use compute_class_weight('balanced', classes=classes, y=y) "
                "on all of the data and give the result as class_weight."
            )
        if getattr(self, "early_stopped_", False):
            return self
        return self._fit(X, y, sample_weight, X_val, y_val, incremental=True)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, **options: Any
    ) -> NeuralClassifier:
        fit = self._prepare(Samples(X, y), sample_weight, X_val=X_val, y_val=y_val, **options)
        try:
            fit.run([fit])
        except KeyboardInterrupt:
            # scikit-learn's networks that train in steps keep what they have, as these do
            if has_to_raise() and solver_named(self.solver).minimize is not None:
                raise
            warn("Training interrupted by user.")
        fit.finish()
        return self

    def estimate_memory(self, X: Any, y: Any = None) -> MemoryEstimate:
        """Estimate the memory of the device that `fit` will need. Nothing is allocated.

        A fit on a GPU that needs more than is free raises MemoryError before its first step. What
        `fit` refuses for its shape or type is refused here in the same words. Numbers are not
        looked at, so NaN in X is only found by `fit`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples; only their shape and type count.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Labels. Without them, the classes are those of the last fit, or else two.

        Returns
        -------
        memory : MemoryEstimate
            Bytes of `data`, `parameters` (with what the solver keeps) and a `step`, their `total`,
            and the `device`.
        """
        model = clone(self)
        model._validate_params()
        resolve_device(self.device)
        given = model._as_rows(received(X))
        rows, y = validated_shape(model, given, on_host(y), **model._input_options(given))
        if y is not None:
            LabelBinarizer().fit(y)  # which refuses what it cannot make columns of
        n_outputs = count_outputs(y, getattr(self, "classes_", ()))
        network = model._build_network(rows.shape[1], n_outputs)
        device = device_for(
            given, self.device, lambda: model._fit_work(network, rows, incremental=False)
        )
        n_rows, more = model._rows_learned(rows.shape[0])
        if np.ndim(y) > 1 and np.shape(y)[1] > 1:  # the targets of several labels are numbers
            more["target_bytes"] = model._network_dtype(rows).itemsize * n_outputs
        return model._fit_memory(network, rows, n_rows, device, **more)

    def _rows_learned(self, n_samples: int) -> tuple[int, dict[str, int]]:
        """Return how many samples are learned from, and how many are held out by name."""
        if not (self.early_stopping and solver_named(self.solver).goes_by_steps):
            return n_samples, {}
        n_scored = ceil(self.validation_fraction * n_samples)
        return n_samples - n_scored, {"n_scored": n_scored}

    def _fit_memory(
        self, network: Network, X: Any, n_rows: int, device: str, **more: Any
    ) -> MemoryEstimate:
        """Return what a fit to some rows of X needs; `more` are fields of `Training`."""
        solver, dtype = solver_named(self.solver), self._network_dtype(X)
        n_copies, batch_size = solver.copies + bool(self.early_stopping), 0
        if solver.goes_by_steps:
            batch_size = batch_size_of(self, n_rows)
        else:
            n_copies = VECTORS_OF_LBFGS
        n_outputs = network.shapes[-1][0]
        are_labels = self.loss == "log_loss" and n_outputs > 1
        known = {
            "target_bytes": 8 if are_labels else dtype.itemsize * n_outputs,
            "augmented": self._augmentation() is not None,
            "batch_size": batch_size,
        }
        training = Training(
            n_rows=n_rows, n_copies=n_copies, dtype=dtype, device=device, **(known | more)
        )
        return network_memory(network, X, training)

    def _fit_work(self, network: Network, X: Any, *, incremental: bool) -> Work:
        """Return what a fit to X has to do."""
        memory = self._fit_memory(network, X, X.shape[0], ANY_GPU)
        by_steps = solver_named(self.solver).goes_by_steps
        batch_size = batch_size_of(self, X.shape[0]) if by_steps else 0
        n_epochs = 1 if incremental else self.max_iter
        dtype = self._network_dtype(X)
        return network_fit_work(network, X, dtype, memory, batch_size, n_epochs)

    def _prepare(self, samples: Samples, sample_weight: Any = None, **options: Any) -> NeuralFit:
        """Return the fit before its first step; see `prepare_fit`. A search calls this too."""
        return prepare_fit(self, samples, sample_weight, **options)

    def _check_X_y(
        self, X: Any, y: Any, *, reset: bool, shape: Shape | None = None
    ) -> tuple[Any, np.ndarray]:
        """Validate samples and labels; `shape` is that of a sample, if the network is known."""
        X, y = self._as_rows(received(X), shape=shape), on_host(y)
        with np.errstate(over="ignore"):  # what float32 does not hold is refused in words
            X, y = validated(self, X, y, reset=reset, **self._input_options(X))
        check_classification_targets(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    def _input_options(self, X: Any) -> dict[str, Any]:
        """Return what `validated` is told of samples: bytes stay bytes up to their batch."""
        floats = self._dtypes if isinstance(self._dtypes, tuple) else (self._dtypes,)
        return {
            "accept_sparse": "csr" if self.__sklearn_tags__().input_tags.sparse else False,
            "multi_output": True,
            "dtype": floats if sp.issparse(X) else (*floats, np.dtype(np.uint8)),
            "order": "C",
        }


def _check_one_axis(classes: Any) -> None:
    """Raise ValueError unless classes are a sequence of labels."""
    if isinstance(classes, np.ndarray):
        classes = classes.tolist()
    if not isinstance(classes, list | tuple):
        raise ValueError(f"Expected array-like (array or non-string sequence), got {classes!r}")
    if any(isinstance(label, list | tuple | set | dict | np.ndarray) for label in classes):
        raise ValueError(f"classes must be a 1-D sequence of labels, got {classes!r}")
