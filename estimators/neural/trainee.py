"""One model in training: what was asked for it, how far it has come, and when it stops.

Everything here is on the host and happens once an epoch. The arithmetic of the steps is in
`loop`, which runs many trainees as one stack.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cukernels.runtime import Array
from estimators.neural.held_out import HeldOut
from estimators.neural.optimizers import solver_named
from estimators.neural.schedules import epoch_rates
from estimators.shared.progress import Reporter


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of a training, named as in the estimators' constructors."""

    solver: str = "adam"
    alpha: float = 1e-4
    batch_size: int = 200
    learning_rate: str = "constant"
    learning_rate_init: float = 1e-3
    power_t: float = 0.5
    max_iter: int = 200
    shuffle: bool = True
    tol: float = 1e-4
    momentum: float = 0.9
    nesterovs_momentum: bool = True
    early_stopping: bool = False
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    n_iter_no_change: float = 10


@dataclass
class Progress:
    """How far a model has come: what `partial_fit` and `warm_start` go on from. Picklable."""

    params: np.ndarray  # (P,)
    solver: str = ""  # whose moments these are; none before the first training
    moments: dict[str, np.ndarray] = field(default_factory=dict)  # of the solver, (P,) each
    step: int = 0
    learning_rate: float = 0.0
    n_iter: int = 0
    t: int = 0
    loss: float = np.nan
    loss_curve: list[float] = field(default_factory=list)
    best_loss: float = np.inf
    validation_scores: list[float] = field(default_factory=list)
    best_validation_score: float = -np.inf
    best_params: np.ndarray | None = None
    no_improvement: int = 0

    def restart_optimizer(self, settings: Settings) -> None:
        """Forget the moments, as a fit does that is no `partial_fit`."""
        self.solver = settings.solver
        names = solver_named(settings.solver).moments
        self.moments = {name: np.zeros_like(self.params) for name in names}
        self.step = 0
        self.learning_rate = settings.learning_rate_init

    def forget_optimizer(self) -> None:
        """Let the next training begin with moments of its own, whatever it is."""
        self.solver, self.moments = "", {}


@dataclass
class Trainee:
    """One model of a stack.

    Attributes
    ----------
    settings : Settings
    progress : Progress
        Updated by the training.
    rows : integer ndarray
        The rows of the data that it learns from, in their present order.
    rng : RandomState
        Where its shuffles come from.
    epochs : float, default=inf
        How many it has at the most.
    first_row : int, default=0
        Where its rows begin, if what it shares with others is several data sets end to end.
    sample_weight : ndarray of shape (n_rows_of_the_data,) or None
    dropout : list of (float, int)
        Rate and seed of each Dropout layer.
    held_out : HeldOut or None
        The samples that score it after each epoch.
    augment : callable or None
        Draws how so many images are to change, as `shift_and_flip` takes it.
    on_epoch_end : callable or None
        Called with the progress, the parameters and the learning rate after each epoch; True
        stops.
    reporter : Reporter
        Shows how it goes.
    """

    settings: Settings
    progress: Progress
    rows: np.ndarray
    rng: np.random.RandomState
    epochs: float = np.inf
    first_row: int = 0
    sample_weight: np.ndarray | None = None
    dropout: list[tuple[float, int]] = field(default_factory=list)
    held_out: HeldOut | None = None
    augment: Callable[[int], np.ndarray] | None = None
    on_epoch_end: Callable[[Progress, Array, float], bool] | None = None
    reporter: Reporter = field(default_factory=lambda: Reporter(verbose=0, total=0))
    rate: float = np.nan  # of the last step; there is none where all rows make one step
    is_lost: bool = False  # whether the loss or the predictions of the last epoch are not finite

    @property
    def n_batches(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.rows) // self.settings.batch_size)

    @property
    def penalty(self) -> float:
        """Strength of the L2 penalty in the loss, for rows of a total weight of 1."""
        return self.settings.alpha if solver_named(self.settings.solver).penalises else 0.0

    def _follows(self, name: str) -> bool:
        """Whether this is its learning rate, of those that change between epochs."""
        follows_any = solver_named(self.settings.solver).epoch_schedules
        return follows_any and self.settings.learning_rate == name

    def start_epoch(self) -> np.ndarray:
        """Shuffle the rows, with scikit-learn's draws, and return the rates of the steps."""
        if self.settings.shuffle:
            order = np.arange(len(self.rows))
            self.rng.shuffle(order)
            self.rows = self.rows[order]
        rates = epoch_rates(
            self.settings.learning_rate,
            self.progress.learning_rate,
            self.progress.step,
            self.n_batches,
            self.n_batches * self.settings.max_iter,
        )
        self.rate = float(rates[-1]) if len(rates) else np.nan
        return rates

    def end_epoch(self, loss: float, score: float | None, params: Array) -> bool:
        """Take the mean loss and the score of an epoch into account; return whether it is done."""
        p, s = self.progress, self.settings
        p.n_iter += 1
        p.step += self.n_batches
        p.t += len(self.rows)
        p.loss = loss
        p.loss_curve.append(loss)
        self.reporter.learning_rate(self.rate)
        self.reporter.epoch(p.n_iter, loss)
        if score is not None:
            p.validation_scores.append(score)
            self.reporter.score(score)
        if s.early_stopping:
            self._compare_scores(params)
        else:
            self._compare_losses()
        if self._follows("invscaling"):
            p.learning_rate = s.learning_rate_init / (p.t + 1) ** s.power_t
        self.is_lost = not np.isfinite(loss) or (score is not None and np.isnan(score))
        done = self.is_lost or (p.no_improvement > s.n_iter_no_change and self._gives_up())
        return self.told_to_stop(params) or done or p.n_iter >= self.epochs

    def told_to_stop(self, params: Array) -> bool:
        """Tell the callbacks of the end of an epoch; return whether one of them wants to stop."""
        return self.on_epoch_end is not None and self.on_epoch_end(self.progress, params, self.rate)

    def _compare_losses(self) -> None:
        p = self.progress
        worse = p.loss > p.best_loss - self.settings.tol
        p.no_improvement = p.no_improvement + 1 if worse else 0
        p.best_loss = min(p.best_loss, p.loss)

    def _compare_scores(self, params: Array) -> None:
        p, score = self.progress, self.progress.validation_scores[-1]
        worse = not score >= p.best_validation_score + self.settings.tol  # also where it is NaN
        p.no_improvement = p.no_improvement + 1 if worse else 0
        if score > p.best_validation_score:
            p.best_validation_score = score
            p.best_params = params.copy()

    def _gives_up(self) -> bool:
        """Stop; or, with an adaptive rate, go on at a fifth of it while it is not too small."""
        p, s = self.progress, self.settings
        what = "Validation score" if s.early_stopping else "Training loss"
        message = (
            f"{what} did not improve more than tol={s.tol:f} for {s.n_iter_no_change} "
            "consecutive epochs."
        )
        if not self._follows("adaptive"):
            self.reporter.note(f"{message} Stopping.")
            return True
        if p.learning_rate <= 1e-6:
            self.reporter.note(f"{message} Learning rate too small. Stopping.")
            return True
        p.learning_rate /= 5.0
        p.no_improvement = 0
        self.reporter.note(f"{message} Setting learning rate to {p.learning_rate:f}")
        return False


def dropout_streams(rates: list[float], rng: np.random.RandomState) -> list[tuple[float, Any]]:
    """Draw a seed for each Dropout layer."""
    return [(rate, rng.randint(np.iinfo(np.int32).max)) for rate in rates]
