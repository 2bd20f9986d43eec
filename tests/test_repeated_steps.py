"""Steps that are recorded and repeated, and stacks of models with different numbers of rows."""

from __future__ import annotations

import numpy as np
import pytest

from cukernels.activations import ACTIVATIONS
from cukernels.optimizers import optimizers_numpy
from cukernels.runtime import Recording, empty
from cukernels.runtime.recording import of_now
from cukernels.runtime.registry import OPS
from cukernels.training import losses_numpy
from estimators import (
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    GlobalAvgPool2D,
    LayerNorm,
    LocallyConnected2D,
    MaxPool2D,
    MLPClassifier,
)  # fmt: skip
from estimators.layers.dense import Scores
from estimators.model_selection import GridSearchCV
from estimators.training import repeated_steps
from estimators.training.chunking import Chunking
from estimators.training.data import Data
from estimators.training.loop import train
from estimators.training.member import Member, TrainingState, dropout_streams
from estimators.training.network import Network
from estimators.training.objective import Objective
from estimators.training.order import RowOrder
from estimators.training.repeated_steps import RecordedStep, RepeatedSteps
from estimators.training.schedules import PER_STEP
from estimators.training.settings import Settings
from estimators.training.stack import ModelGroup, Stack

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 6, 6, 2))
LABELS = RNG.integers(0, 3, 90)
WEIGHTS = RNG.uniform(0, 2, 90)
SOFTMAX = Objective("log_loss", "softmax")
OBJECTIVES = [
    SOFTMAX,
    *(Objective(*o) for o in (("log_loss", "logistic"), ("squared_error", "softmax"))),
]


def network(*layers):
    return Network([*layers, Scores(3)], (6, 6, 2))


DENSE = network(Dense(8))
NETWORKS = {
    "dense": DENSE,
    "linear": network(),
    "deep": network(Dense(8, "tanh"), Dense(7, "logistic"), Dense(6)),
    "dropout": network(Dense(8), Dropout(0.5)),
    "batch norm": network(Dense(8, "identity"), BatchNorm()),
    "layer norm": network(Dense(8, "identity"), LayerNorm()),
    **{name: network(Dense(8, name)) for name in ACTIVATIONS},
    "convolution": network(Conv2D(4, 3), MaxPool2D(2)),
    "strides": network(Conv2D(4, 3, stride=2, activation="tanh"), Dense(5)),
    "pooling": network(MaxPool2D(2), Dense(5)),
    "averages": network(Conv2D(4, 3), AvgPool2D(3, stride=2, padding=1), GlobalAvgPool2D()),
}
LOCAL = network(LocallyConnected2D(3, 3))


def members(network, n_models, *, weighted, solver, batch_size, schedule, lengths, dtype, epochs):
    models = []
    for m in range(n_models):
        rng = np.random.RandomState(m)
        settings = Settings(
            solver=solver, batch_size=batch_size, learning_rate_init=0.01 * (1 + m),
            alpha=0.1 * (m % 3), learning_rate=schedule, max_iter=8,
        )  # fmt: skip
        state = TrainingState(network.init(rng, dtype))
        state.restart_optimizer(settings)
        streams = dropout_streams([0.1 * (m + 1)], rng) if network.dropouts else []
        order = RowOrder(np.arange(lengths[m % len(lengths)]), rng)
        weight = WEIGHTS if weighted else None
        model = Member(settings, state, order, sample_weight=weight, dropout=streams)
        model.epochs = epochs[m % len(epochs)]
        models.append(model)
    return models


def trained(
    network, n_models=3, objective=SOFTMAX, *, solver="adam", weighted=False, batch_size=20,
    schedule="constant", lengths=(80,), dtype=np.float64, epochs=(8,),
    alone=False,
):  # fmt: skip
    """Parameters, moments and losses after eight epochs, in one stack or each by itself."""
    models = members(
        network, n_models, weighted=weighted, solver=solver, batch_size=batch_size,
        schedule=schedule, lengths=lengths, dtype=dtype, epochs=epochs,
    )  # fmt: skip
    targets = objective.targets(np.eye(3)[LABELS], dtype)
    for stack in [[m] for m in models] if alone else [models]:
        train(network, objective, Data(X.astype(dtype), targets), stack, max(epochs))
    return [
        (m.state.params.tobytes(), *(a.tobytes() for a in m.state.moments.values()),
         m.state.loss_curve)
        for m in models
    ]  # fmt: skip


@pytest.fixture
def recordings(monkeypatch):
    """All recorded steps."""
    made = []
    init = repeated_steps.RecordedStep.__init__

    def remember(self, *args):
        init(self, *args)
        made.append(self)

    monkeypatch.setattr(repeated_steps.RecordedStep, "__init__", remember)
    return made


