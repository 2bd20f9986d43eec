"""Fits of networks that are prepared: those of equal shapes run as one stack of models."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning

from cukernels.runtime import current, on_one_blas_thread, to_device
from estimators.layers.layer import Rows
from estimators.neural.callbacks import EpochCallbacks
from estimators.neural.data import Data
from estimators.neural.full_batch import train_at_once
from estimators.neural.loop import train
from estimators.neural.network import Network
from estimators.neural.objective import Objective
from estimators.neural.optimizers import Solver, solver_named
from estimators.neural.trainee import Trainee
from estimators.shared.base import float_dtype
from estimators.shared.fit_protocol import Watch, raise_error_of
from estimators.shared.progress import Reporter
from estimators.shared.samples import Samples
from estimators.shared.warnings import warn

# Of the size of the parameters: the memory of L-BFGS, and what an iteration of it makes.
_VECTORS_AT_ONCE = 28
_PREDICTED_VALUES = 2**26  # of the widest layer of all models at once: 256 MB of float32


@dataclass(eq=False)
class NeuralFit:
    """A fit of a network that is prepared and not yet run; see `fit_protocol.Fit`.

    Attributes
    ----------
    estimator : NeuralClassifier
        Whose fit this is; its labels and the shape of its samples are known.
    network, objective, trainee
        As `loop.train` takes them.
    samples : Samples
        What it shares with others.
    X, targets : arrays
        All samples as validated, and their targets in the form that the loss takes.
    device : str
        Where it runs.
    callbacks : EpochCallbacks
        Whom it tells of its epochs.
    incremental : bool
        Whether this is a `partial_fit`.
    """

    estimator: Any
    network: Network
    objective: Objective
    trainee: Trainee
    samples: Samples
    X: Any
    targets: np.ndarray
    device: str
    callbacks: EpochCallbacks
    incremental: bool = False
    complaint: str = ""
    error: Exception | None = None
    has_begun: ClassVar[bool] = True  # with the weights that it starts from

    @property
    def solver(self) -> Solver:
        """The entry of its solver."""
        return solver_named(self.trainee.settings.solver)

    @property
    def key(self) -> Hashable:
        """What models of one stack have in common."""
        settings = self.trainee.settings
        layers = tuple(  # the rates of random layers may differ
            replace(layer, rate=0.5) if layer.rows is Rows.RANDOM else layer  # type: ignore[type-var]
            for layer in self.network.layers
        )
        shape = (layers, self.network.shapes[0], self.objective, self.trainee.progress.params.dtype)
        n_batches = self.trainee.n_batches
        steps: tuple = (len(self.trainee.rows), settings.batch_size)
        if self.device != "cpu":  # rows of weight 0, which fill up short steps, change no sum there
            steps = (n_batches, settings.batch_size if n_batches > 1 else "all rows")
        if not self.solver.goes_by_steps:  # the same rows; each has its own of a sparse matrix
            alone = id(self) if sp.issparse(self.X) else None
            weighted = self.trainee.sample_weight is not None
            steps = (alone, weighted, id(self.samples), self.trainee.rows.tobytes())
        solver = (settings.solver, *self.solver.agreed(settings))
        return (self.device, sp.issparse(self.X), shape, steps, solver)

    @property
    def n_bytes(self) -> int:
        """Parameters, gradients and moments; and what a step makes on the way there and back."""
        settings, params = self.trainee.settings, self.trainee.progress.params
        n_copies = 2 + len(self.trainee.progress.moments)
        values = 2 * sum(map(prod, self.network.shapes))
        rows = min(settings.batch_size, len(self.trainee.rows))
        if not self.solver.goes_by_steps:
            rows, n_copies = len(self.trainee.rows), _VECTORS_AT_ONCE
        return params.itemsize * (n_copies * params.size + rows * values)

    @property
    def is_out_of_patience(self) -> bool:
        """Whether it stopped for want of improvement."""
        trainee = self.trainee
        return trainee.progress.no_improvement > trainee.settings.n_iter_no_change

    @property
    def has_diverged(self) -> bool:
        """Whether it ended with a loss, parameters or predictions that are not finite."""
        progress = self.trainee.progress
        lost = progress.n_iter > 0 and not np.isfinite(progress.loss)
        return lost or self.trainee.is_lost or not bool(np.isfinite(progress.params).all())

    @property
    def learned(self) -> np.ndarray:
        """The parameters it ends with: the best that early stopping saw, else the last."""
        trainee = self.trainee
        stops_early = self.estimator.early_stopping and self.solver.goes_by_steps
        best = trainee.progress.best_params if stops_early else None
        ended = not self.incremental or self.is_out_of_patience or self.has_diverged
        return best.copy() if best is not None and ended else trainee.progress.params

    @classmethod
    @on_one_blas_thread  # our own threads share the work out, and BLAS's would stand in their way
    def run(cls, trainings: Sequence[NeuralFit], watch: Watch | None = None) -> None:
        """Run trainings of equal keys as one stack."""
        first = trainings[0]
        trainees = [t._ready(alone=len(trainings) == 1) for t in trainings]
        with current(first.device), first.trainee.reporter:
            parts = {id(d): d for d in (t._data() for t in trainings)}
            data, begins = Data.joined(list(parts.values()))
            for t in trainings:
                t.trainee.first_row = int(begins[list(parts).index(id(t._data()))])
            if first.solver.goes_by_steps:
                epochs = int(max(t.epochs for t in trainees))
                train(first.network, first.objective, data, trainees, epochs, watch)
                return
            max_fun = [t.estimator.max_fun for t in trainings]
            complaints = train_at_once(
                first.network, first.objective, data, trainees, max_fun, watch
            )
            for t, complaint in zip(trainings, complaints, strict=True):
                t.complaint = complaint

    @staticmethod
    def outputs_of(trainings: Sequence[NeuralFit], X: Any) -> list[np.ndarray]:
        """Compute the probabilities for X of fits that ran together."""
        first = trainings[0]
        outputs: list[np.ndarray] = []
        network, model = first.network, first.estimator
        rows = model._checked_rows(model._as_rows(X, shape=network.shapes[0]))
        widest = max(map(prod, network.shapes))
        at_once = 1  # rows of a sparse matrix belong to one model
        with current(first.device):
            if not sp.issparse(rows):
                rows = to_device(rows, first.device)
                at_once = max(1, _PREDICTED_VALUES // (len(rows) * widest))
            for i in range(0, len(trainings), at_once):
                some = trainings[i : i + at_once]
                flat = to_device(np.stack([t.learned for t in some]), first.device)
                parameters = network.views(flat)
                with np.errstate(over="ignore", invalid="ignore"):  # of models that diverged
                    p = model._outputs(
                        network, first.objective, parameters, rows, first.device, float_dtype(X)
                    )
                outputs.extend(p)
        return outputs

    def finish(self) -> None:
        """Set the fitted attributes of the estimator, with the warnings and errors of its fit."""
        raise_error_of(self)
        self.estimator._finish(self)
        if self.complaint:
            warn(self.complaint, ConvergenceWarning)
        self.callbacks.end()

    def _ready(self, *, alone: bool) -> Trainee:
        """The trainee; in company it is silent, and what its callbacks raise stops only itself."""
        if alone:
            self.trainee.on_epoch_end = self.callbacks.epoch
            return self.trainee

        own = weakref.proxy(self)  # a cycle would keep the samples until Python looks for cycles

        def epoch(*state: Any) -> bool:
            try:
                return own.callbacks.epoch(*state)
            except Exception as error:
                own.error = error
                return True

        self.trainee.on_epoch_end = epoch
        self.trainee.reporter = Reporter(verbose=0, total=0)
        return self.trainee

    def _data(self) -> Data:
        """The samples and targets where the training runs, one copy for all that share them."""
        shape, dtype = self.network.shapes[0], self.trainee.progress.params.dtype
        place = (self.device, shape, dtype)

        def data() -> Data:
            X = self.samples.once(
                ("samples on", place), lambda: placed_samples(self.X, self.network, self.device)
            )
            return Data(X, to_device(self.targets, self.device))

        return self.samples.once(("data on", place, id(self.targets)), data)


def placed_samples(X: Any, network: Network, device: str) -> Any:
    """Samples where a network reads them, each of the shape that it takes; CSR matrices stay."""
    if sp.issparse(X):
        return X
    return to_device(X.reshape(len(X), *network.shapes[0]), device)
