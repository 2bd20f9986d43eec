"""Epochs of the perceptron's online rule, and when each of its problems stops."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.utils import check_random_state

from cukernels._array import Array, namespace, to_device, to_host
from cukernels.perceptron import csr_perceptron_sweep, perceptron_sweep
from estimators._base import placed_rows, scores_of
from estimators._layers import SparseRows
from estimators._progress import Reporter

_SPARSE_BIAS_RATE = 0.01  # scikit-learn's: in sparse data only the bias is never 0


class OnlineTraining:
    """The problems of one Perceptron: one a class against the rest, or a single multinomial one.

    Samples, weights and what belongs to them are on the device from the first epoch to the last.

    Parameters
    ----------
    settings : Perceptron
        Hyper-parameters, and the weights to start from.
    X : ndarray or CSR matrix of shape (n_samples, n_features)
    labels : integer ndarray of shape (n_samples,)
        Places in `classes_`.
    sample_weight : ndarray of shape (n_samples,)
    class_weight : ndarray of shape (n_classes,)
    device : str
        As `resolve_device` returns it.

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
        device: str,
    ) -> None:
        self.settings, self.labels, self.device = settings, labels, device
        self.sample_weight = sample_weight
        n_classes, one_row = len(class_weight), len(settings.coef_) == 1
        self.multinomial = settings.multi_class == "multinomial"
        w, b = settings.coef_.copy(), settings.intercept_.copy()
        if self.multinomial and one_row:  # the score of class 1 less that of class 0
            w, b = np.concatenate([-w / 2, w / 2]), np.concatenate([-b / 2, b / 2])
        self.classes = np.arange(1, 2) if one_row else np.arange(n_classes)
        self.dtype = w.dtype
        self.state = {"w": w, "b": b} | self._penalty_state(w, b)
        self.state = {name: to_device(a, device) for name, a in self.state.items()}
        self.weight = self._update_weights(class_weight)
        if self.weight is not None:
            self.weight = to_device(self.weight, device)
        self.x = placed_rows(X, X.dtype, device)
        self.y = to_device(labels, device)

        self.rows = np.arange(len(labels))
        self.held_out = self._hold_out()
        self.is_held_out = np.isin(self.rows, self.held_out)
        self.held_out_x = placed_rows(X[self.held_out], X.dtype, device)
        self.shuffle = self._permutation(n_classes) if settings.shuffle else slice(None)

        n_problems = 1 if self.multinomial else len(self.classes)
        self.active = np.arange(n_problems)
        self.best = np.full(n_problems, -np.inf if settings.early_stopping else np.inf)
        self.no_improvement = np.zeros(n_problems, int)
        self.n_iter = 0

    def _update_weights(self, class_weight: np.ndarray) -> Array | None:
        """Factors of the updates, (n_samples,) or a row a problem; None where all are 1."""
        weight = self.sample_weight
        if not (class_weight == 1).all():
            if self.multinomial:
                weight = weight * class_weight[self.labels]
            else:
                rest = class_weight[0] if len(self.classes) == 1 else 1.0
                own = self.labels == self.classes[:, None]
                weight = weight * np.where(own, class_weight[self.classes][:, None], rest)
        return None if (weight == 1).all() else weight.astype(self.dtype)

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

    def _penalty_state(self, w: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
        """What the L1 penalty keeps from epoch to epoch."""
        s = self.settings
        if s.penalty is None or s.alpha == 0:
            return {}
        norms = np.stack([(w**2).sum(axis=1), np.abs(w).sum(axis=1)], axis=1)
        return {"due": np.zeros_like(b), "paid": np.zeros_like(w), "norms": norms}

    def epoch(self, reporter: Reporter) -> bool:
        """Go once over the samples; return whether a problem goes on."""
        self.n_iter += 1
        self.rows = self.rows[self.shuffle]
        order = self.rows[~self.is_held_out[self.rows]] if len(self.held_out) else self.rows
        objective, is_finite = self._sweep(order)
        if not is_finite:
            raise ValueError(
                f"Floating-point under-/overflow occurred at epoch #{self.n_iter}. Scaling input "
                "data with StandardScaler or MinMaxScaler might help."
            )
        reporter.epoch(self.n_iter, float(objective.mean()) / max(len(order), 1))
        self._judge(objective, len(order))
        return len(self.active) > 0

    def _sweep(self, order: np.ndarray) -> tuple[np.ndarray, bool]:
        """Update the active problems; return the objective of each, and if the weights are finite.

        What the host needs to know of an epoch is read in one piece.
        """
        s = self.settings
        all_go_on = self.multinomial or len(self.active) == len(self.classes)
        chosen = slice(None) if all_go_on else self.active
        # copies: Ctrl-C leaves the weights of the last whole epoch
        state = {name: a.copy() if all_go_on else a[chosen] for name, a in self.state.items()}
        arguments = state | {"y": self.y, "eta": self._rates(order)}
        if self.weight is not None:
            own = self.weight.ndim == 2
            arguments["sample_weight"] = self.weight[chosen] if own else self.weight
        if not self.multinomial:
            arguments["classes"] = to_device(self.classes[chosen], self.device)
        if s.penalty is not None:
            ratios = {"l2": 0.0, "l1": 1.0, "elasticnet": s.l1_ratio}
            arguments |= {"alpha": s.alpha, "l1_ratio": ratios[s.penalty]}
        arguments["order"] = to_device(order, self.device)
        if isinstance(self.x, SparseRows):
            rate = _SPARSE_BIAS_RATE if s.fit_intercept else 0.0
            objective = csr_perceptron_sweep(**self.x._asdict(), **arguments, bias_rate=rate)
        else:
            objective = perceptron_sweep(self.x, **arguments, bias_rate=float(s.fit_intercept))
        if all_go_on:
            self.state = state
        else:
            for name, a in state.items():
                self.state[name][chosen] = a
        xp = namespace(objective)
        is_finite = xp.isfinite(self.state["w"]).all() & xp.isfinite(self.state["b"]).all()
        *values, flag = to_host(xp.append(objective, is_finite.astype(objective.dtype)))
        return np.array(values, objective.dtype), bool(flag)

    def _rates(self, order: np.ndarray) -> Any:
        s = self.settings
        if s.learning_rate == "constant":
            return s.eta0
        t = s.t_ + (self.n_iter - 1) * len(order) + np.arange(len(order))
        return to_device((s.eta0 / t**s.power_t).astype(self.dtype)[None], self.device)

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
        labels, weight = self.labels[self.held_out], self.sample_weight[self.held_out]
        scores = to_host(scores_of(self.held_out_x, self.state["w"], self.state["b"]))
        if self.multinomial:
            return np.array([accuracy_score(labels, scores.argmax(axis=1), sample_weight=weight)])
        right = (scores > 0) == (labels[:, None] == self.classes)
        return np.average(right, axis=0, weights=weight)

    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """`coef_` and `intercept_`: one row for two classes."""
        w, b = to_host(self.state["w"]), to_host(self.state["b"])
        return (w[1:] - w[:1], b[1:] - b[:1]) if self.multinomial and len(w) == 2 else (w, b)


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
