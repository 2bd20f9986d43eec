"""Epochs of the perceptron's rule for a stack of models, and when each problem stops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from cukernels import csr_perceptron_sweep, perceptron_sweep
from cukernels.runtime import Array, namespace, to_device, to_host
from estimators.linear.perceptron_model import SweptModel
from estimators.linear.perceptron_order import order_after
from estimators.linear.perceptron_scale import scales_after
from estimators.linear.perceptron_state import (
    PerceptronStage,
    initial_state,
    put_rows,
    take_rows,
)
from estimators.linear.scores import device_scores, host_scores
from estimators.shared.rows import SparseRows, placed_samples
from estimators.shared.samples import scattered
from estimators.shared.scaling import OVERFLOWED

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
        resumed: PerceptronStage | None = first.resumed  # a model that goes on is alone
        self.n_iter = 0 if resumed is None else resumed.n_iter
        device, dtype = self._device, self._dtype = first.device, first.w.dtype
        self._x = first.samples.keep(
            device, ("perceptron's", dtype), lambda: placed_samples(first.X, dtype, device)
        )
        labels = scattered(first.labels, first.rows, first.X.shape[0])
        self._y = to_device(labels, device)
        held_out = first.X[self._rows(first.held_out)]
        self._held_out_x = placed_samples(held_out, dtype, device)
        self._is_held_out = np.zeros(len(first.labels), bool)
        self._is_held_out[first.held_out] = True
        # a row an order: the places of the samples in the order of this epoch
        self._places = order_after(first.permutations, len(first.labels), self.n_iter)

        n_rows = len(first.w)
        self._classes = np.arange(1, 2) if n_rows == 1 else np.arange(n_rows)
        shape = (len(models), 1 if first.is_multinomial else n_rows)
        self._goes_on = np.ones(shape, bool)
        self._best = np.full(shape, -np.inf if first.estimator.early_stopping else np.inf)
        self._waited = np.zeros(shape, int)  # epochs without improvement
        self._scale = np.ones(len(models))  # of each model; see `perceptron_scale`
        state = initial_state(models)
        if resumed is not None:
            self._goes_on, self._best = resumed.goes_on[None], resumed.best[None]
            self._waited = resumed.waited[None]
            state = {name: a[None] for name, a in resumed.state.items()}
        self._state = {name: to_device(a, device) for name, a in state.items()}
        self._weight = self._update_weights()
        # what a sweep takes besides state and order, for the problems that go on
        self._constants: dict[str, Any] = {}
        if resumed is not None:
            for n_iter in range(self.n_iter if first.estimator.early_stopping else 0):
                self._count_shrinkage(len(first.labels) - len(first.held_out), n_iter)
            self._go_on(self._are_unfinished())

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
            accuracies = self._judge(objective, order.shape[1])
        for model, is_well in zip(self.models, is_finite, strict=True):
            if not is_well:
                model.error = ValueError(OVERFLOWED.format("epoch", self.n_iter))
        stays = self._are_unfinished() & is_finite
        for m in np.flatnonzero(is_finite).tolist():
            if self.models[m].callbacks is not None:
                loss, score = float(losses[m]), None if accuracies is None else accuracies[m]
                stays[m] &= not self._tell(m, loss, score, order.shape[1], is_last=not stays[m])
        self._go_on(stays)
        return losses[is_finite].tolist()

    def _are_unfinished(self) -> np.ndarray:
        """Return which models have problems that go on, and epochs left."""
        epochs = np.array([model.epochs for model in self.models])
        return self._goes_on.any(axis=1) & (self.n_iter < epochs)

    def _go_on(self, stays: np.ndarray) -> None:
        """Let the other models take what they learned and leave."""
        if not stays.all():
            self.save(np.flatnonzero(~stays))
            self._keep(np.flatnonzero(stays))

    def _tell(
        self, m: int, loss: float, score: float | None, n_steps: int, *, is_last: bool
    ) -> bool:
        """Tell the callbacks of a model; return whether it is to end here."""
        model, e = self.models[m], self.models[m].estimator
        rate = e.eta0
        if e.learning_rate != "constant":
            rate /= (e.t_ + max(self.n_iter * n_steps - 1, 0)) ** e.power_t
        info = model.callbacks.info(self.n_iter, loss, score, rate)
        # what `partial_fit` has learned is gone on from by the estimator itself
        stage = None if model.incremental else partial(self._stage, m)
        return model.tell(info, (partial(self._weights_of, m), self.n_iter), stage, is_last=is_last)

    def _stage(self, m: int) -> PerceptronStage:
        """Return how far a model has come."""
        one, model = np.array([m]), self.models[m]
        return PerceptronStage(
            {name: to_host(take_rows(a, one))[0] for name, a in self._state.items()},
            self._goes_on[m],
            self._best[m],
            self._waited[m],
            model.seeds,
            model.held_out,
            self.n_iter,
        )

    def _weights_of(self, m: int) -> list[np.ndarray]:
        """Return copies of the weights and of the intercepts of a model."""
        one = np.array([m])
        return [to_host(take_rows(self._state[name], one))[0] for name in ("w", "b")]

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
        """Return the rates of the epoch after `n_iter` others or the next, (M, n) or (M, 1)."""
        estimators = [model.estimator for model in self.models]
        if self._first.estimator.learning_rate == "constant":
            return _a_model_each(e.eta0 for e in estimators)
        done = (self.n_iter if n_iter is None else n_iter) * n_steps + np.arange(n_steps)
        return np.stack([e.eta0 / (e.t_ + done) ** e.power_t for e in estimators])

    def _judge(self, objective: np.ndarray, n_samples: int) -> list[float] | None:
        """Count the epochs without improvement, and stop the problems that had too many.

        Returns the accuracy of each model on the samples held out, if there are any.
        """
        estimators = [model.estimator for model in self.models]
        tol = _a_model_each(-np.inf if e.tol is None else e.tol for e in estimators)
        accuracies = None
        if self._first.estimator.early_stopping:
            self._count_shrinkage(n_samples, self.n_iter - 1)
            value, accuracies = self._scores()
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
        return accuracies

    def _count_shrinkage(self, n_steps: int, n_iter: int) -> None:
        """Bring the scales of the models up to date, after the epoch that follows `n_iter`."""
        if "norms" in self._state and not self._first.is_multinomial:
            penalties = [model.penalty for model in self.models]
            rates = np.broadcast_to(self._rates(n_steps, n_iter), (len(self.models), n_steps))
            self._scale = scales_after(self._scale, penalties, rates, self._dtype)

    def _scores(self) -> tuple[np.ndarray, list[float]]:
        """Return the accuracies of each problem, and of each model, on the samples held out.

        As in scikit-learn, a problem of one class against the rest is scored with its weights
        divided by their scale, and with its intercept as it is.
        """
        first = self._first
        labels = first.labels[first.held_out]
        of_problems, of_models = [], []
        held_out = self._held_out_products(), to_host(self._state["b"]), self._scale
        for model, products, b, scale in zip(self.models, *held_out, strict=True):
            scores = products + b  # in double precision
            if first.is_multinomial:
                right = (scores.argmax(axis=1) == labels)[:, None]
            else:
                right = (products / scale + b > 0) == (labels[:, None] == self._classes)
            weight = model.sample_weight[first.held_out]
            of_problems.append(np.average(right, axis=0, weights=weight))
            if right.shape[1] > 1 and model.callbacks is not None:
                right = (scores.argmax(axis=1) == labels)[:, None]
            of_models.append(float(np.average(right[:, 0], weights=weight)))
        return np.stack(of_problems), of_models

    def _held_out_products(self) -> Iterator[np.ndarray]:
        """Yield the products of the weights of each model and the samples held out."""
        x, w = self._held_out_x, self._state["w"]
        if not isinstance(w, np.ndarray):
            yield from device_scores(x, w)
            return
        no_bias = np.zeros(w.shape[1], w.dtype)
        for own in w:
            yield host_scores(x, own, no_bias)


def _a_model_each(values: Iterable[float]) -> np.ndarray:
    """Return one number a model, as a column of shape (M, 1)."""
    return np.array(list(values), float)[:, None]
