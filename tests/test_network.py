"""Whole networks: gradients by finite differences, and stacks against their models one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_digits

from estimators import (
    Activation,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    LocallyConnected2D,
    MaxPool2D,
)
from estimators.layers.dense import Scores
from estimators.layers.layer import Mode
from estimators.shared.rows import SparseRows
from estimators.training.held_out import HeldOut
from estimators.training.loop import Data, train
from estimators.training.member import Member, TrainingState, dropout_streams
from estimators.training.network import Network
from estimators.training.objective import Objective
from estimators.training.optimizers import SOLVERS, STEPPED
from estimators.training.order import RowOrder
from estimators.training.settings import Settings

CHAINS = {
    "dense": ([Dense(5, "tanh"), Dense(4, "gelu")], (6,)),
    "conv": ([Conv2D(3, 3, stride=2, activation="silu"), Conv2D(2, (2, 3), padding=1)], (6, 5, 2)),
    "dilated": ([Conv2D(2, 2, dilation=2, padding="valid", activation="elu")], (6, 5, 1)),
    "local": ([LocallyConnected2D(3, 2, padding="valid", activation="tanh")], (4, 5, 2)),
    "max pool": ([Conv2D(3, activation="tanh"), MaxPool2D(2)], (5, 6, 1)),
    "avg pool": ([Conv2D(3, activation="gelu"), AvgPool2D(3, stride=2)], (5, 7, 1)),
    "pool first": ([AvgPool2D(2), MaxPool2D(2, stride=1)], (6, 6, 2)),
    "batch norm": ([Dense(5, "identity"), BatchNorm(), Activation("softplus")], (6,)),
    "batch norm of maps": ([Conv2D(3), BatchNorm(), Activation("tanh")], (4, 4, 2)),
    "dropout": ([Dense(9, "tanh"), Dropout(0.4), Dense(5)], (6,)),
    "softmax": ([Dense(5, "softmax"), Dense(5, "log_softmax")], (6,)),
}
OBJECTIVES = [
    Objective("log_loss", "softmax"),
    Objective("log_loss", "logistic"),
    Objective("squared_error", "softmax"),
    Objective("squared_error", "logistic"),
]


def objective_at(network, objective, flat, x, y, mode):
    """Loss of each model, and its gradient as a flat array."""
    flat = flat.copy()  # the running means move
    grads = np.full_like(flat, np.nan)
    parameters, gradients = network.views(flat), network.views(grads)
    for place in network.dropouts:
        rate = network.layers[place].rate
        parameters[place]["rate"] = np.full(len(flat), rate)
        parameters[place]["seed"] = np.arange(1, len(flat) + 1, dtype=np.uint64)
    z, backward = network.forward(parameters, x, mode)
    loss, dz = objective.value_and_gradient(z, y, mode.sample_weight)
    backward(dz, gradients)
    return loss, grads


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: f"{o.loss}-{o.output}")
@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_of_a_network(chain, objective, weighted):
    layers, shape = CHAINS[chain]
    rng = np.random.default_rng(0)
    network = Network([*layers, Scores(3)], shape)
    flat = np.stack([network.init(np.random.RandomState(m), np.float64) for m in range(2)])
    x = rng.standard_normal((1, 7, *shape))  # one batch for both models
    indicators = np.eye(3)[rng.integers(3, size=7)]
    y = np.stack([objective.targets(indicators, np.float64)] * 2)
    weight = rng.random((2, 7)) if weighted else None
    mode = Mode(training=True, sample_weight=weight, step=np.array([1, 1]))
    _, grads = objective_at(network, objective, flat, x, y, mode)
    learned = [s for s in network.slots if s.name not in ("mean", "variance")]
    for slot in learned:
        part = slice(slot.start, slot.start + int(np.prod(slot.shape)))
        direction = np.zeros_like(flat)
        direction[:, part] = rng.standard_normal(direction[:, part].shape)
        step = 1e-6
        up, down = (
            objective_at(network, objective, flat + sign * step * direction, x, y, mode)[0]
            for sign in (1, -1)
        )
        slope = (grads[:, part] * direction[:, part]).sum(axis=1)
        size = np.abs(grads[:, part] * direction[:, part]).sum(axis=1)
        np.testing.assert_allclose(
            slope, (up - down) / (2 * step), rtol=0, atol=1e-7 * (1 + size.max()), err_msg=slot.name
        )


def test_weights_lie_before_what_is_not_penalised():
    network = Network([Conv2D(3), BatchNorm(), Dense(5), Scores(2)], (4, 4, 1))
    ends = [s.start + int(np.prod(s.shape)) for s in network.slots]
    for slot, end in zip(network.slots, ends, strict=True):
        assert (slot.name == "w") == (end <= network.n_decayed)
    assert all(b.start >= end for end, b in zip(ends, network.slots[1:], strict=False))
    flat = network.init(np.random.RandomState(0), np.float32)
    parameters = [{n: a[0] for n, a in p.items()} for p in network.views(flat[None])]
    np.testing.assert_array_equal(network.pack(parameters, np.float32), flat)


def test_sparse_rows_are_dense_rows():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 5, 6)) * (rng.random((2, 5, 6)) < 0.4)
    network = Network([Dense(4, "tanh"), Scores(3)], (6,))
    flat = np.stack([network.init(np.random.RandomState(m), np.float64) for m in range(2)])
    csr = sp.csr_array(x.reshape(10, 6))
    y, objective = rng.integers(3, size=(2, 5)), OBJECTIVES[0]
    dense = objective_at(network, objective, flat, x, y, Mode(training=True))
    rows = SparseRows(csr.data, csr.indices, csr.indptr)
    sparse = objective_at(network, objective, flat, rows, y, Mode(training=True))
    np.testing.assert_allclose(sparse[0], dense[0], rtol=1e-12)
    used = np.isfinite(dense[1])
    np.testing.assert_allclose(sparse[1][used], dense[1][used], rtol=1e-10, atol=1e-12)


# Stacks ----------------------------------------------------------------------------------------

LAYERS = [Conv2D(3, activation="tanh"), MaxPool2D(2), Dense(9), Dropout(0.3), Dense(6, "identity"),
          BatchNorm(), Activation("relu"), Scores(10)]  # fmt: skip
X, Y = (a[:150] for a in load_digits(return_X_y=True))
IMAGES = (X / 16).reshape(-1, 8, 8, 1)
DIFFERENCES = [
    {},
    {"learning_rate_init": 0.02, "alpha": 0.1},
    {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-4, "momentum": 0.3},
    {"learning_rate": "one_cycle", "learning_rate_init": 0.05},
    {"learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 1.0},  # stops before the others
    {"shuffle": False, "learning_rate": "invscaling"},
]


def member(network, m, solver, dtype, *, n_rows=150, weighted=False):
    settings = Settings(solver=solver, batch_size=40, max_iter=6, **DIFFERENCES[m])
    rng = np.random.RandomState(m)
    state = TrainingState(network.init(rng, dtype))
    state.restart_optimizer(settings)
    rows = np.random.default_rng(m).permutation(150)[:n_rows]
    weight = np.random.default_rng(m).random(150) if weighted else None
    dropout = dropout_streams([0.1 * m], rng)
    order = RowOrder(rows, rng, settings.shuffle)
    return Member(settings, state, order, sample_weight=weight, dropout=dropout)


@pytest.mark.parametrize("solver", STEPPED)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_stack_is_its_models_one_by_one(solver, weighted, dtype):
    """To the bit: what a model learns does not depend on its neighbours."""
    network = Network(LAYERS, (8, 8, 1))
    data = Data(IMAGES.astype(dtype), Y)
    options = {"weighted": weighted}
    stack = [member(network, m, solver, dtype, **options) for m in range(len(DIFFERENCES))]
    train(network, OBJECTIVES[0], data, stack, 6)
    lengths = set()
    for m, together in enumerate(stack):
        alone = member(network, m, solver, dtype, **options)
        train(network, OBJECTIVES[0], data, [alone], 6)
        assert together.state.loss_curve == alone.state.loss_curve
        np.testing.assert_array_equal(together.state.params, alone.state.params)
        lengths.add(len(alone.state.loss_curve))
    # an adaptive rate falls where others give up
    assert len(lengths) > 1 or SOLVERS[solver].epoch_schedules


def test_folds_of_unequal_length_train_together():
    """The short ones are filled up with rows that weigh nothing."""
    network = Network(LAYERS, (8, 8, 1))
    data = Data(IMAGES, Y)
    sizes = [150, 149, 148]
    stack = [member(network, m, "adam", float, n_rows=n) for m, n in enumerate(sizes)]
    train(network, OBJECTIVES[0], data, stack, 4)
    for m, together in enumerate(stack):
        alone = member(network, m, "adam", float, n_rows=sizes[m])
        train(network, OBJECTIVES[0], data, [alone], 4)
        np.testing.assert_allclose(together.state.loss_curve, alone.state.loss_curve, rtol=1e-9)
        np.testing.assert_allclose(together.state.params, alone.state.params, rtol=1e-6, atol=1e-9)


def test_a_model_that_stops_by_its_score_leaves_the_others_as_they_are():
    network = Network(LAYERS, (8, 8, 1))
    data = Data(IMAGES, Y)

    def one(m):
        model = member(network, m, "adam", float)
        scores = iter([0.1, 0.5, 0.4, 0.3, 0.2, 0.1] if m == 1 else np.linspace(0, 1, 6))
        model.held_out = HeldOut(np.arange(2), Y[:2])
        model.held_out.accuracy = lambda p: next(scores)
        model.settings = replace(
            model.settings, early_stopping=True, n_iter_no_change=2 if m == 1 else 6
        )
        return model

    stack = [one(m) for m in range(3)]
    train(network, OBJECTIVES[0], data, stack, 6)
    for m, together in enumerate(stack):
        alone = one(m)
        train(network, OBJECTIVES[0], data, [alone], 6)
        assert together.state.n_iter == alone.state.n_iter == (5 if m == 1 else 6)
        np.testing.assert_array_equal(together.state.params, alone.state.params)
        best, expected = together.state.best_params, alone.state.best_params
        np.testing.assert_array_equal(best, expected)
        assert (best == together.state.params).all() == (m != 1)
