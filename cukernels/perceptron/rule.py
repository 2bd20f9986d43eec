"""The perceptron's online rule: when a score is a mistake, and how a mistake changes the weights.

Scores have the shape (..., K, B), for a stack of models, K classes and B samples. With `classes`
there are K independent problems, each of which separates its own class from the rest (Rosenblatt
1958). Without, there is one problem of K classes, of which the highest score wins (Duda and Hart
1973, section 5.12: Kesler's construction).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cukernels.perceptron.penalty import Penalty
from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.contract import check_integers

# From the row number of a sample to its values, of shape (1, C), and the columns that these are in.
TakeRow = Callable[[int], tuple[Array, Any]]


def as_floats(x: Array, dtype: Any) -> Array:
    """Return samples as they are, or bytes as numbers of a dtype."""
    return x.astype(dtype) if x.dtype == np.uint8 else x


class SweepArguments(NamedTuple):
    """The arguments of `perceptron_sweep` and of `csr_perceptron_sweep`, less the samples."""

    y: Array
    w: Array
    b: Array
    eta: Array | float
    order: Array | None = None
    follows: Array | None = None
    sample_weight: Array | None = None
    classes: Array | None = None
    bias_rate: float = 1.0
    alpha: Array | float = 0.0
    l1_ratio: Array | float = 0.0
    due: Array | None = None
    paid: Array | None = None
    norms: Array | None = None
    record: Array | None = None


class Sweep:
    """The arguments of a sweep, checked and in their full shapes, and the rule for scores."""

    def __init__(self, given: SweepArguments) -> None:
        w, weight = given.w, given.sample_weight
        xp = namespace(w)
        self.y, self.w, self.b = given.y, w, given.b
        self.classes, self.bias_rate = given.classes, given.bias_rate
        self.order, self.follows = checked_order(given.order, given.follows, given.classes)
        self.n_steps = len(self.y) if self.order is None else self.order.shape[-1]
        if xp is np:
            self._check()
        eta = xp.asarray(given.eta, float)
        check_rates(eta.shape, self.n_steps)
        self.eta = xp.broadcast_to(eta, (*eta.shape[:-1], self.n_steps))
        if weight is not None:
            weight = xp.broadcast_to(weight, (*weight.shape[:-1], len(self.y)))
        self.sample_weight = weight
        check_record(given)
        self.record = given.record
        self.penalty = Penalty(w, given.alpha, given.l1_ratio, given.due, given.paid, given.norms)

    def _check(self) -> None:
        """Raise unless labels are classes, and rows and orders exist."""
        if self.classes is None:
            check_integers("a perceptron's sweep", "y", self.y, self.b.shape[-1], "classes")
        if self.order is None:
            return
        check_integers("a perceptron's sweep", "order", self.order, len(self.y), "samples")
        if self.follows is not None:
            n_orders = len(self.order)
            check_integers("a perceptron's sweep", "follows", self.follows, n_orders, "orders")

    def of_order(self, place: int) -> tuple[Sweep, Array]:
        """Return the sweep of the problems that follow one of the orders, and a mask of these.

        The arrays of this sweep are copies, with its P problems along one axis.
        """
        xp, given, shape = namespace(self.w), self.penalty, self.b.shape
        assert self.order is not None
        mine = xp.broadcast_to(self.follows, shape) == place

        def chosen(values: Array, *trailing: int) -> Array:
            """Pick the values of these problems, which broadcast to (..., K, *trailing)."""
            return xp.broadcast_to(values, (*shape, *trailing))[mine]

        weight = self.sample_weight
        state = {}
        if given:
            state["norms"] = given.norms[mine]
        if given.has_l1:
            state |= {"due": given.due[mine], "paid": given.paid[mine]}
        part = SweepArguments(
            self.y, self.w[mine], self.b[mine], chosen(self.eta, self.n_steps),
            order=self.order[place], classes=chosen(self.classes), bias_rate=self.bias_rate,
            sample_weight=None if weight is None else chosen(weight, weight.shape[-1]),
            alpha=chosen(given.alpha), l1_ratio=chosen(given.l1_ratio), **state,
        )  # fmt: skip
        return Sweep(part), mine

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

        An independent problem makes a mistake if the score does not have the sign of the target;
        a score of 0 is a mistake. A multinomial problem makes one if another class wins, where the
        first of equal scores wins. Then the right class goes up and the winner goes down.
        """
        if self.classes is not None:
            return target * (target * scores <= 0)
        winner = scores.argmax(axis=-2)[..., None, :]
        return target - (winner == namespace(scores).arange(scores.shape[-2])[:, None])

    def sizes(self, rows: Array | slice, rates: Array) -> Array:
        """Return the sizes of the updates at some samples: rate times sample weight."""
        return rates if self.sample_weight is None else rates * self.sample_weight[..., rows]

    def result(self, objective: Array) -> Array:
        """Return the objective of each problem, in the dtype of the weights; fill the record."""
        if self.classes is None:
            objective = objective.sum(axis=-1, keepdims=True)
        if self.record is not None:
            xp = namespace(self.w)
            finite = xp.isfinite(self.w).all(axis=-1) & xp.isfinite(self.b)
            if self.classes is None:
                finite = finite.all(axis=-1, keepdims=True)
            self.record[..., 0], self.record[..., 1] = objective, finite
        return objective.astype(self.w.dtype)


