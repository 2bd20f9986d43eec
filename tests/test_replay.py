"""Epochs on a GPU as graphs: the same numbers as step by step, and what a step costs the host."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits

from _cuda_models import IMAGE_LABELS, IMAGES, LABELS, WEIGHT, X, Y
from cukernels.graphs import recorded
from estimators import BatchNorm, Conv2D, ConvNetClassifier, Dense, MLPClassifier
from estimators.model_selection import GridSearchCV
from estimators.neural import fit
from estimators.training import loop, replay, stack
from estimators.training.member import Member

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DIGITS, DIGIT_LABELS = load_digits(return_X_y=True)


def mlp(**options):
    settings = {"batch_size": 16, "max_iter": 4, "random_state": 0, "device": "cuda"}
    return MLPClassifier((9, 7), **settings | options)


def convnet(**options):
    settings = {"batch_size": 16, "max_iter": 3, "random_state": 0, "device": "cuda"}
    return ConvNetClassifier(
        **{"conv_layer_sizes": (3,), "hidden_layer_sizes": (5,)} | settings | options
    )


FITS = {
    "plain": (mlp(), X, Y, {}),
    "even": (mlp(batch_size=15), X, Y, {}),
    "one batch": (mlp(batch_size=len(X)), X, Y, {}),
    "weights": (mlp(solver="sgd", learning_rate="adaptive", n_iter_no_change=1), X, Y,
                {"sample_weight": WEIGHT}),
    "labels": (mlp(loss="squared_error", solver="adamw"), X, LABELS, {}),
    "stops": (mlp(early_stopping=True, validation_fraction=0.2, n_iter_no_change=2, max_iter=9),
              X, Y, {}),
    "stops by weights": (mlp(early_stopping=True, validation_fraction=0.3, max_iter=5), X, Y,
                         {"sample_weight": WEIGHT}),
    "drops": (mlp(dropout=0.3, batch_norm=True, learning_rate="cosine", solver="rmsprop"),
              X, Y, {}),
    "global": (mlp(random_state=None), X, Y, {}),
    "images": (convnet(augment={"shift": 1, "horizontal_flip": True}), IMAGES, IMAGE_LABELS, {}),
    "layers": (convnet(layers=[Conv2D(3), BatchNorm(), Dense(4)]), IMAGES, IMAGE_LABELS, {}),
}  # fmt: skip


def fitted(case, softgpu=None):
    model, samples, labels, given = case
    np.random.seed(3)  # random_state=None draws from the global stream
    return clone(model).fit(samples, labels, **given)


def assert_same_fit(one, other):
    assert one.loss_curve_ == other.loss_curve_
    assert one.validation_scores_ == other.validation_scores_
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(one, name), getattr(other, name), strict=True):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("case", FITS)
def test_a_replayed_fit_is_the_launched_one_to_the_bit(case, cupy, monkeypatch):
    graphs = []
    recording = recorded.Recorded._recording
    monkeypatch.setattr(
        recorded.Recorded, "_recording", lambda self: graphs.append(1) or recording(self)
    )
    replayed = fitted(FITS[case])
    assert graphs, "nothing was recorded"
    monkeypatch.setattr(replay, "can_replay", lambda *_: False)
    assert_same_fit(replayed, fitted(FITS[case]))


def test_nothing_is_allocated_while_work_is_recorded(cupy, monkeypatch):
    """All memory that a recording needs is in the arena after the first call."""
    taken = []
    recording = recorded.Recorded._recording

    def watched(self):
        before = cupy.cuda.runtime.memGetInfo()
        graph = recording(self)
        taken.append(cupy.cuda.runtime.memGetInfo() == before)
        return graph

    monkeypatch.setattr(recorded.Recorded, "_recording", watched)
    for case in ("stops", "drops", "images"):
        fitted(FITS[case])
    assert taken
    assert all(taken)


def test_memory_goes_back_after_the_fit(cupy):
    def in_use():
        gc.collect()
        cupy.get_default_memory_pool().free_all_blocks()
        return cupy.cuda.runtime.memGetInfo()[0]

    fitted(FITS["stops"])  # the counters of a thread's streams stay
    before = in_use()
    model = fitted(FITS["stops"])
    assert in_use() == before
    assert model.n_iter_ > 1


GRID = {"alpha": [1e-4, 0.1], "tol": [1e-4, 10.0]}  # of which the last stops soon


def losses_of_search(monkeypatch, seed):
    """The losses of every model of a search, epoch after epoch."""
    np.random.seed(1)  # random_state=None draws from the global stream
    heard: dict = {}
    end = Member.end_epoch

    def end_epoch(member, loss, *others):
        heard.setdefault(id(member), (member, []))[1].append(loss)
        return end(member, loss, *others)

    model = MLPClassifier(
        (12,), batch_size=64, max_iter=6, random_state=seed, device="cuda", n_iter_no_change=1
    )
    with monkeypatch.context() as patch:
        patch.setattr(Member, "end_epoch", end_epoch)
        search = GridSearchCV(model, GRID, cv=2, refit=False)
        search.fit(DIGITS[:500], DIGIT_LABELS[:500])
    return sorted(losses for _, losses in heard.values())


@pytest.mark.parametrize("seconds", [0.0, np.inf], ids=["leave at once", "stay"])
@pytest.mark.parametrize("seed", [0, None], ids=["one seed", "none"])
def test_models_that_are_done_change_nothing_for_others(seconds, seed, cupy, monkeypatch):
    """Nor do they where nobody may draw ahead, as the stream is everybody's: then all leave."""
    left = []
    keep = loop.Stack.keep
    monkeypatch.setattr(
        loop.Stack, "keep", lambda s, chosen: left.append(chosen) or keep(s, chosen)
    )
    monkeypatch.setattr(replay, "_SECONDS_TO_RECORD", seconds)
    replayed = losses_of_search(monkeypatch, seed)
    assert bool(left) == (seconds == 0 or seed is None)
    assert {len(losses) for losses in replayed} == {3, 6}
    monkeypatch.setattr(replay, "can_replay", lambda *_: False)
    assert replayed == losses_of_search(monkeypatch, seed)


