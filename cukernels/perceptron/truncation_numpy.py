"""The multinomial rule under an L1 penalty, on NumPy: dense samples, one by one.

L1 changes every weight at every sample, so samples cannot be taken in blocks. But the weight
without what L1 did to it, ``u = w - paid``, changes only by an update or by the L2 part. The sign
of the weight, too, changes only by an update; until the next one L1 may truncate the weight to 0,
where it stays. So at any time the weight is ``sign * max(sign * u - due, 0)``, which takes four
passes over the weights.
"""

from __future__ import annotations

import numpy as np

from cukernels.matmul.even_products import even_product, padded
from cukernels.perceptron.penalty import measure
from cukernels.perceptron.rule import Sweep, as_floats


def sweep_truncated(sweep: Sweep, x: np.ndarray) -> np.ndarray:
    """Sweep samples of shape (N, D), for classes that compete and a penalty with an L1 part."""
    n_problems, b = sweep.b.size, sweep.b.ravel().astype(float)
    labels = sweep.y[sweep.rows(0, sweep.n_steps)]
    weights = _Weights(sweep)
    objective = np.zeros(n_problems)
    sizes = sweep.sizes(sweep.rows(0, sweep.n_steps), sweep.eta)
    for step in range(sweep.n_steps):
        sample = as_floats(x[step if sweep.order is None else sweep.order[step]], sweep.w.dtype)
        score = even_product(weights.padded, sample[:, None])[:n_problems, 0] + b
        wrong, direction = _mistakes(score.reshape(-1, sweep.b.shape[-1]), labels[step])
        objective += weights.penalty
        weights.shrink(step)
        if len(wrong):
            objective[wrong] -= direction * score[wrong]
            change = direction * _flat(sizes[..., step], sweep)[wrong]
            b[wrong] += sweep.bias_rate * change
            moves = change != 0
            weights.add(wrong[moves], change[moves, None].astype(sample.dtype) * sample)
        weights.truncate()
    weights.write_back()
    sweep.b[...] = b.reshape(sweep.b.shape)
    return sweep.result(objective.reshape(sweep.b.shape))


class _Weights:
    """The weights of P problems during a sweep, and the state of their penalty."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        given = sweep.penalty
        n_problems, n_features = sweep.b.size, sweep.w.shape[-1]
        self.padded = padded(sweep.w.reshape(n_problems, n_features))
        self.w = self.padded[:n_problems]
        self.u = self.w - given.paid.reshape(self.w.shape)
        self.sign = np.sign(self.w)
        self.due = given.due.reshape(-1, 1).copy()
        self.norms = given.norms.reshape(-1, 2).copy()
        self.l1, self.l2 = _flat(given.l1[..., 0], sweep), _flat(given.l2[..., 0], sweep)
        self.penalty = self.l1 * self.norms[:, 1] + self.l2 / 2 * self.norms[:, 0]
        self._has_l2 = bool(self.l2.any())
        self._is_constant = sweep.eta.strides[-1] == 0
        self._values = np.empty_like(self.w)
        if sweep.n_steps:
            self._set_rate(0)

    def shrink(self, step: int) -> None:
        """Apply the L2 part of a step."""
        if not self._is_constant:
            self._set_rate(step)
        if self._has_l2:
            self.u -= np.multiply(self.w, 1 - self._kept, out=self._values)
            self.w *= self._kept
            self.norms[:, :1] *= self._kept * self._kept
            self.norms[:, 1:] *= self._kept
            self.penalty = self.l1 * self.norms[:, 1] + self.l2 / 2 * self.norms[:, 0]

    def add(self, problems: np.ndarray, values: np.ndarray) -> None:
        """Add values to the weights of some problems."""
        w = self.w[problems] + values
        self.w[problems], self.sign[problems] = w, np.sign(w)
        self.u[problems] += values
        norms = self.norms[problems] = measure(w)
        self.penalty[problems] = (
            self.l1[problems] * norms[:, 1] + self.l2[problems] / 2 * norms[:, 0]
        )

    def truncate(self) -> None:
        """Apply the L1 part of a step."""
        self.due += self._debt
        left = np.multiply(self.sign, self.u, out=self._values)
        left -= self.due
        np.multiply(self.sign, np.maximum(left, 0, out=left), out=self.w)

    def write_back(self) -> None:
        """Copy the results to the arrays of the sweep."""
        sweep = self.sweep
        given = sweep.penalty
        sweep.w[...] = self.w.reshape(sweep.w.shape)
        given.paid[...] = (self.w - self.u).reshape(sweep.w.shape)
        given.due[...] = self.due.reshape(sweep.b.shape)
        given.norms[...] = self.norms.reshape(given.norms.shape)

    def _set_rate(self, step: int) -> None:
        """Compute what L2 leaves and what L1 adds to the debt at the rate of a step."""
        eta = self.sweep.eta[..., step : step + 1]
        self._kept = _flat(self.sweep.penalty.kept(eta)[..., 0], self.sweep)[:, None]
        self._debt = self.l1[:, None] * _flat(eta[..., 0], self.sweep)[:, None]


def _flat(values: np.ndarray, sweep: Sweep) -> np.ndarray:
    """Broadcast values to (..., K), and return them along one axis."""
    return np.broadcast_to(values, sweep.b.shape).reshape(-1)


def _mistakes(scores: np.ndarray, label: int) -> tuple[np.ndarray, np.ndarray]:
    """The problems that mistakes move (right classes, then winners), and their directions."""
    winner, k = scores.argmax(axis=1), scores.shape[1]
    wrong = (winner != label).nonzero()[0]
    problems = np.concatenate((wrong * k + label, wrong * k + winner[wrong]))
    return problems, np.repeat(np.array([1.0, -1.0]), len(wrong))
