"""Fits of networks that are prepared. Those of equal shapes run as one stack of models."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning

from cukernels.runtime import current, namespace, on_one_blas_thread, to_device
from estimators.costs.memory import MemoryEstimate
from estimators.layers.layer import Rows
from estimators.neural.attributes import fitted_attributes
from estimators.neural.callbacks import NetworkCallbacks
from estimators.neural.placed_fit import PlacedFit, joined_data
from estimators.neural.predictor import Predictor
from estimators.neural.resume import describe_network, resume_network
from estimators.neural.stack_memory import check_stack_memory, stack_memory
from estimators.shared.base import float_dtype
from estimators.shared.callbacks import told_of
from estimators.shared.fit_protocol import Watch, raise_error_of
from estimators.shared.parts import brought
from estimators.shared.progress import Reporter
from estimators.shared.samples import Samples
from estimators.shared.scaling import ADVICE
from estimators.shared.warnings import warn
from estimators.training.chunking import rows_at_once
from estimators.training.full_batch import train_at_once
from estimators.training.loop import train
from estimators.training.member import Member
from estimators.training.network import Network
from estimators.training.objective import Objective
from estimators.training.optimizers import VECTORS_OF_LBFGS
from estimators.training.schedules import PER_STEP

_PREDICTED_VALUES = 2**26  # of the widest layer of all models at once: 256 MB of float32


@dataclass(eq=False)
class NeuralFit(PlacedFit):
    """A fit of a network that is prepared and not yet run; see `fit_protocol.Fit`.

    Attributes
    ----------
    estimator : NeuralClassifier
        The estimator that it fits. Its labels and the shape of its samples are known.
    network, objective
        As `loop.train` takes them.
    member : Member
        The model, as a member of the stack that it trains in.
    samples : Samples
        The samples that it may share with other fits.
    X, targets : arrays
        All samples as validated, and their targets in the form that the loss takes.
    device : str
        Where it runs.
    callbacks : NetworkCallbacks
        The callbacks that it tells of its epochs.
    incremental : bool
        Whether this is a call of `partial_fit`.
    complaint : str
        What a solver for all rows at once had to say against its result.
    error : Exception or None
        What a callback has raised, for `finish`.
    held_out_of : callable
        Returns some rows of the samples as a `HeldOut`.
    """

    estimator: Any
    network: Network
    objective: Objective
    member: Member
    samples: Samples
    X: Any
    targets: np.ndarray
    device: str
    callbacks: NetworkCallbacks
    incremental: bool = False
    complaint: str = ""
    error: Exception | None = None
    held_out_of: Any = None
    has_begun: ClassVar[bool] = True  # the weights that it starts from are a result already

    # Which fits run together -----------------------------------------------------------------

    @property
    def key(self) -> Hashable:
        """What the models of a stack have in common."""
        settings = self.member.settings
        layers = tuple(  # the rates of random layers may differ
            replace(layer, rate=0.5) if layer.rows is Rows.RANDOM else layer  # type: ignore[type-var]
            for layer in self.network.layers
        )
        shape = (layers, self.network.shapes[0], self.objective, self.member.state.params.dtype)
        n_rows, n_batches = len(self.member.rows), self.member.n_batches
        # In the last step models may have different numbers of rows, but not where rows are those
        # of a sparse matrix, or are divided by the size of the batch.
        is_divided = rows_at_once(self.network, settings.batch_size) < settings.batch_size
        of_all = n_rows if self.device == "cpu" and is_divided else "all rows"
        steps: tuple = (n_batches, settings.batch_size if n_batches > 1 else of_all)
        if self.device == "cpu" and sp.issparse(self.X):
            steps = (n_rows, settings.batch_size)
        if not self.solver.goes_by_steps:  # the stack shares its rows, unless they are sparse
            alone = id(self) if sp.issparse(self.X) else None
            weighted = self.member.sample_weight is not None
            steps = (alone, weighted, id(self.samples), self.member.rows.tobytes())
        solver = (settings.solver, *self.solver.agreed(settings))
        return (self.device, sp.issparse(self.X), shape, steps, solver)

    @property
    def n_bytes(self) -> int:
        """What it takes to train: parameters, gradients, moments, and the values of a step."""
        settings, params = self.member.settings, self.member.state.params
        n_copies = self.solver.copies
        values = 2 * sum(map(prod, self.network.shapes))  # on the way forward and back
        rows = min(settings.batch_size, len(self.member.rows))
        if not self.solver.goes_by_steps:
            rows, n_copies = len(self.member.rows), VECTORS_OF_LBFGS
        return params.itemsize * (n_copies * params.size + rows * values)

    # Run -------------------------------------------------------------------------------------

    @classmethod
    @on_one_blas_thread  # our own threads share the work out, and BLAS's would stand in their way
    def run(cls, fits: Sequence[NeuralFit], watch: Watch | None = None) -> None:
        """Run fits of equal keys as one stack."""
        first = fits[0]
        is_alone = len(fits) == 1
        members = [fit._ready(alone=is_alone) for fit in fits]
        check_stack_memory(fits)
        # one call of `partial_fit` is an epoch of a longer training, and no fit
        told = [] if first.incremental else fits
        telling = told_of(told, [fit.member.state.n_iter for fit in told], is_alone=is_alone)
        with current(first.device), first.member.reporter, telling:
            data = joined_data(fits)
            if first.solver.goes_by_steps:
                going = [member for member in members if not member.has_ended]
                epochs = max((int(m.epochs) - m.state.n_iter for m in going), default=0)
                if epochs > 0:
                    train(first.network, first.objective, data, going, epochs, watch)
                return
            max_fun = [fit.estimator.max_fun for fit in fits]
            complaints = train_at_once(
                first.network, first.objective, data, members, max_fun, watch
            )
            for fit, complaint in zip(fits, complaints, strict=True):
                fit.complaint = complaint

    @staticmethod
    def memory_of(fits: Sequence[NeuralFit]) -> MemoryEstimate:
        """Return what a stack of fits needs on its device, with all samples there."""
        return stack_memory(fits)

    def keep_in(self, path: Path, seconds: float) -> None:
        """Go on from a file if it is there, and write it from time to time while it trains.

        Raises
        ------
        ValueError
            If the file is of another fit, or damaged.
        """
        self.callbacks.write_to(path, seconds)
        if path.exists():
            resume_network(self, path)

    def _ready(self, *, alone: bool) -> Member:
        """Return the member, with its callbacks.

        In a stack of several it is silent, and what its callbacks raise stops it alone.
        """
        own = weakref.proxy(self)  # a cycle would keep the samples until Python looks for cycles
        self.callbacks.describe = partial(describe_network, own)
        self.member.is_resumable = self.callbacks.writes
        if not alone:
            self.member.reporter = Reporter(verbose=0, total=0)
        if not self.callbacks.are_heard:
            return self.member
        if alone:
            self.member.on_epoch_end = self.callbacks.tell
            return self.member

        def epoch(*state: Any) -> bool:
            if own.error is not None:  # of a callback, before the first epoch
                return True
            try:
                return own.callbacks.tell(*state)
            except Exception as error:
                own.error = error
                return True

        self.member.on_epoch_end = epoch
        return self.member

    # What it has learned ---------------------------------------------------------------------

    @property
    def has_diverged(self) -> bool:
        """Whether it ended with a loss, parameters or predictions that are not finite."""
        state = self.member.state
        lost = state.n_iter > 0 and not np.isfinite(state.loss)
        return lost or self.member.is_lost or not bool(np.isfinite(state.params).all())

    @property
    def learned(self) -> np.ndarray:
        """The parameters that it ends with: those that a callback chose, or early stopping."""
        state = self.member.state
        if self.callbacks.kept is not None:
            return self.callbacks.kept["_state"].params
        stops_early = self.estimator.early_stopping and self.solver.goes_by_steps
        best = state.best_params if stops_early else None
        ended = not self.incremental or self.member.is_out_of_patience or self.has_diverged
        return best.copy() if best is not None and ended else state.params

    @staticmethod
    def outputs_of(fits: Sequence[NeuralFit], X: Any) -> list[np.ndarray]:
        """Compute the probabilities for X of fits that ran together."""
        network, model = fits[0].network, fits[0].estimator
        rows = model._as_rows(X, shape=network.shapes[0])
        if not model._are_whole_numbers(rows):
            rows = model._checked_rows(rows)
        device = model._device_of_prediction(network, rows)
        widest = max(map(prod, network.shapes))
        takes = model._network_dtype(rows)
        at_once = 1  # rows of a sparse matrix belong to one model
        outputs: list[np.ndarray] = []
        with current(device):
            if not sp.issparse(rows):
                if device != "cpu" and rows.dtype.kind == "f":
                    rows = namespace(rows).ascontiguousarray(rows, takes)
                rows = brought(rows, device)
                at_once = max(1, _PREDICTED_VALUES // (len(rows) * widest))
            for i in range(0, len(fits), at_once):
                learned = np.stack([fit.learned for fit in fits[i : i + at_once]])
                parameters = network.views(to_device(learned, device))
                stack = Predictor(network, fits[0].objective, parameters, device, takes)
                with np.errstate(over="ignore", invalid="ignore"):  # of models that diverged
                    outputs.extend(stack.probabilities(rows, float_dtype(X)))
        return outputs

    # Finish ----------------------------------------------------------------------------------

    def finish(self) -> None:
        """Set the fitted attributes of the estimator, with the warnings and errors of its fit."""
        raise_error_of(self)
        estimator, state = self.estimator, self.member.state
        out_of_patience, diverged = self.member.is_out_of_patience, self.has_diverged
        last, state.params = state.params, self.learned
        if diverged:
            self._report_divergence(has_best=state.params is not last)
        if not (self.incremental or out_of_patience or diverged):
            self._warn_of_limit()
        stops = estimator.early_stopping and self.incremental and (out_of_patience or diverged)
        attributes = fitted_attributes(estimator, self.network, state)
        # In one step, so that Ctrl-C leaves either this fit or the one before.
        vars(estimator).update(attributes, early_stopped_=bool(stops))
        if self.complaint:
            warn(self.complaint, ConvergenceWarning)
        self.callbacks.end()

    def _report_divergence(self, *, has_best: bool) -> None:
        """Raise ValueError, or warn if early stopping has kept the weights of a good epoch."""
        complaint = (
            "Solver produced non-finite parameter weights. The input data may contain large "
            f"values and need to be preprocessed, or learning_rate_init is too high. {ADVICE}"
        )
        if not has_best:
            raise ValueError(complaint)
        self.member.state.forget_optimizer()  # its moments are not finite either
        warn(
            f"{complaint} The weights are those of the best epoch before.",
            ConvergenceWarning,
        )

    def _warn_of_limit(self) -> None:
        """Warn if the epochs have run out, unless the learning rate was planned to end there."""
        max_iter = self.estimator.max_iter
        planned = self.member.settings.learning_rate in PER_STEP
        if self.member.state.n_iter == max_iter and self.solver.goes_by_steps and not planned:
            warn(
                f"Stochastic Optimizer: Maximum iterations ({max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
            )
