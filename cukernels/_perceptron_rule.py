"""The perceptron's online rule: when a score is wrong, and what that changes, sample by sample.

Scores have the shape (..., K, B), for a stack of models, K classes and B samples. With `classes`
the K problems are independent ones, each telling its own class from the rest (Rosenblatt 1958).
Without, they are the K classes of one problem, of which the highest score wins (Duda and Hart
1973, section 5.12: Kesler's construction).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cukernels._array import Array, namespace
from cukernels._contract import check_integers
from cukernels._online_penalty import Penalty

# From the row of a sample to its values, of shape (1, C), and the columns where they are.
TakeRow = Callable[[int], tuple[Array, Any]]


class Sweep:
    """The arguments of `perceptron_sweep`, less the samples, and the rule applied to scores."""

    def __init__(
        self,
        y: Array,
        w: Array,
        b: Array,
        eta: Array | float,
        *,
        order: Array | None = None,
        sample_weight: Array | None = None,
        classes: Array | None = None,
        bias_rate: float = 1.0,
        alpha: Array | float = 0.0,
        l1_ratio: Array | float = 0.0,
        due: Array | None = None,
        paid: Array | None = None,
        norms: Array | None = None,
    ) -> None:
        xp = namespace(w)
        self.y, self.w, self.b = y, w, b
        self.order, self.sample_weight, self.classes = order, sample_weight, classes
        self.bias_rate = bias_rate
        self.n_steps = len(y if order is None else order)
        if xp is np:
            self._check()
        eta = xp.asarray(eta, w.dtype)
        check_rates(eta.shape, self.n_steps)
        self.eta = xp.broadcast_to(eta, (*eta.shape[:-1], self.n_steps))
        if sample_weight is not None:
            self.sample_weight = xp.broadcast_to(sample_weight, (*sample_weight.shape[:-1], len(y)))
        self.penalty = Penalty(w, alpha, l1_ratio, due, paid, norms)

    def _check(self) -> None:
        """Raise unless labels are classes and the rows to visit are there."""
        if self.classes is None:
            check_integers("a perceptron's sweep", "y", self.y, self.b.shape[-1], "classes")
        if self.order is not None:
            check_integers("a perceptron's sweep", "order", self.order, len(self.y), "samples")

    def rows(self, start: int, stop: int) -> Array | slice:
        """Return the index of the samples visited from step `start` to step `stop`."""
        return slice(start, stop) if self.order is None else self.order[start:stop]

    def targets(self, rows: Array | slice) -> Array:
        """Return what the scores of some samples should be, of shape (..., K, B).

        With `classes`, 1 for the samples of a problem's class and -1 for the rest. Without, 1
        for the right class and 0 for the others.
        """
        xp, dtype = namespace(self.w), self.w.dtype
        if self.classes is None:
            return (self.y[rows] == xp.arange(self.b.shape[-1])[:, None]).astype(dtype)
        return xp.where(self.y[rows] == self.classes[..., None], 1, -1).astype(dtype)

    def corrections(self, scores: Array, target: Array) -> Array:
        """Return the direction in which a mistake moves each score: 1, -1, or 0 for no mistake.

        A problem of its own is wrong about a sample where its score does not have the sign of
        its target, 0 included. A multinomial one is wrong where another class wins, in a tie
        the first; then the right class goes up and the winner goes down.
        """
        if self.classes is not None:
            return target * (target * scores <= 0)
        winner = scores.argmax(axis=-2)[..., None, :]
        return target - (winner == namespace(scores).arange(scores.shape[-2])[:, None])

    def sizes(self, rows: Array | slice, rates: Array) -> Array:
        """Return the sizes of the steps at some samples: rate times weight."""
        return rates if self.sample_weight is None else rates * self.sample_weight[..., rows]

    def result(self, objective: Array) -> Array:
        """Return the objective of each independent problem, in the dtype of the weights."""
        if self.classes is None:
            objective = objective.sum(axis=-1, keepdims=True)
        return objective.astype(self.w.dtype)


def check_rates(shape: tuple[int, ...], n_steps: int) -> None:
    """Raise ValueError unless there is one rate for all steps, or one each."""
    if shape[-1:] not in ((), (1,), (n_steps,)):
        raise ValueError(
            f"a perceptron's sweep of {n_steps} steps needs one rate, or one a step: eta has shape "
            f"{shape}"
        )


def sweep_samples(sweep: Sweep, take: TakeRow) -> Array:
    """Sweep one sample at a time: the definition of the rule."""
    xp = namespace(sweep.w)
    w, b, penalty = sweep.w, sweep.b, sweep.penalty
    objective = xp.zeros(b.shape)
    for step in range(sweep.n_steps):
        row = step if sweep.order is None else int(sweep.order[step])
        sample = slice(row, row + 1)
        rate = sweep.eta[..., step : step + 1]
        x, columns = take(row)

        score = xp.matmul(w[..., columns], x.T) + b[..., None]
        error = sweep.corrections(score, sweep.targets(sample))
        change = error * sweep.sizes(sample, rate)
        objective -= (error * score)[..., 0]
        if penalty:
            objective += penalty.value()[..., 0]
            penalty.shrink(w, rate)
        w[..., columns] += change * x
        b += sweep.bias_rate * change[..., 0]
        if penalty:
            penalty.measure(w, updated=change[..., 0] != 0)
            penalty.truncate(w, columns, rate)
    return sweep.result(objective)