def computed(monkeypatch, *args, **options):
    """The same without any recording."""
    with monkeypatch.context() as patch:
        patch.setattr(RepeatedSteps, "take", lambda self, group, *args: group.compute(*args))
        return trained(*args, **options)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_repeated_steps_have_the_bits_of_computed_ones(monkeypatch, recordings, name, dtype):
    own = trained(NETWORKS[name], dtype=dtype)
    assert own == computed(monkeypatch, NETWORKS[name], dtype=dtype)
    assert [r.is_trusted for r in recordings] == [True]


def test_steps_of_local_filters_are_computed(recordings):
    """Their ops are not held to recordings."""
    trained(LOCAL)
    assert recordings == []


@pytest.mark.parametrize("solver", ["adam", "sgd", "adamw", "rmsprop"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_all_solvers_and_objectives(monkeypatch, recordings, solver, weighted, objective):
    options = {"solver": solver, "weighted": weighted}
    own = trained(DENSE, 3, objective, **options)
    assert own == computed(monkeypatch, DENSE, 3, objective, **options)
    assert [r.is_trusted for r in recordings] == [True]


@pytest.mark.parametrize("schedule", [*PER_STEP, "invscaling"])
@pytest.mark.parametrize("solver", ["sgd", "adamw"])
def test_learning_rates_that_change(monkeypatch, recordings, schedule, solver):
    options = {"schedule": schedule, "solver": solver}
    own = trained(DENSE, **options)
    assert own == computed(monkeypatch, DENSE, **options)
    assert [r.is_trusted for r in recordings] == [True]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["dense", "dropout", "batch norm"])
@pytest.mark.parametrize("lengths", [(80, 79, 65), (81, 89), (19, 18, 20), (90,)], ids=str)
def test_models_with_other_numbers_of_rows(monkeypatch, recordings, name, weighted, lengths):
    """Each has the bits that it has alone: none computes rows of others in its last step."""
    own = trained(NETWORKS[name], 5, weighted=weighted, lengths=lengths)
    assert own == computed(monkeypatch, NETWORKS[name], 5, weighted=weighted, lengths=lengths)
    assert own == trained(NETWORKS[name], 5, weighted=weighted, lengths=lengths, alone=True)


def test_models_with_other_numbers_of_rows_leave():
    options = {"lengths": (80, 79, 65), "epochs": (8, 3, 5, 2)}
    assert trained(DENSE, 7, **options) == trained(DENSE, 7, **options, alone=True)


def stack_of(n_models, lengths, chunking):
    models = members(
        DENSE, n_models, weighted=False, solver="adam", batch_size=20, schedule="constant",
        lengths=lengths, dtype=np.float64, epochs=(8,),
    )  # fmt: skip
    return Stack(DENSE, models, chunking, LABELS)


@pytest.mark.parametrize("size, n_computed", [(20, 10), (3, 10), (2, 2)])
def test_an_epoch_of_many_steps_is_recorded_soon(monkeypatch, size, n_computed):
    """A last step of fewer rows waits until an epoch has told how much memory it takes."""
    taken = []
    for name in ("_record", "_compare", "_repeat"):
        inner = getattr(RecordedStep, name)

        def noted(self, *args, name=name, inner=inner):
            taken.append((name, self._n_rows))
            return inner(self, *args)

        monkeypatch.setattr(RecordedStep, name, noted)
    compute = ModelGroup.compute

    def noted_compute(self, objective, step, total):
        taken.append(("compute", self.n_rows(step)))
        return compute(self, objective, step, total)

    monkeypatch.setattr(ModelGroup, "compute", noted_compute)
    trained(DENSE, 1, batch_size=size, lengths=(79,), epochs=(5,))
    first, last = (taken.index(("_record", rows)) for rows in (size, 79 % size))
    assert first == n_computed
    assert taken[:last].count(("compute", 79 % size)) >= 2


def test_models_with_as_many_rows_are_neighbours():
    stack = stack_of(7, (80, 79, 65), Chunking(0, 0, 0, 1))
    (group,) = stack.groups
    assert [part.models for part in group.parts] == [slice(0, 2), slice(2, 4), slice(4, 7)]


def test_no_two_threads_record_in_the_same_place(monkeypatch):
    monkeypatch.setattr("estimators.training.stack.threads", lambda: 2)
    for repeats in (True, False):
        stack = stack_of(7, (80,), Chunking(1, 1, 0, 1, 0, repeats))
        lanes = stack.in_lanes(stack.groups)
        assert sorted(g.models.start for lane in lanes for g in lane) == list(range(7))
        if repeats:
            places = [{id(g.workspaces) for g in lane} for lane in lanes]
            assert len(places) == 2 and all(len(own) == 1 for own in places)
            assert places[0] != places[1]
        assert len(stack.in_lanes(stack.groups_of_one[:1])) == 1


@pytest.mark.parametrize("n_rows", [7, 13])
@pytest.mark.parametrize("weighted", [False, True])
def test_chunks_of_other_numbers_of_rows(monkeypatch, n_rows, weighted):
    """`Chunking` of the rows of each model, of which the last step has fewer than all."""
    rule = Chunking(5, 1, n_rows, -(-20 // n_rows))
    monkeypatch.setattr(Chunking, "of", lambda *_: rule)
    own = trained(DENSE, 5, weighted=weighted, lengths=(80, 79, 66))
    assert own == trained(DENSE, 5, weighted=weighted, lengths=(80, 79, 66), alone=True)


def test_a_step_that_would_not_be_the_same_is_computed(monkeypatch, recordings):
    def with_rates_of_now(learning_rate, beta_1, beta_2, step):
        return of_now(learning_rate) / (1 + of_now(step))

    def fixed(function, *arrays):
        return function(*map(of_now, arrays))

    monkeypatch.setattr(optimizers_numpy, "_corrected", with_rates_of_now)
    right = computed(monkeypatch, DENSE)
    monkeypatch.setattr(optimizers_numpy, "recomputed", fixed)  # steps of the recording
    assert trained(DENSE) == right
    assert [(r.is_trusted, r.is_refused) for r in recordings] == [(False, True)]


def test_what_is_not_noted_is_found_out(monkeypatch, recordings):
    """Also if all steps take the same rows, so that what the recording left would be right."""
    original = losses_numpy.softmax_cross_entropy

    def forgets(z, y, sample_weight=None):
        loss, dz = original(of_now(z), of_now(y), sample_weight)
        return np.add(loss, 0, out=empty(loss.shape, loss.dtype).view(np.ndarray)), dz

    right = computed(monkeypatch, DENSE, batch_size=80, epochs=(14,))
    monkeypatch.setattr(OPS["softmax_cross_entropy"], "numpy", forgets)
    assert trained(DENSE, batch_size=80, epochs=(14,)) == right
    assert [(r.is_trusted, r.is_refused) for r in recordings] == [(False, True)]


def test_a_step_that_cannot_be_recorded_is_computed(monkeypatch, recordings):
    original = optimizers_numpy.adam.__globals__["columns"]

    def looks(params, *vectors):
        float(params.sum())  # after the gradient, and before parameters change
        return original(params, *vectors)

    right = computed(monkeypatch, DENSE)
    monkeypatch.setattr(optimizers_numpy, "columns", looks)
    assert trained(DENSE) == right
    assert [(r.is_trusted, r.is_refused) for r in recordings] == [(False, True)]


@pytest.mark.parametrize("calls", [20, 40, 55])
def test_an_error_in_the_midst_of_a_recording_changes_nothing(monkeypatch, recordings, calls):
    """Also where some parameters have taken their step already."""
    right = computed(monkeypatch, DENSE)
    note = Recording.note
    failed = []

    def fails(self, call, *arrays):
        note(self, call, *arrays)
        if len(self.calls) == calls:
            failed.append(call)
            raise MemoryError

    monkeypatch.setattr(Recording, "note", fails)
    assert trained(DENSE) == right
    assert failed
    assert [(r.is_trusted, r.is_refused) for r in recordings] == [(False, True)]


def test_models_that_leave(monkeypatch, recordings):
    """The others are recorded anew."""

    def fitted():
        rng = np.random.default_rng(1)
        y = rng.integers(3, size=60)
        model = MLPClassifier((6,), max_iter=40, batch_size=10, random_state=0, n_iter_no_change=2)
        grid = {"learning_rate_init": [0.5, 0.1, 0.01, 0.001], "tol": [1e-4, 1e-1]}
        search = GridSearchCV(model, grid, cv=4, refit=False).fit(rng.normal(size=(60, 5)), y)
        return search.cv_results_["mean_test_score"].tolist()

    own = fitted()
    assert len(recordings) > 2
    assert all(r.is_trusted or not r.is_refused for r in recordings)
    monkeypatch.setattr(RepeatedSteps, "take", lambda self, group, *args: group.compute(*args))
    assert fitted() == own


def test_few_steps_are_not_recorded(recordings):
    trained(DENSE, batch_size=80)
    assert recordings == []
