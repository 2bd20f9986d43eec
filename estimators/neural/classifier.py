"""How MLPClassifier and ConvNetClassifier are fitted.

A subclass says what its layers are. Here are validation, labels, weights, the hand-over to the
training loop, and the fitted attributes.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import fields
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    check_classification_targets,
    type_of_target,
)
from sklearn.utils.validation import (
    column_or_1d,
    validate_data,
)

from cukernels.activations import ACTIVATIONS
from cukernels.runtime import current, resolve_device, to_device
from estimators.layers.layer import Shape
from estimators.neural.callbacks import EpochCallbacks
from estimators.neural.data import Data
from estimators.neural.fit import NeuralFit, placed_samples
from estimators.neural.fitted import NetworkModel
from estimators.neural.held_out import HeldOut, places_of
from estimators.neural.network import Network
from estimators.neural.objective import Objective
from estimators.neural.optimizers import SOLVERS, STEPPED, listed, solver_named
from estimators.neural.schedules import PER_STEP
from estimators.neural.trainee import Progress, Settings, Trainee, dropout_streams
from estimators.scikit_learn import (
    CallbackSupportMixin,
    HasMethods,
    Interval,
    Options,
    StrOptions,
    check_partial_fit_first_call,
    fit_context,
)
from estimators.shared.labels import (
    check_kind,
    check_known,
    check_members,
    check_scored,
    check_scoring_weights,
    indicators_of,
    learn_labels,
    total_weights,
)
from estimators.shared.progress import VERBOSE, Reporter
from estimators.shared.samples import Samples
from estimators.shared.warnings import warn

_CASTS: dict[str, Any] = {"float": float, "int": int}  # of numbers of NumPy, True and 10**30


def _is_stochastic(estimator: NeuralClassifier) -> bool:
    name = estimator.solver
    known = isinstance(name, str) and name in SOLVERS  # of others the call itself complains
    if known and not SOLVERS[name].goes_by_steps:
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {name} is not stochastic."
        )
    return True


class NeuralClassifier(CallbackSupportMixin, NetworkModel):
    """A network of layers, trained on labels."""

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
        "callbacks": [callable, list, tuple, HasMethods("on_epoch_end"), None],
    }

    # Fit -------------------------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
    ) -> NeuralClassifier:
        """Fit the network to X and y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels, or indicators of several labels a sample; what is not 0 counts as 1.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights; a sample of weight 0 counts as absent.
        X_val, y_val : as X and y, default=None
            An own validation set. Its accuracy is recorded in `validation_scores_` after each
            epoch, and with ``early_stopping=True`` it decides when to stop, in place of a part
            held out from X. Labels that y does not have are a warning: no prediction of them is
            right.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If the input is not what it should be, no label of y_val is one of y, or the weights
            diverge; with early stopping and a good epoch before, there is a ConvergenceWarning
            instead.
        """
        return self._fit(X, y, sample_weight, X_val, y_val, incremental=False)

    @available_if(_is_stochastic)
    @fit_context(prefer_skip_nested_validation=True)
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

        With ``early_stopping=True`` each call scores the network on X_val and y_val, or else on
        a part of its own data that it holds out. Once `n_iter_no_change` calls have brought
        nothing, or one has diverged, the best weights come back, `early_stopped_` is True and
        later calls change nothing.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val
            As in `fit`.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come; needed in the first call.

        Returns
        -------
        self : object
        """
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
        self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, *, incremental: bool
    ) -> NeuralClassifier:
        training = self._prepare(
            Samples(X, y), sample_weight, X_val=X_val, y_val=y_val, incremental=incremental
        )
        try:
            training.run([training])
        except KeyboardInterrupt:
            warn("Training interrupted by user.")
        training.finish()
        return self

    def _prepare(
        self,
        samples: Samples,
        sample_weight: Any = None,
        *,
        rows: np.ndarray | None = None,
        X_val: Any = None,
        y_val: Any = None,
        incremental: bool = False,
    ) -> NeuralFit:
        """All of a fit that comes before its first step.

        `rows` are those of the samples that it learns from, by default all; `sample_weight` is
        that of these rows.
        """
        device = resolve_device(self.device)
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        shape = None if first else self._network.shapes[0]
        if first:
            X, y = samples.checked(self, self.dtype)
        else:
            X, y = self._check_X_y(samples.X, samples.y, reset=False, shape=shape)
        own = slice(None) if rows is None else rows
        own_y = y[own]
        if first and not incremental:
            self._label_binarizer, indicators = samples.once(
                ("labels", id(rows)), lambda: learn_labels(own_y)
            )
            self.classes_ = self._label_binarizer.classes_
        else:
            check_known(own_y, self.classes_, all_of_them=self.warm_start and not incremental)
            indicators = indicators_of(own_y, self._label_binarizer)
            check_kind(own_y, self._label_binarizer)
        weight = total_weights(self.class_weight, self.classes_, own_y, X.dtype, sample_weight)
        rng = check_random_state(self.random_state)

        multiclass = self._label_binarizer.y_type_ == "multiclass"
        objective = Objective(self.loss, "softmax" if multiclass else "logistic")
        network = self._build_network(X.shape[1], indicators.shape[1], shape)
        self._check_solver(network)
        if first:
            progress = Progress(network.init(rng, X.dtype, self._draw))
            self.early_stopped_ = False
        else:
            progress = deepcopy(self._progress)  # a training that fails leaves it as it is
            progress.params = network.pack(self._parameters(network), X.dtype)
            progress.n_iter = 0

        n_samples = X.shape[0]
        if rows is not None and weight is not None:
            weight = _placed(weight, rows, n_samples)
        learned, held_out = np.arange(n_samples) if rows is None else rows, None
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together: give both or none")
        if X_val is not None:
            held_out = self._own_validation(X_val, y_val, network, device)
        else:
            learned, held_out = self._split(y, indicators, weight, rng, learned)
        settings = self._settings(len(learned), incremental)
        if not incremental or progress.solver != settings.solver:
            progress.restart_optimizer(settings)
        epochs = 1 if incremental else self.max_iter
        dropouts = [network.layers[place].rate for place in network.dropouts]
        callbacks = EpochCallbacks(self, network, objective, X, y, sample_weight, epochs)
        trainee = Trainee(
            settings=settings,
            progress=progress,
            rows=learned,
            rng=rng,
            epochs=epochs,
            sample_weight=weight,
            dropout=dropout_streams(dropouts, rng) if dropouts else [],
            held_out=held_out,
            augment=self._random_changes(rng, progress.step),
            reporter=Reporter(self.verbose, epochs),
        )

        if not incremental:
            callbacks.begin(progress.params)
        return NeuralFit(
            self,
            network,
            objective,
            trainee,
            samples,
            X,
            self._targets(objective, samples, X, y, indicators, rows),
            device,
            callbacks,
            incremental,
        )

    def _targets(
        self,
        objective: Objective,
        samples: Samples,
        X: Any,
        y: np.ndarray,
        indicators: np.ndarray,
        rows: np.ndarray | None,
    ) -> np.ndarray:
        """Targets of all samples; fits on rows that have the same labels share them."""
        if rows is None:
            return objective.targets(indicators, X.dtype)
        if y.ndim == 1 and not np.isin(y, self.classes_).all():
            return _placed(objective.targets(indicators, X.dtype), rows, X.shape[0])
        return samples.once(
            ("targets", objective, X.dtype),
            lambda: objective.targets(indicators_of(y, self._label_binarizer), X.dtype),
        )

    def _check_X_y(
        self, X: Any, y: Any, *, reset: bool, shape: Shape | None = None
    ) -> tuple[Any, np.ndarray]:
        X = self._as_rows(X, shape=shape)
        sparse = self.__sklearn_tags__().input_tags.sparse
        with np.errstate(over="ignore"):  # what float32 does not hold is refused in words
            X, y = validate_data(
                self,
                X,
                y,
                accept_sparse="csr" if sparse else False,
                multi_output=True,
                dtype=self._dtypes,
                order="C",
                reset=reset,
            )
        check_classification_targets(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    def _random_changes(self, rng: np.random.RandomState, step: int) -> Any:
        """The augmentation with a stream that goes on from call to call of `partial_fit`."""
        augment = self._augmentation()
        if augment is None:
            return None
        seed = (rng.randint(2**31 - 1) + step) % 2**32
        return partial(augment.draw, rng=np.random.RandomState(seed))

    def _check_solver(self, network: Network) -> None:
        is_fixed = network.has_rows_alone and self._augmentation() is None
        if not (solver_named(self.solver).goes_by_steps or is_fixed):
            raise ValueError(
                f"solver={self.solver!r} minimises one fixed function of all samples: dropout, "
                f"batch_norm and augment need solver={listed(STEPPED, 'or')}"
            )

    def _settings(self, n_rows: int, incremental: bool) -> Settings:
        types = {f.name: _CASTS.get(str(f.type)) for f in fields(Settings)}
        types["n_iter_no_change"] = None  # an integer, or infinity
        values = {
            name: cast(value) if (cast := types[name]) and value != "auto" else value
            for name, value in self.get_params(deep=False).items()
            if name in types
        }
        if self.batch_size == "auto":
            values["batch_size"] = min(200, n_rows)
        elif self.batch_size > n_rows:
            if solver_named(self.solver).goes_by_steps:  # the others have no batches
                warn(
                    "Got `batch_size` less than 1 or larger than sample size. "
                    "It is going to be clipped",
                )
            values["batch_size"] = n_rows
        return Settings(**values)

    def _split(
        self,
        y: np.ndarray,
        indicators: np.ndarray,
        weight: np.ndarray | None,
        rng: np.random.RandomState,
        rows: np.ndarray,
    ) -> tuple[np.ndarray, HeldOut | None]:
        """Rows to learn from, and what early stopping holds out of them."""
        if not self.early_stopping or not solver_named(self.solver).goes_by_steps:
            return rows, None
        one_column = indicators.shape[1] == 1
        if one_column:  # the only labels that the split is stratified by
            check_members(self, indicators[:, 0])
        rows, held_out = train_test_split(
            rows,
            random_state=rng,
            test_size=self.validation_fraction,
            stratify=indicators if one_column else None,
        )
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        if weight is not None:
            weight = weight[held_out]
            check_scoring_weights(weight)
        labels = places_of(y[held_out], self.classes_)
        return rows, HeldOut(held_out, labels, weight, one_class=len(self.classes_) == 1)

    def _own_validation(self, X_val: Any, y_val: Any, network: Network, device: str) -> HeldOut:
        """A validation set that the user gives."""
        X, y = self._check_X_y(X_val, y_val, reset=False, shape=network.shapes[0])
        check_scored(y, self._label_binarizer)
        labels = places_of(y, self.classes_)
        with current(device):
            data = Data(placed_samples(X, network, device), to_device(labels, device))
        one_class = len(self.classes_) == 1
        return HeldOut(np.arange(X.shape[0]), labels, data=data, one_class=one_class)

    def _finish(self, training: NeuralFit) -> None:
        """Check what the training left, warn, and set the fitted attributes."""
        network, incremental = training.network, training.incremental
        progress, settings = training.trainee.progress, training.trainee.settings
        out_of_patience, diverged = training.is_out_of_patience, training.has_diverged
        last, progress.params = progress.params, training.learned
        if diverged:
            complaint = (
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed, or learning_rate_init is too high."
            )
            if progress.params is last:
                raise ValueError(complaint)
            progress.forget_optimizer()  # its moments are not finite either
            warn(
                f"{complaint} The weights are those of the best epoch before.",
                ConvergenceWarning,
            )
        planned = settings.learning_rate in PER_STEP
        ended = incremental or out_of_patience or diverged
        ran_out = progress.n_iter == self.max_iter and not ended
        if ran_out and training.solver.goes_by_steps and not planned:
            warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
            )
        self.early_stopped_ = bool(
            self.early_stopping and incremental and (out_of_patience or diverged)
        )
        self._progress = progress
        self._network = network
        self._unpack(network, progress.params)
        self.n_outputs_ = network.shapes[-1][0]
        self.n_layers_ = len(self.coefs_) + 1
        self.out_activation_ = training.objective.output
        self.n_iter_ = progress.n_iter
        self.t_ = progress.t
        self.loss_ = progress.loss
        if training.solver.goes_by_steps:
            self.loss_curve_ = progress.loss_curve
            self.best_loss_ = None if self.early_stopping else progress.best_loss
            scores = progress.validation_scores
            self.validation_scores_ = scores or None
            known = [score for score in scores if not np.isnan(score)]  # NaN: it had diverged
            self.best_validation_score_ = max(known, default=np.nan) if scores else None


def _check_one_axis(classes: Any) -> None:
    if isinstance(classes, np.ndarray):
        classes = classes.tolist()
    if not isinstance(classes, list | tuple):
        raise ValueError(f"Expected array-like (array or non-string sequence), got {classes!r}")
    if any(isinstance(label, list | tuple | set | dict | np.ndarray) for label in classes):
        raise ValueError(f"classes must be a 1-D sequence of labels, got {classes!r}")


def _placed(values: np.ndarray, rows: np.ndarray, n_samples: int) -> np.ndarray:
    """Values of some rows among those of all, with zeros for the others."""
    placed = np.zeros((n_samples, *values.shape[1:]), values.dtype)
    placed[rows] = values
    return placed
