"""Whole trainings of the networks, step for step as PyTorch's optimizers take them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from _requirements import require
from estimators import MLPClassifier
from estimators.training.optimizers import SOLVERS, STEPPED
from estimators.training.schedules import epoch_rates

torch = require("torch", "oracle")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = (a[:110] for a in load_digits(return_X_y=True))
X = X / 16
EPOCHS, BATCH, STEPS, RATE = 4, 25, 5, 0.02  # of the last batch there are 10 rows
B1, B2, EPSILON = 0.8, 0.95, 1e-4
TINY = 1e-150  # an epsilon that no place in a formula tells apart

# The optimizer of groups of parameters, each with its `weight_decay`, and the settings that it is.
THEIRS = {
    "adam": (
        lambda groups: torch.optim.Adam(groups, betas=(B1, B2), eps=TINY),
        {"beta_1": B1, "beta_2": B2, "epsilon": TINY},
    ),
    "adamw": (
        lambda groups: torch.optim.AdamW(groups, betas=(B1, B2), eps=EPSILON),
        {"beta_1": B1, "beta_2": B2, "epsilon": EPSILON},
    ),
    "rmsprop": (
        lambda groups: torch.optim.RMSprop(groups, alpha=B2, eps=EPSILON),
        {"beta_2": B2, "epsilon": EPSILON},
    ),
    "sgd": (
        lambda groups: torch.optim.SGD(groups, lr=0.0, momentum=B1, nesterov=True),
        {"momentum": B1},
    ),
}


def trained_by_torch(name, start, alpha, learning_rate):
    """Parameters, and the mean loss of each epoch."""
    arrays = [torch.tensor(a, requires_grad=True) for a in start]
    coefs, biases = arrays[: len(arrays) // 2], arrays[len(arrays) // 2 :]
    weights = {"params": coefs, "weight_decay": 0.0}
    optimizer = THEIRS[name][0]([weights, {"params": biases, "weight_decay": 0.0}])
    is_penalty, curve = SOLVERS[name].penalises, []
    for epoch in range(EPOCHS):
        rates = epoch_rates(learning_rate, RATE, STEPS * epoch, STEPS, STEPS * EPOCHS)
        total = 0.0
        for i, rate in enumerate(rates):
            x, y = (torch.from_numpy(a[BATCH * i : BATCH * (i + 1)]) for a in (X, Y))
            for w, b in zip(coefs, biases, strict=True):
                x = (torch.tanh(x) if w is not coefs[0] else x) @ w + b
            loss = torch.nn.functional.cross_entropy(x, y)
            # a penalty is that of a batch, as scikit-learn has it
            optimizer.param_groups[0]["weight_decay"] = alpha / len(y) if is_penalty else alpha
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            loss.backward()
            squares = sum(w.detach().square().sum().item() for w in coefs)
            total += loss.item() * len(y) + is_penalty * alpha / 2 * squares
            optimizer.step()
        curve.append(total / len(Y))
    return [a.detach().numpy() for a in arrays], curve


# The velocity of our "sgd", as of scikit-learn's, holds the rates of its steps; PyTorch's does not.
CASES = [(name, "constant") for name in THEIRS]
CASES += [(name, "one_cycle") for name in THEIRS if name != "sgd"]


def test_every_solver_has_an_oracle():
    assert set(STEPPED) - set(THEIRS) == set(), "not in THEIRS, which says what PyTorch calls it"
    assert set(THEIRS) - set(STEPPED) == set(), "no such solver"


@pytest.mark.parametrize(("name", "learning_rate"), CASES)
@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_a_training_is_that_of_pytorch(name, alpha, learning_rate):
    """Weights and loss curve; `alpha` is a penalty, or what PyTorch's AdamW calls weight_decay."""
    rng = np.random.default_rng(0)
    sizes = [(64, 11), (11, 7), (7, 10)]
    start = [rng.standard_normal(shape) / 4 for shape in sizes]
    start += [rng.standard_normal(n) / 4 for _, n in sizes]
    clf = MLPClassifier.from_weights(
        start[:3], start[3:], classes=range(10), activation="tanh", dtype="float64", solver=name,
        alpha=alpha, batch_size=BATCH, shuffle=False, learning_rate=learning_rate, tol=0,
        learning_rate_init=RATE, max_iter=EPOCHS, warm_start=True, **THEIRS[name][1],
    )  # fmt: skip
    clf.fit(X, Y)
    arrays, curve = trained_by_torch(name, start, alpha, learning_rate)
    np.testing.assert_allclose(clf.loss_curve_, curve, rtol=1e-12)
    for own, theirs in zip(clf.coefs_ + clf.intercepts_, arrays, strict=True):
        np.testing.assert_allclose(own, theirs, rtol=1e-9, atol=1e-12)
