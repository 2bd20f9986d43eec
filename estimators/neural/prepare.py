"""How a fit of a network is prepared: all that comes between the user's samples and the first step.

`prepare_fit` is the story, and the functions below it are its steps in their order. That order is
part of the result: weights, validation split, dropout and augmentation draw from one generator.
"""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from cukernels.runtime import resolve_device
from estimators.costs.work import learned_samples
from estimators.neural.augment import RandomChanges
from estimators.neural.callbacks import NetworkCallbacks
from estimators.neural.fit import NeuralFit
from estimators.neural.resume import resume_network
from estimators.shared.device_arrays import device_for, device_holding, on_host
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
from estimators.shared.progress import Reporter
from estimators.shared.samples import Samples, scattered
from estimators.shared.scaling import largest_of, warn_of_large
from estimators.training.data import Data
from estimators.training.held_out import HeldOut, places_of
from estimators.training.member import Arrays, Member, TrainingState, dropout_streams
from estimators.training.network import Network
from estimators.training.objective import Objective
from estimators.training.optimizers import STEPPED, listed, solver_named
from estimators.training.order import RowOrder
from estimators.training.settings import Settings, settings_of


def prepare_fit(
    estimator: Any,
    samples: Samples,
    sample_weight: Any = None,
    *,
    rows: np.ndarray | None = None,
    X_val: Any = None,
    y_val: Any = None,
    incremental: bool = False,
    resume_from: Any = None,
) -> NeuralFit:
    """Prepare a fit: validate, learn the labels, and make all that the training loop needs.

    Parameters
    ----------
    estimator : NeuralClassifier
        The estimator to fit.
    samples : Samples
        X and y, which other fits may share.
    sample_weight : array-like of shape (n_rows,), default=None
        Weights of the rows that it learns from.
    rows : integer ndarray of shape (n_rows,), default=None
        The rows of the samples that it learns from; None for all.
    X_val, y_val : as X and y, default=None
        A validation set of the user's own.
    incremental : bool, default=False
        Whether this is a call of `partial_fit`.
    resume_from : path, default=None
        The file of a fit to go on with.

    Returns
    -------
    fit : NeuralFit
        The fit, before its first step.
    """
    resolve_device(estimator.device)  # an unknown one is refused before anything else
    sample_weight = on_host(sample_weight)
    if (X_val is None) != (y_val is None):
        raise ValueError("X_val and y_val belong together: give both or none")
    first = not hasattr(estimator, "coefs_") or not (estimator.warm_start or incremental)
    X, y, shape = _checked(estimator, samples, first)
    dtype = estimator._network_dtype(X)
    own_y = y if rows is None else y[rows]
    if first and not incremental:
        indicators = _learn_labels(estimator, samples, own_y, rows)
    else:
        indicators = _known_labels(estimator, own_y, incremental)
    weight = total_weights(estimator.class_weight, estimator.classes_, own_y, dtype, sample_weight)
    if weight is not None:
        weight = scattered(weight, rows, X.shape[0])

    objective = Objective.of(estimator)
    network = estimator._build_network(X.shape[1], indicators.shape[1], shape)
    _check_solver(estimator, network)
    if (first or not incremental) and dtype == np.float32 and not network.normalises_input:
        warn_of_large(estimator, samples.once("largest", lambda: largest_of(X)))
    device = device_for(
        X,
        estimator.device,
        lambda: estimator._fit_work(network, learned_samples(X, rows), incremental=incremental),
        verbose=estimator.verbose,
    )
    rng = check_random_state(estimator.random_state)
    state = (_first_state if first else _last_state)(estimator, network, dtype, rng)

    learned, held_out = np.arange(X.shape[0]) if rows is None else rows, None
    if X_val is not None:
        held_out = _validation_set(estimator, X_val, y_val, network, device)
    elif estimator.early_stopping and solver_named(estimator.solver).goes_by_steps:
        learned, held_out = _split(estimator, y, indicators, weight, rng, learned)

    settings = settings_of(estimator, len(learned))
    if not incremental or state.solver != settings.solver:
        state.restart_optimizer(settings)
    member = _member(estimator, network, settings, state, learned, rng, incremental)
    member.sample_weight, member.held_out = weight, held_out

    callbacks = NetworkCallbacks(estimator, network, X, y, sample_weight, int(member.epochs))
    targets = _targets(estimator, objective, samples, dtype, y, indicators, rows)
    fit = NeuralFit(
        estimator, network, objective, member, samples, X, targets, device, callbacks, incremental,
        held_out_of=partial(held_out_of, estimator, y, weight),
    )  # fmt: skip
    if resume_from is not None:
        resume_network(fit, resume_from)
    if not incremental:
        callbacks.begin(member.state, Arrays(member.state.params, member.state.moments))
    return fit


def _checked(estimator: Any, samples: Samples, first: bool) -> tuple[Any, np.ndarray, Any]:
    """Return X, y and the shape of a sample, which a first fit learns and others hold to."""
    if first:
        return *samples.checked(estimator, estimator.dtype), None
    shape = estimator._network.shapes[0]
    return *estimator._check_X_y(samples.X, samples.y, reset=False, shape=shape), shape


def _learn_labels(
    estimator: Any, samples: Samples, own_y: np.ndarray, rows: np.ndarray | None
) -> np.ndarray:
    """Learn which labels there are, and return them as columns of 0 and 1."""
    # The entry holds `rows`, so that no other array can have its identity.
    _, (estimator._label_binarizer, indicators) = samples.once(
        ("labels", id(rows)), lambda: (rows, learn_labels(own_y))
    )
    estimator.classes_ = estimator._label_binarizer.classes_
    return indicators


