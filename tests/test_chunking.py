"""A training step in groups and chunks: the same gradients, and the same bits in any grouping."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import scipy.sparse as sp

from estimators import BatchNorm, Conv2D, Dense, Dropout, LocallyConnected2D, MaxPool2D
from estimators.layers.dense import Scores
from estimators.training import chunking
from estimators.training.chunking import Chunking, rows_at_once
from estimators.training.data import Data
from estimators.training.loop import train
from estimators.training.member import Member, TrainingState, dropout_streams
from estimators.training.network import Network
from estimators.training.objective import Objective
from estimators.training.order import RowOrder
from estimators.training.settings import Settings
from estimators.training.stack import ModelGroup

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(90, 6, 6, 2))
LABELS = RNG.integers(0, 3, 90)
NETWORKS = {
    "dense": Network([Dense(8), Scores(3)], (6, 6, 2)),
    "convolution": Network([Conv2D(4, 3), MaxPool2D(2), Scores(3)], (6, 6, 2)),
    "local": Network([LocallyConnected2D(3, 3), Scores(3)], (6, 6, 2)),
    "dropout": Network([Dense(8), Dropout(0.5), Scores(3)], (6, 6, 2)),
    "batch norm": Network([Conv2D(4, 3), BatchNorm(), Scores(3)], (6, 6, 2)),
}
OBJECTIVES = [Objective("log_loss", "softmax"), Objective("squared_error", "softmax")]


def use_threads(monkeypatch, n: int) -> None:
    """Let there be so many threads, whatever the machine has."""
    for user in (
        *("estimators.training.chunking", "estimators.training.loop", "estimators.training.stack"),
        "cukernels.runtime.workers",
    ):
        monkeypatch.setattr(f"{user}.threads", lambda: n)


def members(network, n_models, weighted=False, solver="adam", batch_size=25):
    models = []
    for m in range(n_models):
        rng = np.random.RandomState(m)
        settings = Settings(solver=solver, batch_size=batch_size, learning_rate_init=0.01 * (1 + m))
        state = TrainingState(network.init(rng, np.float64))
        state.restart_optimizer(settings)
        streams = dropout_streams([0.5], rng) if network.dropouts else []
        weight = RNG.uniform(0, 2, 90) if weighted else None
        order = RowOrder(np.arange(80 + m % 3), rng)
        models.append(Member(settings, state, order, sample_weight=weight, dropout=streams))
    return models


def trained(network, n_models=7, objective=OBJECTIVES[0], **options):
    """Parameters and losses of models after two epochs."""
    global RNG
    RNG = np.random.default_rng(1)
    models = members(network, n_models, **options)
    targets = objective.targets(np.eye(3)[LABELS], np.float64)
    train(network, objective, Data(IMAGES, targets), models, 2)
    return np.stack([m.state.params for m in models]), [m.state.loss_curve for m in models]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("least_work", [1e12, 1.0])
def test_the_groups_change_no_bit(monkeypatch, name, least_work):
    monkeypatch.setattr(chunking, "_LEAST_WORK", least_work)
    monkeypatch.setattr(chunking, "_LEAST_WORK_OF_ROWS", least_work)
    results = []
    for cache, threads in ((1, 1), (1, 2), (1, 3), (2**30, 1), (2**30, 2), (2**16, 3)):
        monkeypatch.setattr(chunking, "_CACHE", cache)
        use_threads(monkeypatch, threads)
        results.append(trained(NETWORKS[name]))
    for params, losses in results[1:]:
        np.testing.assert_array_equal(params, results[0][0])
        assert losses == results[0][1]


@pytest.mark.parametrize("name", ["dense", "convolution", "local"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_chunks_of_rows_add_up_to_the_gradient(monkeypatch, name, weighted, solver, objective):
    options = {"objective": objective, "weighted": weighted, "solver": solver}
    monkeypatch.setattr(chunking, "_LEAST_WORK_OF_ROWS", 1e12)
    whole, losses = trained(NETWORKS[name], **options)
    results = []
    for n_rows in (13, 7, 3):
        monkeypatch.setattr(Chunking, "of", lambda *_, n=n_rows: Chunking(2, 1, n, -(-25 // n)))
        params, own = trained(NETWORKS[name], **options)
        np.testing.assert_allclose(params, whole, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(own, losses, rtol=1e-10)
        results.append(params)
    assert (results[0] != whole).any()  # the sums did run in another order


def test_a_model_has_the_same_chunks_alone_and_in_a_stack(monkeypatch):
    monkeypatch.setattr(chunking, "_LEAST_WORK_OF_ROWS", 1.0)
    monkeypatch.setattr(chunking, "_SUMMED", 1.0)
    monkeypatch.setattr(chunking, "_ROWS", 4)
    network = Network([LocallyConnected2D(4, 3), Scores(3)], (6, 6, 2))
    rule = Chunking.of(network, members(network, 1, batch_size=24), Data(IMAGES, LABELS))
    assert rule.most_chunks > 2
    # in the last step the first model has 8 rows, and others one or two more
    assert len(rule.chunks(8)) < len(rule.chunks(10))
    together, _ = trained(network, 5, batch_size=24)
    alone, _ = trained(network, 1, batch_size=24)
    np.testing.assert_array_equal(together[0], alone[0])


@pytest.mark.parametrize("name", ["dense", "local"])
def test_rows_of_a_chunk(monkeypatch, name):
    monkeypatch.setattr(chunking, "_LEAST_WORK_OF_ROWS", 2e4)
    network = NETWORKS[name]
    least = max(16, 2e4 / network.operations, 192 * network.size / network.operations)
    for batch_size in range(1, 400):
        at_once = rows_at_once(network, batch_size)
        chunks = -(-batch_size // at_once)
        assert chunks == 1 or (at_once % 16 == 0 and at_once >= least)
        assert (chunks == 1) == (batch_size < 2 * int(least))
    assert rows_at_once(network, 4 * 16 * -(-int(least) // 16)) % 16 == 0


def test_the_folds_of_a_small_set_have_the_same_chunks():
    """One row more or less moves no boundary, so that a stack sums as each model would alone."""
    wide = Network([Dense(300), Scores(10)], (784,))
    assert {rows_at_once(wide, n) for n in range(194, 225)} == {112}


@pytest.mark.parametrize("name", ["dropout", "batch norm", "convolution"])
def test_layers_that_mix_rows_or_share_them_out_keep_them_together(monkeypatch, name):
    monkeypatch.setattr(chunking, "_LEAST_WORK_OF_ROWS", 1.0)
    network = NETWORKS[name]
    assert rows_at_once(network, 10_000) == 10_000
    rule = Chunking.of(network, members(network, 1), Data(IMAGES, LABELS))
    assert rule.chunks(25) == [slice(0, 25)]


def test_groups_suit_the_cache_and_the_cores():
    def sizes(rule, n_models, n_threads):
        groups = rule.groups(n_models, n_threads)
        assert [i for g in groups for i in range(n_models)[g]] == list(range(n_models))
        return [len(range(n_models)[g]) for g in groups]

    for n_threads, few, many in ((1, [8], [8] * 7 + [4]), (2, [4, 4], [8] * 7 + [4])):
        assert sizes(Chunking(8, 3, 0, 1), 8, n_threads) == few  # enough for each of two threads
        assert sizes(Chunking(8, 5, 0, 1), 8, n_threads) == [8]  # not enough
        assert sizes(Chunking(8, 0, 0, 1), 8, n_threads) == [8]  # no use
        assert sizes(Chunking(8, 3, 0, 1), 60, n_threads) == many
    n_threads = 3
    assert sizes(Chunking(8, 3, 0, 1), 60, n_threads) == [7] * 8 + [4]  # three for each
    assert sizes(Chunking(8, 3, 0, 1), 1, n_threads) == [1]
    assert Chunking(8, 3, 0, 1).groups(0, 3) == []


def test_few_groups_of_many_rows_go_step_by_step(monkeypatch):
    """So that the cores share in the rows."""
    use_threads(monkeypatch, 3)
    whole, chunks = Chunking(8, 3, 0, 1), Chunking(8, 3, 16, 2)
    assert [whole.by_groups(n) for n in (2, 3, 4)] == [True, True, True]
    assert [chunks.by_groups(n) for n in (2, 3, 4)] == [False, True, True]


def test_an_error_in_one_group_stops_the_others(monkeypatch):
    steps, begun = [], threading.Event()

    def learn(group, objective, step, total):
        if group.models.start > 0:
            begun.set()
            raise ArithmeticError
        begun.wait(5)
        time.sleep(0.01)
        steps.append(step)

    use_threads(monkeypatch, 2)
    monkeypatch.setattr(ModelGroup, "learn", learn)
    monkeypatch.setattr(Chunking, "of", lambda *_: Chunking(1, 1, 0, 1))
    with pytest.raises(ArithmeticError):
        trained(NETWORKS["dense"], 2, batch_size=9)  # 9 steps
    assert len(steps) <= 3


def test_long_operations_are_worth_threads():
    data = Data(IMAGES, LABELS)
    dense = Network([Dense(100), Scores(10)], (72,))
    rule = Chunking.of(dense, members(dense, 1, batch_size=100), data)
    assert rule.models_of_a_thread == 1 + 4_000_000 // (100 * dense.operations)
    images = NETWORKS["convolution"]
    assert Chunking.of(images, members(images, 1), data).models_of_a_thread == 0


def test_sparse_rows_stay_in_one_chunk():
    network = Network([Dense(8), Scores(3)], (72,))
    sparse = sp.csr_matrix(IMAGES.reshape(90, -1))
    rule = Chunking.of(network, members(network, 40), Data(sparse, LABELS))
    assert rule.groups(40, 2) == [slice(0, 40)]
    assert rule.chunks(10_000) == [slice(0, 10_000)]


def test_operations_are_counted():
    dense = Network([Dense(8), Scores(3)], (72,))
    assert dense.operations == 2 * (72 * 8 + 8 * 3)
    images = Network([Conv2D(4, 3, padding="valid"), Scores(3)], (6, 6, 2))
    assert images.operations == 2 * (16 * 4 * 9 * 2 + 64 * 3)
    local = Network([LocallyConnected2D(4, 3, padding="valid")], (6, 6, 2))
    assert local.operations == 2 * 16 * 4 * 9 * 2