FOLDS = [(np.arange(150), np.arange(150, 200)), (np.arange(50, 200), np.arange(50))]


@pytest.mark.parametrize(
    ("seed", "folds", "expected"), [(0, 1, 1), (0, 2, 2), (None, 1, 4)], ids=["fold", "two", "none"]
)
@pytest.mark.parametrize("kind", [MLPClassifier, ConvNetClassifier])
def test_models_of_one_seed_share_the_batches_of_their_fold(
    kind, seed, folds, expected, cupy, monkeypatch
):
    """Without a seed each draws its own."""
    groups = []
    make = replay._groups
    monkeypatch.setattr(replay, "_groups", lambda s: groups.append(make(s)) or groups[-1])
    X, y = DIGITS[:200], DIGIT_LABELS[:200]

    def scores():
        model = kind((3,), batch_size=64, max_iter=3, random_state=seed, device="cuda")
        np.random.seed(5)
        search = GridSearchCV(model, GRID, cv=FOLDS[:folds], refit=False).fit(X, y)
        return search.cv_results_["mean_test_score"]

    shared = scores()
    assert len(groups.pop()[0]) == expected
    monkeypatch.setattr(replay, "can_replay", lambda *_: False)
    np.testing.assert_array_equal(shared, scores())


class Interrupts:
    """Raises after an epoch, as Ctrl-C may at any time."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, model, info):
        if info.epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("in_a_step", [False, True], ids=["after an epoch", "in a recording"])
def test_an_interrupt_keeps_what_is_trained(in_a_step, cupy, monkeypatch):
    model = mlp(max_iter=9, callbacks=None if in_a_step else Interrupts(2))
    if in_a_step:
        work = stack.ModelGroup.learn
        calls = []

        def learn(*arguments):
            calls.append(1)
            if len(calls) == 2:  # the second call of a step is recorded
                raise KeyboardInterrupt
            return work(*arguments)

        monkeypatch.setattr(stack.ModelGroup, "learn", learn)
    with pytest.warns(UserWarning, match="interrupted by user"):
        model.fit(X, Y)
    assert all(np.isfinite(w).all() for w in model.coefs_)
    monkeypatch.undo()
    assert mlp().fit(X, Y).n_iter_ == 4  # the stream is as good as ever


def leave_on_the_host(fits):
    for one in fits:
        one.streamed = True


@pytest.mark.parametrize("case", ["plain", "weights", "stops", "images"])
def test_samples_that_do_not_fit_are_streamed(case, cupy, monkeypatch):
    """They come to the device step by step, and the numbers are those of samples that lie there."""
    resident, rings = fitted(FITS[case]), []
    monkeypatch.setattr(fit, "check_stack_memory", leave_on_the_host)
    make = replay.Ring
    monkeypatch.setattr(replay, "Ring", lambda *a: rings.append(a[1]) or make(*a))
    assert_same_fit(resident, fitted(FITS[case]))
    assert rings
    assert all(isinstance(x, np.ndarray) for x in rings)
