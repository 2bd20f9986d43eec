"""One model of a stack: how far its training has come, and when it stops.

Everything here is on the host and happens once an epoch. The arithmetic of the steps is in `loop`,
which trains the members of a stack together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from cukernels.runtime import Array, to_host
from estimators.optimize.states import LBFGSState
from estimators.shared.progress import Reporter
from estimators.training.held_out import HeldOut
from estimators.training.optimizers import solver_named
from estimators.training.order import RowOrder
from estimators.training.schedules import PER_STEP, epoch_rates
from estimators.training.settings import Settings

_LEAST_RATE = 1e-6  # "adaptive" does not go on below it


class Arrays(NamedTuple):
    """The arrays of a model after an epoch, where it trains: parameters (P,) and moments (P,).

    Attributes
    ----------
    of_lbfgs : callable or None
        Returns what "lbfgs" keeps of the model besides.
    are_last : bool
        Whether the training ends with them, if nothing changes its limits.
    """

    params: Array
    moments: dict[str, Array]
    of_lbfgs: Callable[[], LBFGSState] | None = None
    are_last: bool = False


@dataclass
class TrainingState:
    """How far the training of a model has come. An estimator keeps it, and it can be pickled.

    `partial_fit` and ``warm_start=True`` go on from it. While it trains, the arrays here are those
    of the start, and all else is that of the last epoch.
    """

    params: np.ndarray  # (P,)
    solver: str = ""  # the solver that the moments belong to; "" before the first fit
    moments: dict[str, np.ndarray] = field(default_factory=dict)  # arrays of shape (P,)
    step: int = 0  # steps done, over all epochs
    learning_rate: float = 0.0
    n_iter: int = 0  # epochs of this fit
    t: int = 0  # samples seen, over all fits
    loss: float = np.nan
    loss_curve: list[float] = field(default_factory=list)
    best_loss: float = np.inf
    validation_scores: list[float] = field(default_factory=list)
    best_validation_score: float = -np.inf
    best_params: np.ndarray | None = None
    no_improvement: int = 0  # epochs since the loss or the score was better

    def with_changes(self, **changes: Any) -> TrainingState:
        """Return what `dataclasses.replace` returns, in a fifth of its time."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, **changes)
        return other

    def with_arrays(self, arrays: Arrays) -> TrainingState:
        """Return a copy on the host, with these arrays in the place of its own."""
        best = None if self.best_params is None else to_host(self.best_params)
        return self.with_changes(
            params=np.array(to_host(arrays.params)),
            moments={name: np.array(to_host(a)) for name, a in arrays.moments.items()},
            best_params=best,
        )

    def restart_optimizer(self, settings: Settings) -> None:
        """Set the moments to zero, as every fit does except `partial_fit`."""
        self.solver = settings.solver
        names = solver_named(settings.solver).moments
        self.moments = {name: np.zeros_like(self.params) for name in names}
        self.step = 0
        self.learning_rate = settings.learning_rate_init

    def forget_optimizer(self) -> None:
        """Drop the moments, so that the next fit begins with new ones whatever its kind."""
        self.solver, self.moments = "", {}


class Streams(NamedTuple):
    """Where the random streams of a model are between two epochs.

    Attributes
    ----------
    rows : integer ndarray
        Its rows in their present order.
    order, changes : dict or None
        The states of the generators of orders and of changes of images.
    """

    rows: np.ndarray
    order: Any
    changes: Any

    @classmethod
    def of(cls, member: Member) -> Streams:
        """Return where the streams of a model are now."""
        changes = None
        if member.augment is not None:
            changes = member.augment.rng.get_state(legacy=False)
        return cls(member.rows, member.order.rng.get_state(legacy=False), changes)