def _known_labels(estimator: Any, own_y: np.ndarray, incremental: bool) -> np.ndarray:
    """Return labels as columns of 0 and 1, after a check that an earlier fit knows them."""
    all_of_them = estimator.warm_start and not incremental
    check_known(own_y, estimator.classes_, all_of_them=all_of_them)
    indicators = indicators_of(own_y, estimator._label_binarizer)
    check_kind(own_y, estimator._label_binarizer)
    return indicators


def _check_solver(estimator: Any, network: Network) -> None:
    """Raise ValueError where the loss changes at random and the solver needs a fixed one."""
    is_fixed = network.has_rows_alone and estimator._augmentation() is None
    if not (solver_named(estimator.solver).goes_by_steps or is_fixed):
        raise ValueError(
            f"solver={estimator.solver!r} minimises one fixed function of all samples: dropout, "
            f"batch_norm and augment need solver={listed(STEPPED, 'or')}"
        )


def _first_state(
    estimator: Any, network: Network, dtype: np.dtype, rng: np.random.RandomState
) -> TrainingState:
    """Return the state of a network whose first weights are drawn now."""
    estimator.early_stopped_ = False
    return TrainingState(network.init(rng, dtype, estimator._draw))


def _last_state(
    estimator: Any, network: Network, dtype: np.dtype, _: np.random.RandomState
) -> TrainingState:
    """Return a copy of the state that the last fit left, so that this one may fail."""
    state = deepcopy(estimator._state)
    state.params = network.pack(estimator._parameters(network), dtype)
    state.n_iter = 0
    return state


def _validation_set(
    estimator: Any, X_val: Any, y_val: Any, network: Network, device: str
) -> HeldOut:
    """Return the samples that the user gives for validation. They stay where they are as yet."""
    X, y = estimator._check_X_y(X_val, y_val, reset=False, shape=network.shapes[0])
    device_holding(X, device)
    check_scored(y, estimator._label_binarizer)
    labels = places_of(y, estimator.classes_)
    if not sp.issparse(X):
        X = X.reshape(len(X), *network.shapes[0])
    data = Data(X, labels, estimator._network_dtype(X))
    one_class = len(estimator.classes_) == 1
    return HeldOut(np.arange(X.shape[0]), labels, data=data, one_class=one_class)


def _split(
    estimator: Any,
    y: np.ndarray,
    indicators: np.ndarray,
    weight: np.ndarray | None,
    rng: np.random.RandomState,
    rows: np.ndarray,
) -> tuple[np.ndarray, HeldOut]:
    """Split rows as scikit-learn does: those to learn from, and those that stop the training."""
    one_column = indicators.shape[1] == 1
    if one_column:  # scikit-learn stratifies the split by such labels alone
        check_members(estimator, indicators[:, 0])
    rows, held_out = train_test_split(
        rows,
        random_state=rng,
        test_size=estimator.validation_fraction,
        stratify=indicators if one_column else None,
    )
    if len(held_out) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of "
            "your dataset."
        )
    return rows, held_out_of(estimator, y, weight, held_out)


def held_out_of(
    estimator: Any, y: np.ndarray, weight: np.ndarray | None, rows: np.ndarray
) -> HeldOut:
    """Return some of the samples of a fit, to score it on."""
    if weight is not None:
        weight = weight[rows]
        check_scoring_weights(weight)
    labels = places_of(y[rows], estimator.classes_)
    return HeldOut(rows, labels, weight, one_class=len(estimator.classes_) == 1)


def _member(
    estimator: Any,
    network: Network,
    settings: Settings,
    state: TrainingState,
    rows: np.ndarray,
    rng: np.random.RandomState,
    incremental: bool,
) -> Member:
    """Return the model as a member of a stack, with its random streams drawn."""
    epochs = 1 if incremental else estimator.max_iter
    rates = [network.layers[place].rate for place in network.dropouts]
    return Member(
        settings=settings,
        state=state,
        order=RowOrder(rows, rng, settings.shuffle, isinstance(estimator.random_state, Integral)),
        epochs=epochs,
        dropout=dropout_streams(rates, rng),
        augment=_random_changes(estimator, rng, state.step),
        reporter=Reporter(estimator.verbose, epochs),
    )


def _random_changes(estimator: Any, rng: np.random.RandomState, step: int) -> Any:
    """Return what draws the changes of images, or None; each call of `partial_fit` has new ones."""
    augment = estimator._augmentation()
    if augment is None:
        return None
    seed = (rng.randint(2**31 - 1) + step) % 2**32
    return RandomChanges(augment, np.random.RandomState(seed))


def _targets(
    estimator: Any,
    objective: Objective,
    samples: Samples,
    dtype: np.dtype,
    y: np.ndarray,
    indicators: np.ndarray,
    rows: np.ndarray | None,
) -> np.ndarray:
    """Return the targets of all samples. Fits on rows that have the same labels share them."""
    if rows is None:  # fits that share all samples are those of a fold, after a pipeline's steps
        key = ("targets of all", objective, dtype)
        return samples.once(key, lambda: objective.targets(indicators, dtype))
    if y.ndim == 1 and not np.isin(y, estimator.classes_).all():
        return scattered(objective.targets(indicators, dtype), rows, len(y))
    return samples.once(
        ("targets", objective, dtype),
        lambda: objective.targets(indicators_of(y, estimator._label_binarizer), dtype),
    )
