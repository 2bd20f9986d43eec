"""Epochs of the perceptron's online rule, and when each of its problems stops."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.metrics import accuracy_score
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.utils import check_random_state

from cukernels._array import resolve_device, to_device, to_host
from cukernels.perceptron import csr_perceptron_sweep, perceptron_sweep
from estimators._base import linear_scores
from estimators._progress import Reporter

_SPARSE_BIAS_RATE = 0.01  # scikit-learn's: in sparse data only the bias is never 0


class OnlineTraining:
    """The problems of one Perceptron: one a class against the rest, or a single multinomial one.

    Parameters
    ----------
    settings : Perceptron
        Hyper-parameters, and the weights to start from.
    X : ndarray or CSR matrix of shape (n_samples, n_features)
    labels : integer ndarray of shape (n_samples,)
        Places in `classes_`.
    sample_weight : ndarray of shape (n_samples,)
    class_weight : ndarray of shape (n_classes,)

    Attributes
    ----------
    n_iter : int
        Epochs done by the problem that took most.
    """

    def __init__(
        self,
        settings: Any,
        X: Any,
        labels: np.ndarray,
        sample_weight: np.ndarray,
        class_weight: np.ndarray,
    ) -> None:
        self.settings, self.X, self.labels = settings, X, labels
        self.device = resolve_device(settings.device)
        self.sample_weight = sample_weight
        n_classes, one_row = len(class_weight), len(settings.coef_) == 1
        self.multinomial = settings.multi_class == "multinomial"
        self.w, self.b = settings.coef_.copy(), settings.intercept_.copy()
        if self.multinomial and one_row:  # the score of class 1 less that of class 0
            self.w = np.concatenate([-self.w / 2, self.w / 2])
            self.b = np.concatenate([-self.b / 2, self.b / 2])
        self.classes = np.arange(1, 2) if one_row else np.arange(n_classes)
        self.weight = self._update_weights(class_weight)

        self.rows = np.arange(len(labels))
        self.held_out = self._hold_out()
        self.is_held_out = np.isin(self.rows, self.held_out)
        self.shuffle = self._permutation(n_classes) if settings.shuffle else slice(None)

        n_problems = 1 if self.multinomial else len(self.classes)
        self.active = np.arange(n_problems)
        self.best = np.full(n_problems, -np.inf if settings.early_stopping else np.inf)
        self.no_improvement = np.zeros(n_problems, int)
        self.state = self._penalty_state()
        self.n_iter = 0

    def _update_weights(self, class_weight: np.ndarray) -> np.ndarray | None:
        """Factors of the updates, (n_samples,) or a row a problem; None where all are 1."""
        weight = self.sample_weight
        if not (class_weight == 1).all():
            if self.multinomial:
                weight = weight * class_weight[self.labels]
            else:
                rest = class_weight[0] if len(self.classes) == 1 else 1.0
                own = self.labels == self.classes[:, None]
                weight = weight * np.where(own, class_weight[self.classes][:, None], rest)
        return None if (weight == 1).all() else weight.astype(self.w.dtype)

    def _hold_out(self) -> np.ndarray:
        """The samples that early stopping scores on."""
        s = self.settings
        if not s.early_stopping:
            return self.rows[:0]
        split = StratifiedShuffleSplit(test_size=s.validation_fraction, random_state=s.random_state)
        _, held_out = next(split.split(self.rows, self.labels))
        if not self.sample_weight[held_out].any():
            raise ValueError(
                "The sample weights for validation set are all zero, consider using a different "
                "random state."
            )
        return held_out

    def _permutation(self, n_classes: int) -> np.ndarray:
        """How each epoch permutes the order of the last, from scikit-learn's draws.

        So two classes are trained in scikit-learn's order. Of more classes, which have an order
        each there, all follow that of the first.
        """
        rng = check_random_state(self.settings.random_state)
        largest = np.iinfo(np.int32).max
        if n_classes > 2:
            rng = check_random_state(rng.randint(largest, size=n_classes)[0])
        rng.randint(1, largest)  # drawn there for the data set
        return fisher_yates(len(self.labels), int(rng.randint(largest)))

    def _penalty_state(self) -> dict[str, np.ndarray]:
        """What the L1 penalty keeps from epoch to epoch."""
        s = self.settings
        if s.penalty is None or s.alpha == 0:
            return {}
        norms = np.stack([(self.w**2).sum(axis=1), np.abs(self.w).sum(axis=1)], axis=1)
        return {"due": np.zeros_like(self.b), "paid": np.zeros_like(self.w), "norms": norms}

    def epoch(self, reporter: Reporter) -> bool:
        """Go once over the samples; return whether a problem goes on."""
        self.n_iter += 1
        self.rows = self.rows[self.shuffle]
        order = self.rows[~self.is_held_out[self.rows]] if len(self.held_out) else self.rows
        objective = self._sweep(order)
        if not (np.isfinite(self.w).all() and np.isfinite(self.b).all()):
            raise ValueError(
                f"Floating-point under-/overflow occurred at epoch #{self.n_iter}. Scaling input "
                "data with StandardScaler or MinMaxScaler might help."
            )
        reporter.epoch(self.n_iter, float(objective.mean()) / max(len(order), 1))
        self._judge(objective, len(order))
        return len(self.active) > 0

    def _sweep(self, order: np.ndarray) -> np.ndarray:
        """Update the weights of the active problems; return the objective of each."""
        s = self.settings
        chosen = slice(None) if self.multinomial else self.active
        state = {name: a[chosen] for name, a in self.state.items()}
        state |= {"w": self.w[chosen], "b": self.b[chosen]}
        state = {name: to_device(np.ascontiguousarray(a), self.device) for name, a in state.items()}
        arguments = state | {"y": to_device(self.labels, self.device), "eta": self._rates(order)}
        if self.weight is not None:
            weight = self.weight[chosen] if self.weight.ndim == 2 else self.weight
            arguments["sample_weight"] = to_device(weight, self.device)
        if not self.multinomial:
            arguments["classes"] = to_device(self.classes[chosen], self.device)
        if s.penalty is not None:
            ratios = {"l2": 0.0, "l1": 1.0, "elasticnet": s.l1_ratio}
            arguments |= {"alpha": s.alpha, "l1_ratio": ratios[s.penalty]}
        arguments["order"] = to_device(order, self.device)
        if sp.issparse(self.X):
            x = {name: getattr(self.X, name) for name in ("data", "indices", "indptr")}
            rate = _SPARSE_BIAS_RATE if s.fit_intercept else 0.0
            objective = csr_perceptron_sweep(**x, **arguments, bias_rate=rate)
        else:
            x = to_device(self.X, self.device)
            objective = perceptron_sweep(x, **arguments, bias_rate=float(s.fit_intercept))
        self.w[chosen], self.b[chosen] = to_host(state.pop("w")), to_host(state.pop("b"))
        for name, a in state.items():
            self.state[name][chosen] = to_host(a)
        return to_host(objective)

    def _rates(self, order: np.ndarray) -> Any:
        s = self.settings
        if s.learning_rate == "constant":
            return s.eta0
        t = s.t_ + (self.n_iter - 1) * len(order) + np.arange(len(order))
        return to_device((s.eta0 / t**s.power_t).astype(self.w.dtype)[None], self.device)

    def _judge(self, objective: np.ndarray, n_samples: int) -> None:
        """Count the epochs without improvement, and let the problems go that had too many."""
        s, active = self.settings, self.active
        tol = -np.inf if s.tol is None else s.tol
        if s.early_stopping:
            value = self._scores()[active]
            worse = value < self.best[active] + tol
            self.best[active] = np.maximum(self.best[active], value)
        else:
            worse = objective > self.best[active] - tol * n_samples
            self.best[active] = np.minimum(self.best[active], objective)
        self.no_improvement[active] = np.where(worse, self.no_improvement[active] + 1, 0)
        self.active = active[self.no_improvement[active] < s.n_iter_no_change]

    def _scores(self) -> np.ndarray:
        """Accuracy of each problem on the samples held out."""
        X, labels = self.X[self.held_out], self.labels[self.held_out]
        weight = self.sample_weight[self.held_out]
        scores = linear_scores(X, self.w, self.b, self.device)
        if self.multinomial:
            return np.array([accuracy_score(labels, scores.argmax(axis=1), sample_weight=weight)])
        right = (scores > 0) == (labels[:, None] == self.classes)
        return np.average(right, axis=0, weights=weight)

    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """`coef_` and `intercept_`: one row for two classes."""
        if self.multinomial and len(self.w) == 2:
            return self.w[1:] - self.w[:1], self.b[1:] - self.b[:1]
        return self.w, self.b


def fisher_yates(n: int, seed: int) -> np.ndarray:
    """Permutation of `n` by the shuffle of Fisher and Yates, with scikit-learn's generator.

    The generator is a 32-bit xorshift (Marsaglia, Journal of Statistical Software 8, 2003, with the
    shifts 13, 17, 5), taken modulo 2**31.
    """
    order = list(range(n))
    state = seed or 1
    for i in range(n - 1):
        state ^= (state << 13) & 0xFFFFFFFF
        state ^= state >> 17
        state ^= (state << 5) & 0xFFFFFFFF
        j = i + (state & 0x7FFFFFFF) % (n - i)
        order[i], order[j] = order[j], order[i]
    return np.array(order, dtype=np.intp)
