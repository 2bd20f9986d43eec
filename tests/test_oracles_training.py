"""The ops of a training, against scikit-learn, PyTorch and SciPy; and how random dropout is.

`CHECKS` says of each op what it is compared with, over several steps of a random stack of models.
"""

from __future__ import annotations

import contextlib
import io
import re
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

import _oracle_epochs as epochs
import _oracle_lbfgs as lbfgs
import _oracle_linear as linear
import cukernels.perceptron.perceptron
from cukernels.training.dropout import dropout
from test_oracles import ORACLES, RTOL, bodies, torch

STEPS = 5


def close(got, expected, dtype) -> None:
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=RTOL[dtype], atol=20 * RTOL[dtype])


def start(rng, dtype) -> tuple[np.ndarray, np.ndarray, int]:
    """Parameters (M, P), their gradients at every step, and how many of P the penalty concerns."""
    m, p = int(rng.integers(1, 4)), int(rng.choice([1, 7, 300, 17_000]))
    params = rng.standard_normal((m, p)).astype(dtype)
    grads = rng.standard_normal((STEPS, m, p)).astype(dtype)
    return params, grads, int(rng.integers(p + 1))


def rates(rng, models, dtype, **highest) -> dict[str, np.ndarray]:
    """Hyper-parameters of each model, exact in `dtype`."""
    return {
        name: (high * rng.uniform(0.05, 1, models)).astype(dtype) for name, high in highest.items()
    }


def train_by_sklearn(make, params, grads, decayed, hyper) -> np.ndarray:
    """Train each model alone with a scikit-learn optimizer that `make` makes of parameters."""
    trained = params.astype(float)
    for m, row in enumerate(trained):
        optimizer = make([row], m)
        for g in grads[:, m].astype(float):
            g[:decayed] += hyper["l2"][m] * row[:decayed]
            optimizer.update_params([row], [g])
    return trained


def train_by_torch(make, params, grads, decayed, hyper) -> np.ndarray:
    """The same with a PyTorch optimizer, which decays groups of parameters by itself."""
    trained = []
    for m, row in enumerate(params):
        parts = [torch.tensor(part, dtype=torch.float64) for part in np.split(row, [decayed])]
        decays = (float(hyper["l2"][m]), 0.0)
        groups = [{"params": [p], "weight_decay": d} for p, d in zip(parts, decays, strict=True)]
        optimizer = make(groups, m)
        for g in grads[:, m].astype(float):
            for part, slope in zip(parts, np.split(g, [decayed]), strict=True):
                part.grad = torch.from_numpy(slope)
            optimizer.step()
        trained.append(torch.cat(parts).numpy())
    return np.array(trained)


def sgd(library, body, rng, dtype) -> None:
    params, grads, decayed = start(rng, dtype)
    hyper = rates(rng, len(params), dtype, learning_rate=0.5, momentum=0.95, l2=0.1)
    nesterov = bool(rng.integers(2))
    rate, momentum = hyper["learning_rate"].astype(float), hyper["momentum"].astype(float)

    def sklearn(rows, m):
        return SGDOptimizer(rows, rate[m], momentum=momentum[m], nesterov=nesterov)

    def pytorch(groups, m):
        return torch.optim.SGD(groups, rate[m], momentum=momentum[m], nesterov=nesterov)

    if library == "sklearn":
        expected = train_by_sklearn(sklearn, params, grads, decayed, hyper)
    else:
        expected = train_by_torch(pytorch, params, grads, decayed, hyper)
    velocity = np.zeros_like(params)
    for g in grads:
        body(params, g, velocity, **hyper, n_decayed=decayed, nesterov=nesterov)
    close(params, expected, dtype)


def adam(library, body, rng, dtype) -> None:
    params, grads, decayed = start(rng, dtype)
    models = len(params)
    hyper = rates(rng, models, dtype, learning_rate=0.1, beta_1=0.95, beta_2=0.999, l2=0.1)
    # large enough that its place in the formula shows
    hyper |= rates(rng, models, dtype, epsilon=0.1)
    rate, b1, b2, tiny = (
        hyper[name].astype(float) for name in ("learning_rate", "beta_1", "beta_2", "epsilon")
    )

    def sklearn(rows, m):
        return AdamOptimizer(rows, rate[m], beta_1=b1[m], beta_2=b2[m], epsilon=tiny[m])

    def pytorch(groups, m):
        return torch.optim.Adam(groups, rate[m], betas=(b1[m], b2[m]), eps=tiny[m])

    if library == "sklearn":
        expected = train_by_sklearn(sklearn, params, grads, decayed, hyper)
    else:
        expected = train_by_torch(pytorch, params, grads, decayed, hyper)
    first, second = np.zeros_like(params), np.zeros_like(params)
    for t, g in enumerate(grads, 1):
        now = dict(hyper)
        if library == "torch":  # which adds epsilon after the correction of the bias, not before
            now["epsilon"] = tiny * np.sqrt(1 - b2**t)
        body(params, g, first, second, step=np.full(models, t), n_decayed=decayed, **now)
    close(params, expected, dtype)


