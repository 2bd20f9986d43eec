"""Fits of `Perceptron` that run as a stack of models, by our own sweeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from cukernels.runtime import current, on_one_blas_thread
from estimators.checkpoints.fits import described
from estimators.costs.memory import check_memory, present_bytes
from estimators.linear.perceptron_fit import attributes_of
from estimators.linear.perceptron_model import SweptModel, scoring_weights
from estimators.linear.perceptron_stack import PerceptronStack
from estimators.shared.callbacks import EpochCallbacks, told_of
from estimators.shared.fit_protocol import Watch
from estimators.shared.listeners import listed
from estimators.shared.progress import Reporter
from estimators.shared.samples import make_room


@dataclass(eq=False)
class SweptFit(SweptModel):
    """A fit by our own sweeps; see `fit_protocol.Fit`."""

    @classmethod
    @on_one_blas_thread  # threads that wait for each other cost small products more than they save
    def run(cls, fits: Sequence[SweptFit], watch: Watch | None = None) -> None:
        """Run fits of equal keys as one stack; one that overflows fails alone.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C. Each model then has the weights of its last whole epoch.
        """
        first = fits[0]
        is_alone = len(fits) == 1
        memory = cls.memory_of(fits)
        is_placed = first.samples.kept(first.device, ("perceptron's", first.w.dtype)) is not None
        present = present_bytes(first.X, first.device, is_placed=is_placed)
        if first.device != "cpu":
            make_room(memory.total - present, first.device, [first.samples])
        check_memory(memory, present=present)
        reporter = Reporter(first.estimator.verbose if is_alone else 0, first.epochs)
        for fit in fits:
            fit._begin()
        # one call of `partial_fit` is an epoch of a longer training, and no fit
        told = [] if first.incremental else fits
        telling = told_of(told, [fit.n_iter for fit in told], is_alone=is_alone)
        with current(first.device), reporter, telling:
            stack = PerceptronStack(fits)
            try:
                while stack.models:
                    losses = stack.epoch()
                    if len(losses):
                        reporter.epoch(stack.n_iter, losses[0])
                    if watch is not None:
                        watch(len(stack.models), float(np.nanmin(losses, initial=np.inf)))
            finally:  # an interrupt keeps what is trained
                stack.save(range(len(stack.models)))

    def _begin(self) -> None:
        """Get ready to tell the callbacks, if there are any."""
        estimator = self.estimator
        if not listed(estimator.callbacks):
            return
        data = self.data
        # No bound methods: cycles through them would keep X until Python looks for cycles.
        attributes = partial(_attributes, estimator, len(self.labels), self.is_multinomial)
        self.callbacks = EpochCallbacks(
            estimator, data["X"], data["y"], self.sample_weight, self.epochs, attributes
        )
        self.callbacks.describe = partial(described, estimator, data)


def _attributes(
    estimator: Any,
    n_rows: int,
    is_multinomial: bool,
    weights: Callable[[], tuple[np.ndarray, np.ndarray]],
    n_iter: int,
) -> dict[str, Any]:
    """Return the fitted attributes after an epoch."""
    learned = scoring_weights(*weights(), is_multinomial)
    return attributes_of(estimator, n_rows, learned, n_iter)