@dataclass
class Member:
    """One model of a stack while it trains.

    Attributes
    ----------
    settings : Settings
        Its hyper-parameters.
    state : TrainingState
        How far it has come; the training updates it.
    order : RowOrder
        The rows of the data that it learns from, in their present order.
    epochs : float, default=inf
        The most epochs that it trains for.
    first_row : int, default=0
        The place of its data set, where the stack learns from several sets end to end. It is added
        to `rows`.
    sample_weight : ndarray of shape (n_rows_of_the_data,), default=None
        Weights of all rows of its data set.
    dropout : list of (float, int)
        Rate and seed of each Dropout layer.
    held_out : HeldOut, default=None
        The samples that score it after each epoch.
    augment : callable, default=None
        Draws how a number of images change, as `shift_and_flip` takes it, from its `rng`.
    on_epoch_end : callable, default=None
        Called with this object and its arrays after each epoch; the training stops if it returns
        True.
    reporter : Reporter
        Shows the user how the training goes.
    rate : float
        Learning rate of the last step; NaN where all rows make one step.
    is_lost : bool
        Whether the loss or the predictions of the last epoch are not finite.
    is_over : bool
        Whether it goes on no further, for this reason or for lack of patience.
    is_saved : bool
        Whether `state` has the arrays that the training has made.
    has_ended : bool
        Whether there is nothing to train, as in a fit that is resumed after an end of its own.
    of_lbfgs : LBFGSState or None
        What "lbfgs" goes on from, in a fit that is resumed.
    is_resumable : bool
        Whether somebody may ask for `streams`.
    """

    settings: Settings
    state: TrainingState
    order: RowOrder
    epochs: float = np.inf
    first_row: int = 0
    sample_weight: np.ndarray | None = None
    dropout: list[tuple[float, int]] = field(default_factory=list)
    held_out: HeldOut | None = None
    augment: Any = None
    on_epoch_end: Callable[[Member, Arrays], bool] | None = None
    reporter: Reporter = field(default_factory=lambda: Reporter(verbose=0, total=0))
    rate: float = np.nan
    is_lost: bool = False
    is_over: bool = False
    is_saved: bool = False
    has_ended: bool = False
    of_lbfgs: LBFGSState | None = None
    is_resumable: bool = False
    _n_drawn: int = 0  # epochs of this fit
    _streams_before: Streams | None = None  # before the last epoch was drawn

    @property
    def rows(self) -> np.ndarray:
        """The rows of the data that it learns from, in their present order."""
        return self.order.rows

    @property
    def n_batches(self) -> int:
        """The number of steps of an epoch."""
        return -(-len(self.rows) // self.settings.batch_size)

    @property
    def row_weights(self) -> np.ndarray:
        """The weights of its rows, in their present order; ones where samples have no weights."""
        if self.sample_weight is None:
            return np.ones(len(self.rows))
        return self.sample_weight[self.rows]

    @property
    def penalty(self) -> float:
        """The strength of the L2 penalty in the loss, for rows of a total weight of 1."""
        return self.settings.alpha if solver_named(self.settings.solver).penalises else 0.0

    @property
    def is_out_of_patience(self) -> bool:
        """Whether it has gone on without improvement for more epochs than it may."""
        return self._has_no_patience(self.state)

    def _follows(self, name: str) -> bool:
        """Whether its learning rate changes between epochs by the schedule of this name."""
        settings = self.settings
        return settings.learning_rate == name and solver_named(settings.solver).epoch_schedules

    # Its random streams ---------------------------------------------------------------------

    def note_draw(self) -> None:
        """Note where the random streams are, before the next epoch is drawn from them."""
        if self.is_resumable:
            self._streams_before = Streams.of(self)
        self._n_drawn += 1

    @property
    def streams(self) -> Streams:
        """Where the random streams were after the last epoch, if the next one is drawn or not."""
        if self._n_drawn > self.state.n_iter and self._streams_before is not None:
            return self._streams_before
        return Streams.of(self)

    @streams.setter
    def streams(self, streams: Streams) -> None:
        self.order.rows = streams.rows
        self.order.rng.set_state(streams.order)
        if self.augment is not None:
            self.augment.rng.set_state(streams.changes)
        self._n_drawn = self.state.n_iter

    # Epochs ---------------------------------------------------------------------------------

    def start_epoch(self) -> np.ndarray | float:
        """Return the learning rates of the steps of the next epoch, or the one of all of them."""
        settings, state, n_steps = self.settings, self.state, self.n_batches
        if settings.learning_rate not in PER_STEP:
            self.rate = float(state.learning_rate)
            return self.rate
        rates = epoch_rates(
            settings.learning_rate,
            state.learning_rate,
            state.step,
            n_steps,
            n_steps * settings.max_iter,
        )
        self.rate = float(rates[-1])
        return rates

    def end_epoch(self, loss: float, score: float | None, arrays: Arrays) -> bool:
        """Record the mean loss and the score of an epoch, and return whether the training is over.

        Parameters
        ----------
        loss : float
            Mean loss of the epoch; infinity if its last step has made parameters that are none.
        score : float or None
            Accuracy on the samples held out, if there are any.
        arrays : Arrays
            Parameters and moments after the epoch.
        """
        old, settings = self.state, self.settings
        state = old.with_changes(
            n_iter=old.n_iter + 1,
            step=old.step + self.n_batches,
            t=old.t + len(self.rows),
            loss=loss,
            loss_curve=[*old.loss_curve, loss],
        )
        if score is not None:
            state.validation_scores = [*old.validation_scores, score]
        if settings.early_stopping:
            self._compare_scores(state, arrays.params)
        else:
            self._compare_losses(state)
        if self._follows("invscaling"):
            state.learning_rate = settings.learning_rate_init / (state.t + 1) ** settings.power_t
        is_lost = not math.isfinite(loss) or (score is not None and bool(np.isnan(score)))
        is_over, note = is_lost, ""
        if not is_lost and self._has_no_patience(state):
            is_over, note = self._impatient(state)
        # In one step, so that after Ctrl-C an epoch has either ended or not.
        self.__dict__.update(state=state, is_lost=is_lost, is_over=is_over)
        self.reporter.learning_rate(self.rate)
        self.reporter.epoch(state.n_iter, loss)
        if score is not None:
            self.reporter.score(score)
        if note:
            self.reporter.note(note)
        return self.told_to_stop(arrays) or is_over or state.n_iter >= self.epochs

    def told_to_stop(self, arrays: Arrays) -> bool:
        """Tell the callbacks that an epoch has ended; return whether one of them wants to stop."""
        return self.on_epoch_end is not None and self.on_epoch_end(self, arrays)

    def _compare_losses(self, state: TrainingState) -> None:
        worse = state.loss > state.best_loss - self.settings.tol
        state.no_improvement = state.no_improvement + 1 if worse else 0
        state.best_loss = min(state.best_loss, state.loss)

    def _compare_scores(self, state: TrainingState, params: Array) -> None:
        score = state.validation_scores[-1]
        # "not better" rather than "worse", so that a score of NaN is no improvement
        worse = not score >= state.best_validation_score + self.settings.tol
        state.no_improvement = state.no_improvement + 1 if worse else 0
        # of weights that are not finite some have scores, where an activation is bounded
        if score > state.best_validation_score and np.isfinite(state.loss):
            state.best_validation_score = score
            state.best_params = params.copy()

    def _has_no_patience(self, state: TrainingState) -> bool:
        return state.no_improvement > self.settings.n_iter_no_change

    def _impatient(self, state: TrainingState) -> tuple[bool, str]:
        """Return whether to stop, and why; an "adaptive" rate is divided by 5 until too small."""
        settings = self.settings
        what = "Validation score" if settings.early_stopping else "Training loss"
        message = (
            f"{what} did not improve more than tol={settings.tol:f} for "
            f"{settings.n_iter_no_change} consecutive epochs."
        )
        if not self._follows("adaptive"):
            return True, f"{message} Stopping."
        if state.learning_rate <= _LEAST_RATE:
            return True, f"{message} Learning rate too small. Stopping."
        state.learning_rate /= 5.0
        state.no_improvement = 0
        return False, f"{message} Setting learning rate to {state.learning_rate:f}"


def dropout_streams(rates: list[float], rng: np.random.RandomState) -> list[tuple[float, Any]]:
    """Draw a seed for each Dropout layer, and return it with the layer's rate."""
    return [(rate, rng.randint(np.iinfo(np.int32).max)) for rate in rates]