def adamw(library, body, rng, dtype) -> None:
    """Against PyTorch, or scikit-learn's Adam and the decay beside it."""
    params, grads, decayed = start(rng, dtype)
    models = len(params)
    hyper = rates(rng, models, dtype, learning_rate=0.1, beta_1=0.95, beta_2=0.999, epsilon=0.1)
    hyper |= rates(rng, models, dtype, weight_decay=0.5)
    rate, b1, b2, tiny, decay = (values.astype(float) for values in hyper.values())

    def pytorch(groups, m):
        return torch.optim.AdamW(groups, rate[m], betas=(b1[m], b2[m]), eps=tiny[m])

    if library == "torch":
        expected = train_by_torch(pytorch, params, grads, decayed, {"l2": hyper["weight_decay"]})
    else:
        expected = params.astype(float)
        for m, row in enumerate(expected):
            optimizer = AdamOptimizer([row], rate[m], beta_1=b1[m], beta_2=b2[m])
            for t, g in enumerate(grads[:, m].astype(float), 1):
                optimizer.epsilon = tiny[m] * np.sqrt(1 - b2[m] ** t)  # it corrects the bias later
                lost = rate[m] * decay[m] * row[:decayed]
                optimizer.update_params([row], [g])
                row[:decayed] -= lost
    first, second = np.zeros_like(params), np.zeros_like(params)
    for t, g in enumerate(grads, 1):
        body(params, g, first, second, step=np.full(models, t), n_decayed=decayed, **hyper)
    close(params, expected, dtype)


def rmsprop(library, body, rng, dtype) -> None:
    """Against PyTorch, or scikit-learn's Adam with no mean of gradients and no correction."""
    params, grads, decayed = start(rng, dtype)
    hyper = rates(rng, len(params), dtype, learning_rate=0.1, beta_2=0.999, epsilon=0.1, l2=0.1)
    rate, b2, tiny = (hyper[n].astype(float) for n in ("learning_rate", "beta_2", "epsilon"))

    class Uncorrected(AdamOptimizer):
        def update_params(self, params, grads):
            self.learning_rate_init = self.start / np.sqrt(1 - self.beta_2 ** (self.t + 1))
            super().update_params(params, grads)

    def sklearn(rows, m):
        optimizer = Uncorrected(rows, beta_1=0.0, beta_2=b2[m], epsilon=tiny[m])
        optimizer.start = rate[m]
        return optimizer

    def pytorch(groups, m):
        return torch.optim.RMSprop(groups, rate[m], alpha=b2[m], eps=tiny[m])

    if library == "sklearn":
        expected = train_by_sklearn(sklearn, params, grads, decayed, hyper)
    else:
        expected = train_by_torch(pytorch, params, grads, decayed, hyper)
    second = np.zeros_like(params)
    for g in grads:
        body(params, g, second, n_decayed=decayed, **hyper)
    close(params, expected, dtype)