def check_rates(shape: tuple[int, ...], n_steps: int) -> None:
    """Raise ValueError unless there is one rate for all steps, or one each."""
    if shape[-1:] not in ((), (1,), (n_steps,)):
        raise ValueError(
            f"a perceptron's sweep of {n_steps} steps needs one rate, or one a step: eta has shape "
            f"{shape}"
        )


def check_record(given: SweepArguments) -> None:
    """Raise ValueError unless the record, if there is one, has a row for each problem."""
    shape = given.b.shape
    problems = shape if given.classes is not None else (*shape[:-1], 1)
    if given.record is not None and given.record.shape != (*problems, 2):
        raise ValueError(
            f"a perceptron's sweep of problems of shape {problems} needs a record of shape "
            f"{(*problems, 2)}, got {given.record.shape}"
        )


def checked_order(
    order: Array | None, follows: Array | None, classes: Array | None
) -> tuple[Array | None, Array | None]:
    """Return one order, (n,), and None; or several, (R, n), and which of them problems follow.

    Raises
    ------
    ValueError
        If there are several orders and `follows` or `classes` is missing.
    """
    if order is None or order.ndim == 1:
        return order, None
    if len(order) == 1:
        return order[0], None
    if classes is None or follows is None:
        raise ValueError(
            f"{len(order)} orders of the samples need `follows`, which of them each problem is to "
            "follow, and `classes`: classes that compete see the same samples"
        )
    return order, follows


def sweep_samples(sweep: Sweep, take: TakeRow) -> Array:
    """Sweep one sample at a time: the definition of the rule.

    A score is the product of weights and sample, plus a bias in double precision. If samples are
    small compared with 1, the product only changes digits of the score that a bias in float32 would
    have lost. The same goes for rates that are not powers of 2.
    """
    xp = namespace(sweep.w)
    if sweep.follows is not None:
        return _sweep_orders(sweep, take)
    w, b, penalty = sweep.w, sweep.b.astype(float), sweep.penalty
    objective = xp.zeros(b.shape)
    for step in range(sweep.n_steps):
        row = step if sweep.order is None else int(sweep.order[step])
        sample = slice(row, row + 1)
        rate = sweep.eta[..., step : step + 1]
        x, columns = take(row)

        # Each row is summed by itself, so the bits of a problem do not depend on the others.
        score = (w[..., columns] * x).sum(axis=-1, keepdims=True) + b[..., None]
        error = sweep.corrections(score, sweep.targets(sample))
        change = error * sweep.sizes(sample, rate)
        objective -= (error * score)[..., 0]
        if penalty:
            objective += penalty.value()[..., 0]
            penalty.shrink(w, rate)
        w[..., columns] += change.astype(w.dtype) * x
        b += sweep.bias_rate * change[..., 0]
        if penalty:
            penalty.measure(w, updated=change[..., 0] != 0)
            penalty.truncate(w, columns, rate)
    sweep.b[...] = b
    return sweep.result(objective)


def _sweep_orders(sweep: Sweep, take: TakeRow) -> Array:
    """Sweep the problems that follow the same order together, one order after the other."""
    xp, given = namespace(sweep.w), sweep.penalty
    objective = xp.zeros(sweep.b.shape)
    assert sweep.order is not None
    for place in range(len(sweep.order)):
        own, mine = sweep.of_order(place)
        objective[mine] = sweep_samples(own, take)
        sweep.w[mine], sweep.b[mine] = own.w, own.b
        for name in ("norms",) * bool(given) + ("due", "paid") * given.has_l1:
            getattr(given, name)[mine] = getattr(own.penalty, name)
    return sweep.result(objective)
