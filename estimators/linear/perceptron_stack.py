"""Epochs of the perceptron's rule for a stack of models, and when each problem stops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from cukernels import csr_perceptron_sweep, perceptron_sweep
from cukernels.runtime import Array, namespace, to_device, to_host
from estimators.linear.perceptron_model import SweptModel
from estimators.linear.perceptron_scale import scale_after
from estimators.linear.perceptron_state import put_rows, take_rows
from estimators.linear.scores import device_scores, scores_of
from estimators.shared.rows import SparseRows, placed_rows
from estimators.shared.samples import scattered

# scikit-learn's factor: in sparse data every sample moves the bias, and few move a given weight.
_SPARSE_BIAS_RATE = 0.01


class PerceptronStack:
    """M models that learn from the same samples in the same order.

    A model is one multinomial problem, or K problems of a class against the rest with an order
    each. Samples, weights and penalties stay on the device from the first epoch to the last. A
    problem that has stopped takes no more time. A model leaves when all of its problems have
    stopped.

    Parameters
    ----------
    models : sequence of SweptModel
        Models of equal keys.

    Attributes
    ----------
    models : list of SweptModel
        The models that go on.
    n_iter : int
        Epochs done.
    """

    def __init__(self, models: Sequence[SweptModel]) -> None:
        first = self._first = models[0]
        self.models = list(models)
        self.n_iter = 0
        device, dtype = self._device, self._dtype = first.device, first.w.dtype
        self._x = first.samples.keep(
            device, ("perceptron's", dtype), lambda: placed_rows(first.X, dtype, device)
        )
        labels = scattered(first.labels, first.rows, first.X.shape[0])
        self._y = to_device(labels, device)
        self._held_out_x = placed_rows(first.X[self._rows(first.held_out)], dtype, device)
        self._is_held_out = np.zeros(len(first.labels), bool)
        self._is_held_out[first.held_out] = True
        orders = 1 if first.permutations is None else len(first.permutations)
        # a row an order: the places of the samples in the order of this epoch
        self._places = np.tile(np.arange(len(first.labels)), (orders, 1))

        n_rows = len(first.w)
        self._classes = np.arange(1, 2) if n_rows == 1 else np.arange(n_rows)
        shape = (len(models), 1 if first.is_multinomial else n_rows)
        self._goes_on = np.ones(shape, bool)
        self._best = np.full(shape, -np.inf if first.estimator.early_stopping else np.inf)
        self._waited = np.zeros(shape, int)  # epochs without improvement
        self._scale = np.ones(len(models))  # of each model; see `perceptron_scale`
        state = self._initial_state()
        self._state = {name: to_device(a, device) for name, a in state.items()}
        self._weight = self._update_weights()
        # what a sweep takes besides state and order, for the problems that go on
        self._constants: dict[str, Any] = {}

    def epoch(self) -> list[float]:
        """Go once over the samples; return the mean loss of each model that did not fail.

        A model that is done takes what it learned and leaves.
        """
        if self._first.permutations is not None:
            self._places = np.take_along_axis(self._places, self._first.permutations, axis=1)
        order = self._places[~self._is_held_out[self._places]].reshape(len(self._places), -1)
        with np.errstate(over="ignore", invalid="ignore"):  # weights that overflow are told below
            objective, is_finite = self._sweep(order)
            losses = objective.mean(axis=1, where=self._goes_on) / max(order.shape[1], 1)
            self._judge(objective, order.shape[1])
        for model, is_well in zip(self.models, is_finite, strict=True):
            if not is_well:
                model.error = ValueError(
                    f"Floating-point under-/overflow occurred at epoch #{self.n_iter}. Scaling "
                    "input data with StandardScaler or MinMaxScaler might help."
                )
        epochs = np.array([model.epochs for model in self.models])
        stays = self._goes_on.any(axis=1) & is_finite & (self.n_iter < epochs)
        if not stays.all():
            self.save(np.flatnonzero(~stays))
            self._keep(np.flatnonzero(stays))
        return losses[is_finite].tolist()

    def save(self, chosen: Iterable[int]) -> None:
        """Copy the weights of some models from the device into the models."""
        places = np.array(list(chosen), dtype=int)
        w, b = (to_host(take_rows(self._state[name], places)) for name in ("w", "b"))
        for m, own_w, own_b in zip(places.tolist(), w, b, strict=True):
            model = self.models[m]
            model.w, model.b, model.n_iter = own_w.copy(), own_b.copy(), self.n_iter

    def _keep(self, chosen: np.ndarray) -> None:
        """Go on with some of the models only."""
        weight = self._weight
        if weight is not None and weight.ndim == 3:
            weight = take_rows(weight, chosen)
        self.__dict__.update(  # in one step: Ctrl-C must not come between models and state
            models=[self.models[m] for m in chosen],
            _state={name: take_rows(a, chosen) for name, a in self._state.items()},
            _goes_on=self._goes_on[chosen],
            _best=self._best[chosen],
            _waited=self._waited[chosen],
            _scale=self._scale[chosen],
            _weight=weight,
            _constants={},
        )

    def _rows(self, places: np.ndarray) -> np.ndarray:
        """Return the rows of X at some places among those that the models learn from."""
        return places if self._first.rows is None else self._first.rows[places]

    def _initial_state(self) -> dict[str, np.ndarray]:
        """Return the weights and intercepts, and what a penalty keeps from epoch to epoch."""
        w = np.stack([model.w for model in self.models])
        # intercepts stay in double precision between epochs, as in scikit-learn's loop
        state = {"w": w, "b": np.stack([model.b for model in self.models]).astype(float)}
        if any(model.penalty[0] for model in self.models):
            state["norms"] = np.stack([(w**2).sum(axis=-1), np.abs(w).sum(axis=-1)], axis=-1)
        if self._first.penalty[1]:
            state |= {"due": np.zeros(w.shape[:-1], w.dtype), "paid": np.zeros_like(w)}
        return state

    def _update_weights(self) -> Array | None:
        """Return the factors of the updates, or None where all are 1.

        The shape is (n_samples,) where the models share them, and else (M, K or 1, n_samples).
        """
        first, given = self._first, [model.update_weight for model in self.models]
        weights = [w for w in given if w is not None]
        if not weights:
            return None
        shared = weights[0]
        is_same = len(weights) == len(given) and all(np.array_equal(shared, w) for w in weights)
        if shared.ndim > 1 or not is_same:
            ones = np.ones((1, 1), self._dtype)
            rows = np.broadcast_arrays(*(ones if w is None else np.atleast_2d(w) for w in given))
            shared = np.stack(rows)
        return to_device(scattered(shared, first.rows, first.X.shape[0], axis=-1), self._device)

    def _sweep(self, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Update the problems; return the objective of each, and which models are finite.

        The host reads a device once, and waits for nothing else.
        """
        first, device = self._first, self._device
        models, problems = np.nonzero(self._goes_on)
        if not self._constants:
            self._constants = self._arguments(models, problems, order.shape[1])
        arguments = {"order": to_device(self._rows(order), device)}
        if first.estimator.learning_rate != "constant":
            arguments["eta"] = self._eta(models, order.shape[1])
        chosen = self._chosen(models, problems)
        # copies, so that Ctrl-C within the sweep leaves the state of the last whole epoch
        state = {name: take_rows(a, chosen) for name, a in self._state.items()}
        record = None
        if device != "cpu":
            shape = (len(models), 1, 2) if first.is_multinomial else (len(models), 2)
            arguments["record"] = record = namespace(state["w"]).empty(shape)
        arguments = self._constants | state | arguments
        if isinstance(self._x, SparseRows):
            values = csr_perceptron_sweep(**self._x._asdict(), **arguments)
        else:
            values = perceptron_sweep(self._x, **arguments)
        state = {name: put_rows(self._state[name], a, chosen) for name, a in state.items()}
        # in one step: after Ctrl-C the epoch has either ended or not
        self.__dict__.update(_state=state, n_iter=self.n_iter + 1)
        objective = np.zeros(self._goes_on.shape)
        if record is None:
            objective[models, problems] = values.ravel()
            w, b = self._state["w"], self._state["b"]
            return objective, np.isfinite(w).all(axis=(1, 2)) & np.isfinite(b).all(axis=1)
        read = to_host(record).reshape(-1, 2)
        objective[models, problems] = read[:, 0]
        is_finite = np.ones(len(self.models), bool)
        is_finite[models[read[:, 1] == 0]] = False  # one that has stopped was finite then
        return objective, is_finite

    def _chosen(self, models: np.ndarray, problems: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the index of some problems in arrays of the state."""
        return (models,) if self._first.is_multinomial else (models, problems)

    def _arguments(self, models: np.ndarray, problems: np.ndarray, n_steps: int) -> dict[str, Any]:
        """Return what sweeps over some problems take, as long as these go on."""
        first, device = self._first, self._device
        rate = float(first.estimator.fit_intercept)
        if isinstance(self._x, SparseRows):
            rate *= _SPARSE_BIAS_RATE
        arguments: dict[str, Any] = {"y": self._y, "bias_rate": rate}
        if first.estimator.learning_rate == "constant":
            arguments["eta"] = self._eta(models, n_steps)
        if self._weight is not None:
            arguments["sample_weight"] = self._weight
            if self._weight.ndim == 3:
                own = self._chosen(models, problems % self._weight.shape[1])
                arguments["sample_weight"] = take_rows(self._weight, own)
        if not first.is_multinomial:
            arguments["classes"] = to_device(self._classes[problems], device)
            arguments["follows"] = to_device(problems % len(self._places), device)
        if "norms" in self._state:
            penalties = np.array([model.penalty for model in self.models], self._dtype)[models]
            shape = (-1, 1) if first.is_multinomial else (-1,)
            strength, l1_ratio = (column.reshape(shape) for column in penalties.T)
            arguments["alpha"] = to_device(strength, device)
            has_l1 = first.penalty[1] > 0
            arguments["l1_ratio"] = to_device(l1_ratio, device) if has_l1 else 0.0
        return arguments

    def _eta(self, models: np.ndarray, n_steps: int) -> Array:
        """Return the rates of the steps of this epoch, for the problems of some models."""
        rates = self._rates(n_steps)[models]
        return to_device(rates[:, None] if self._first.is_multinomial else rates, self._device)

    def _rates(self, n_steps: int, n_iter: int | None = None) -> np.ndarray:
        """Return the rate of each step, (M, n), or (M, 1) if it is constant.

        They are those of the epoch after `n_iter` others, or of the next one.
        """
        estimators = [model.estimator for model in self.models]
        if self._first.estimator.learning_rate == "constant":
            return _a_model_each(e.eta0 for e in estimators)
        done = (self.n_iter if n_iter is None else n_iter) * n_steps + np.arange(n_steps)
        return np.stack([e.eta0 / (e.t_ + done) ** e.power_t for e in estimators])

    def _judge(self, objective: np.ndarray, n_samples: int) -> None:
        """Count the epochs without improvement, and stop the problems that had too many."""
        estimators = [model.estimator for model in self.models]
        tol = _a_model_each(-np.inf if e.tol is None else e.tol for e in estimators)
        if self._first.estimator.early_stopping:
            self._count_shrinkage(n_samples)
            value = self._scores()
            worse = value < self._best + tol
            best = np.maximum(self._best, value)
        else:
            worse = objective > self._best - tol * n_samples
            best = np.minimum(self._best, objective)
        self._best = np.where(self._goes_on, best, self._best)
        self._waited = np.where(worse, self._waited + 1, 0)
        goes_on = self._goes_on & (
            self._waited < _a_model_each(e.n_iter_no_change for e in estimators)
        )
        if not np.array_equal(goes_on, self._goes_on):
            self._goes_on, self._constants = goes_on, {}

    def _count_shrinkage(self, n_steps: int) -> None:
        """Bring the scales of the models up to date, after an epoch with so many steps."""
        if "norms" not in self._state or self._first.is_multinomial:
            return
        alpha, l1_ratio = np.array([model.penalty for model in self.models]).T[:, :, None]
        kept = np.maximum(1 - (1 - l1_ratio) * self._rates(n_steps, self.n_iter - 1) * alpha, 0)
        kept = np.broadcast_to(kept.astype(self._dtype), (len(self.models), n_steps))
        self._scale = np.array([scale_after(*each) for each in zip(self._scale, kept, strict=True)])

    def _scores(self) -> np.ndarray:
        """Return the accuracy of each problem on the samples held out.

        As in scikit-learn, a problem of one class against the rest is scored with its weights
        divided by their scale, and with its intercept as it is.
        """
        first = self._first
        labels = first.labels[first.held_out]
        accuracies = []
        for model, scores in zip(self.models, self._held_out_scores(), strict=True):
            if first.is_multinomial:
                right = (scores.argmax(axis=1) == labels)[:, None]
            else:
                right = (scores > 0) == (labels[:, None] == self._classes)
            weight = model.sample_weight[first.held_out]
            accuracies.append(np.average(right, axis=0, weights=weight))
        return np.stack(accuracies)

    def _held_out_scores(self) -> Iterator[np.ndarray]:
        """Yield the scores of each model on the samples held out."""
        x, w, b = self._held_out_x, self._state["w"], to_host(self._state["b"])
        if isinstance(w, np.ndarray):
            no_bias = np.zeros(w.shape[1], w.dtype)
            scores: Any = (scores_of(x, own, no_bias) for own in w)
        else:
            scores = device_scores(x, w)
        for own, own_b, scale in zip(scores, b, self._scale, strict=True):
            yield own / scale + own_b  # in double precision


def _a_model_each(values: Iterable[float]) -> np.ndarray:
    """Return one number a model, as a column of shape (M, 1)."""
    return np.array(list(values), float)[:, None]