class Problem:
    """Samples, and a stack of M models with K problems each, for a few sweeps.

    Half of them are made of whole numbers, so that scores tie exactly, and start at zero.
    """

    def __init__(self, rng, dtype, multinomial):
        n, d, labels, models = (
            int(rng.integers(*span)) for span in ((20, 120), (1, 8), (2, 5), (1, 3))
        )
        self.whole = bool(rng.integers(2))
        r = partial(rng.integers, -2, 3) if self.whole else rng.standard_normal
        self.x = (r(size=(n, d)) * (rng.random((n, d)) < 0.6)).astype(dtype)
        self.y = np.concatenate([np.arange(labels), rng.integers(labels, size=n - labels)])
        self.labels = np.arange(labels)
        # every label, the rest at random: some twice, some never
        self.order = rng.permutation(np.concatenate([self.labels, rng.integers(n, size=n)]))
        self.weight = rng.integers(3, size=n).astype(dtype) if rng.random() < 0.5 else None
        problems = 1 if labels == 2 and not multinomial else labels
        self.classes = None if multinomial else self.labels[-problems:]
        self.w, self.b = (r(size=(models, problems, *e)).astype(dtype) for e in ((d,), ()))
        if self.whole:
            self.w[...], self.b[...] = 0, 0
        self.eta = np.ones(models) if self.whole else rng.uniform(0.1, 1, models)
        self.power = 0.0 if self.whole else float(rng.choice([0, 0.5]))
        penalised = not self.whole and rng.random() < 0.7
        self.alpha = (penalised * rng.uniform(0, 0.05, models)).astype(dtype)
        ratio = rng.choice([0, 0.3, 1])
        self.l1_ratio = 0.0 if multinomial else np.asarray(ratio, dtype)
        self.epochs = int(rng.integers(1, 4))
        self.with_bias = rng.random() < 0.8

    def rate(self, epoch) -> np.ndarray:
        """The rate of each model and step, (M, 1, n): it falls with the number of the step."""
        steps = 1 + epoch * len(self.order) + np.arange(len(self.order))
        return self.eta[:, None, None] / steps**self.power

    def visited(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Samples, labels and weights in float64, as they are visited."""
        weight = np.ones(len(self.x)) if self.weight is None else self.weight.astype(float)
        return self.x[self.order].astype(float), self.y[self.order], weight[self.order]

    def sweep(self, body, sparse, bias_rate) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights, biases and the objective of every epoch, (M, K or 1, epochs), by an op."""
        w, b = self.w.copy(), self.b.copy()
        csr = sp.csr_array(self.x)
        samples = (csr.data, csr.indices, csr.indptr) if sparse else (self.x,)
        norms = np.stack([(w * w).sum(-1), np.abs(w).sum(-1)], axis=-1)
        state = {"due": np.zeros_like(b), "paid": np.zeros_like(w), "norms": norms}
        penalty = {"alpha": self.alpha[:, None], "l1_ratio": self.l1_ratio}
        options = {"order": self.order, "sample_weight": self.weight, "classes": self.classes}
        objective = [
            body(
                *samples, self.y, w, b, self.rate(epoch).astype(w.dtype),
                bias_rate=bias_rate, **options, **penalty, **state,
            )
            for epoch in range(self.epochs)
        ]  # fmt: skip
        return w, b, np.stack(objective, axis=-1)


def perceptron(sparse, body, rng, dtype) -> None:
    """Independent problems, against what scikit-learn's Perceptron is made of."""
    p = Problem(rng, dtype, multinomial=False)
    x, y, weight = p.visited()
    # On sparse data scikit-learn learns biases at a hundredth of the rate: they round as there.
    bias_rate = (0.01 if sparse else 1.0) * p.with_bias
    w, b, objective = p.sweep(body, sparse, bias_rate)
    for m in range(len(w)):
        model = SGDClassifier(
            loss="perceptron", penalty="elasticnet", alpha=p.alpha[m], l1_ratio=float(p.l1_ratio),
            learning_rate="invscaling", eta0=p.eta[m], power_t=p.power, max_iter=p.epochs,
            fit_intercept=p.with_bias, shuffle=False, tol=None, verbose=1,
        )  # fmt: skip
        printed, coef, intercept = io.StringIO(), p.w[m].astype(float), p.b[m].astype(float)
        with contextlib.redirect_stdout(printed):  # the objective is only printed
            model.fit(sp.csr_matrix(x) if sparse else x, y, coef, intercept, weight)
        close(w[m], model.coef_, dtype)
        close(b[m], model.intercept_ if p.with_bias else p.b[m], dtype)
        if sparse and p.alpha[m]:
            continue  # its penalty counts only the features that the last mistake has
        means = np.array(re.findall(r"Objective: (\S+)", printed.getvalue()), float)
        expected = len(x) * means.reshape(-1, p.epochs)
        np.testing.assert_allclose(objective[m], expected, rtol=RTOL[dtype], atol=1e-6 * len(x))


def multinomial_perceptron(sparse, body, rng, dtype) -> None:
    """One problem of K classes, against PyTorch's gradient of the loss of each sample."""
    p = Problem(rng, dtype, multinomial=True)
    bias_rate = float(rng.choice([0.25, 1])) * p.with_bias
    w, b, objective = p.sweep(body, sparse, bias_rate)
    x, y, weight = (torch.from_numpy(a) for a in p.visited())
    for m, alpha in enumerate(p.alpha.astype(float)):
        w_m, b_m = (torch.tensor(a[m], dtype=torch.float64, requires_grad=True) for a in (p.w, p.b))
        groups = [{"params": [w_m], "weight_decay": alpha}, {"params": [b_m]}]
        optimizer = torch.optim.SGD(groups, lr=0)
        for epoch in range(p.epochs):
            total = 0.0
            for i, rate in enumerate(p.rate(epoch)[m, 0]):
                scores = w_m @ x[i] + b_m
                loss = scores.max(0).values - scores[y[i]]
                total += loss.item() + 0.5 * alpha * w_m.square().sum().item()
                optimizer.zero_grad()
                (weight[i] * loss).backward()
                optimizer.param_groups[0]["lr"] = rate
                optimizer.param_groups[1]["lr"] = rate * bias_rate
                optimizer.step()
            close(objective[m, :, epoch], [total], dtype)
        close(w[m], w_m.detach(), dtype)
        close(b[m], b_m.detach(), dtype)


CHECKS = {
    "sgd": (partial(sgd, "sklearn"), partial(sgd, "torch")),
    "adam": (partial(adam, "sklearn"), partial(adam, "torch")),
    "adamw": (partial(adamw, "sklearn"), partial(adamw, "torch")),
    "rmsprop": (partial(rmsprop, "sklearn"), partial(rmsprop, "torch")),
    "add_loss": (partial(epochs.add_loss, False), partial(epochs.add_loss, True)),
    "lose_overflowed": (
        partial(epochs.lose_overflowed, "torch"),
        partial(epochs.lose_overflowed, "plain"),
    ),
    "running_mean": (
        partial(epochs.running_mean, "batch_norm"),
        partial(epochs.running_mean, "lerp"),
    ),
    "shift_and_flip": (
        partial(epochs.shift_and_flip, "scipy"),
        partial(epochs.shift_and_flip, "torch"),
    ),
    "take_step": (partial(epochs.take_step, "loader"), partial(epochs.take_step, "torch")),
    "right_rows": (partial(epochs.right_rows, "sklearn"), partial(epochs.right_rows, "torch")),
    "perceptron_sweep": (partial(perceptron, False), partial(multinomial_perceptron, False)),
    "csr_perceptron_sweep": (partial(perceptron, True), partial(multinomial_perceptron, True)),
    "scatter_rows": (partial(linear.scatter_rows, "torch"), partial(linear.scatter_rows, "plain")),
    "l2_penalty": (partial(linear.l2_penalty, "torch"), partial(linear.l2_penalty, "complex")),
    "linear_weights": (
        partial(linear.linear_weights, "torch"),
        partial(linear.linear_weights, "sklearn"),
    ),
    "linear_gradient": (
        partial(linear.linear_gradient, "torch"),
        partial(linear.linear_gradient, "sklearn"),
    ),
    "linear_loss": (partial(linear.linear_loss, "torch"), partial(linear.linear_loss, "complex")),
    "linear_curvature": (
        partial(linear.linear_curvature, "torch"),
        partial(linear.linear_curvature, "complex"),
    ),
    "lbfgs_step": (partial(lbfgs.lbfgs_step, "two loops"), partial(lbfgs.lbfgs_step, "scipy")),
    "lbfgs_products": (
        partial(lbfgs.lbfgs_products, "two loops"),
        partial(lbfgs.lbfgs_products, "scipy"),
    ),
}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("name", CHECKS)
def test_training(name, which, dtype, seed):
    for body in bodies(cukernels.OPS[name]):
        CHECKS[name][which](body, np.random.default_rng(seed), dtype)


def test_every_op_has_an_oracle():
    forwards = {name for name, op in cukernels.OPS.items() if not op.is_backward}
    compared = set(ORACLES) | set(CHECKS)
    assert forwards - compared == set(), "neither in ORACLES of test_oracles.py nor in CHECKS"
    assert compared - forwards == set(), "no such op"
    assert not set(ORACLES) & set(CHECKS)


def mask(rate, seed, step, size=100_000) -> np.ndarray:
    stack = np.broadcast_shapes(np.shape(rate), np.shape(seed), np.shape(step))
    rate, seed, step = (np.broadcast_to(a, stack) for a in (rate, seed, step))
    return dropout(np.ones((*stack, size)), rate, seed.astype(np.uint64), step)[1]


def test_dropout_keeps_its_share():
    for rate in (0.0, 0.1, 0.5, 0.99):
        keep = mask(rate, np.arange(5), 3)
        spread = np.sqrt(rate * (1 - rate) / keep.shape[-1])
        assert np.all(np.abs(keep.mean(axis=-1) - (1 - rate)) <= 5 * spread)


def test_dropout_masks_are_independent():
    """Seeds, also neighbours and large ones, and steps: no two masks agree more than by chance."""
    seeds = np.array([0, 1, 2**32, 2**63, 2**63 + 1, 2**64 - 1], np.uint64)
    keep = mask(0.5, seeds[:, None], np.array([0, 1, 1000])).reshape(18, -1)
    correlation = np.corrcoef(keep) - np.eye(18)
    assert np.abs(correlation).max() < 5 / np.sqrt(keep.shape[-1])
    lags = [np.corrcoef(keep[0, :-lag], keep[0, lag:])[0, 1] for lag in (1, 2, 4, 8)]
    assert np.abs(lags).max() < 5 / np.sqrt(keep.shape[-1])


def test_dropout_of_a_model_does_not_depend_on_its_stack():
    rate, seed, step = np.array([0.2, 0.5, 0.7]), np.array([5, 6, 7]), np.array([1, 1, 9])
    together = mask(rate, seed, step, 1001)
    for m in range(3):
        np.testing.assert_array_equal(together[m], mask(rate[m], seed[m], step[m], 1001))
