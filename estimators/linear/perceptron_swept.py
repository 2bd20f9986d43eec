"""Fits of `Perceptron` that run as a stack, by our own sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cukernels.runtime import current, on_one_blas_thread
from estimators.linear.perceptron_problem import SweptProblem
from estimators.linear.perceptron_stack import OnlineStack
from estimators.shared.fit_protocol import Watch
from estimators.shared.progress import Reporter


@dataclass(eq=False)
class SweptFit(SweptProblem):
    """A fit by our own sweeps; see `fit_protocol.Fit`."""

    @classmethod
    @on_one_blas_thread  # threads that wait for each other cost small products more than they save
    def run(cls, trainings: Sequence[SweptFit], watch: Watch | None = None) -> None:
        """Run trainings of equal keys as one stack; one that overflows fails alone.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C; each model then has the weights of its last whole epoch.
        """
        first = trainings[0]
        alone = len(trainings) == 1
        reporter = Reporter(first.estimator.verbose if alone else 0, first.epochs)
        with current(first.device), reporter:
            stack = OnlineStack(trainings)
            try:
                while stack.trainings:
                    losses = stack.epoch()
                    if len(losses):
                        reporter.epoch(stack.n_iter, losses[0])
                    if watch is not None:
                        watch(len(stack.trainings), float(np.nanmin(losses, initial=np.inf)))
            finally:  # an interrupt keeps what is trained
                stack.save(range(len(stack.trainings)))
