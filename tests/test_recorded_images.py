"""Steps of networks of images that are recorded, and repeated by a thread and a helper."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from _recorded import pairs_of, seen
from cukernels.images import patches
from cukernels.pooling import pooling_numpy
from cukernels.runtime import Recorded, Recording, Repetition, in_parallel, recording
from cukernels.runtime.cases import cast, copied, results
from cukernels.runtime.recording import CannotRecord, of_now
from cukernels.runtime.registry import OPS
from cukernels.runtime.workers import scratch
from estimators import (
    AvgPool2D,
    BatchNorm,
    Conv2D,
    ConvNetClassifier,
    Dense,
    Dropout,
    GlobalAvgPool2D,
    MaxPool2D,
)
from estimators.model_selection import GridSearchCV
from estimators.training import chunking
from estimators.training.repeated_steps import RecordedStep, RepeatedSteps

OF_IMAGES = ("conv2d", "conv2d_max_pool", "max_pool2d", "avg_pool2d")
PAIRS = [pair for name in OF_IMAGES for pair in pairs_of(OPS[name])]

pytestmark = pytest.mark.filterwarnings("ignore:.*Maximum iterations")


@pytest.fixture
def many_chunks(monkeypatch, two_threads):
    """Chunks of a few images, in which two threads share however small they are."""
    monkeypatch.setattr(patches, "_CHUNK", 2**9)
    monkeypatch.setattr(patches, "_LEAST", 0)
    monkeypatch.setattr(pooling_numpy, "_CHUNK", 2**9)


@pytest.mark.parametrize(("op", "name", "first", "second"), PAIRS, ids=[p[1] for p in PAIRS])
def test_ops_in_chunks_make_the_bits_again(many_chunks, op, name, first, second):
    first, second = cast(first, np.float32), cast(second, np.float32)
    with np.errstate(all="ignore"):
        expected = results(op, op.numpy, copied(second))
        places = copied(first)
        recording = Recording(scratch={})
        made = recording.record(results, op, op.numpy, seen(places))
        for key, a in places.items():
            if isinstance(a, np.ndarray):
                np.copyto(a, second[key])
        recording.spoil()
        Repetition(recording)()
    for own, right in zip(made, expected, strict=True):
        np.testing.assert_array_equal(of_now(own), right, strict=True)


def test_chunks_are_shared_in_these_tests(many_chunks):
    def parts(name, sample):
        op = OPS[name]
        recording = Recording(scratch={})
        recording.record(results, op, op.numpy, seen(copied(sample)))
        return [len(call.parts) for call in recording.calls if call.parts]

    for name in OF_IMAGES:
        assert any(parts(name, sample) == [2] for _, own, sample, _ in PAIRS if own == f"{name}-0")


# Parts of many items -----------------------------------------------------------------------------


@pytest.mark.parametrize("n_items", [2, 3, 7])
def test_each_thread_has_a_part_with_memory_of_its_own(two_threads, n_items):
    x, y = (np.zeros((n_items, 1000)).view(Recorded) for _ in range(2))
    states = []

    def work(x, y):
        def state():
            states.append(len(states))
            return states[-1]

        def double(own, i):
            held = scratch("held", (1000,), float)
            np.multiply(x[i], 2, out=held)
            np.add(held, own, out=y[i])
            return y[i]

        return in_parallel(double, list(range(n_items)), state)

    recording = Recording(scratch={})
    rows = recording.record(work, x, y)
    (call,) = recording.calls
    assert [row.ctypes.data for row in rows] == [y[i].ctypes.data for i in range(n_items)]
    assert states == [0, 1]  # one for each part
    held = [{c.writes[0].ctypes.data for c in part.calls[::2]} for part in call.parts]
    assert [len(h) for h in held] == [1, 1] and held[0] != held[1]
    counts = [len(part.calls) // 2 for part in call.parts]
    assert sum(counts) == n_items and abs(counts[0] - counts[1]) <= 1
    x[...] = np.arange(n_items)[:, None]
    Repetition(recording)()
    of = np.repeat([0, 1], counts)
    np.testing.assert_array_equal(y, np.tile((2 * np.arange(n_items) + of)[:, None], 1000))


@pytest.mark.parametrize("in_parts", [False, True])
def test_a_recording_takes_little_memory(monkeypatch, two_threads, in_parts):
    monkeypatch.setattr(recording, "MOST", 10_000)
    x = np.zeros((2, 500)).view(Recorded)  # of 4,000 bytes each

    def work(x):
        return in_parallel(lambda _, i: x[i] + 1, [0, 1]) if in_parts else [x + 1]

    def twice(x):
        return work(x), work(x)

    Recording().record(work, x)
    with pytest.raises(CannotRecord, match="too much memory"):
        Recording().record(twice, x)


# Fits --------------------------------------------------------------------------------------------

NETS = {
    "pooled": [Conv2D(6, 3), MaxPool2D(2), Conv2D(5, 3), MaxPool2D(2), Dense(16)],
    "a gap": [Conv2D(4, 3, padding="valid"), MaxPool2D(3)],
    "tanh": [Conv2D(4, 3, activation="tanh"), MaxPool2D(2), Dropout(0.2)],
    "strides": [Conv2D(4, 3, stride=2), Conv2D(4, 3, dilation=2, activation="silu")],
    "averages": [Conv2D(4, (3, 2)), AvgPool2D(2), Conv2D(3, 1), GlobalAvgPool2D()],
    "overlapping": [Conv2D(4, 3), MaxPool2D(3, stride=2, padding=1), BatchNorm(), Dense(8)],
}


def small_images(n_rows=220):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, 9, 8, 2)).astype(np.float32)
    return X, rng.integers(0, 3, n_rows)


def bits(model, X, y):
    model.fit(X, y)
    return model.predict_proba(X).tobytes(), model.loss_curve_


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(
    "options", [{}, {"augment": {"shift": 1, "horizontal_flip": True}}, {"solver": "sgd"}], ids=str
)
def test_fits_have_the_same_bits(monkeypatch, many_chunks, name, options):
    trusted = []
    compare = RecordedStep._compare

    def compared(self, *args):
        compare(self, *args)
        trusted.append(
            (self.is_trusted, self._repetition is not None and self._repetition.is_shared)
        )

    monkeypatch.setattr(RecordedStep, "_compare", compared)
    X, y = small_images()

    def fitted():
        model = ConvNetClassifier(
            layers=NETS[name], batch_size=50, max_iter=5, random_state=0, tol=0, **options
        )
        return bits(model, X, y)

    own = fitted()
    assert trusted == [(True, True), (True, True)]  # of the usual step, and of the last one
    with monkeypatch.context() as patch:
        patch.setattr(RepeatedSteps, "take", lambda self, group, *args: group.compute(*args))
        assert fitted() == own


def recorded_steps(monkeypatch, work):
    """Return the steps that are recorded, and those that were refused, meanwhile."""
    made, refused = [], []
    record = RecordedStep._record

    def noted(self, *args):
        record(self, *args)
        (refused if self.is_refused else made).append(self)

    with monkeypatch.context() as patch:
        patch.setattr(RecordedStep, "_record", noted)
        work()
    return made, refused


def test_larger_steps_are_recorded_of_one_model_alone(monkeypatch):
    X, y = small_images()
    model = ConvNetClassifier(layers=NETS["pooled"], batch_size=20, max_iter=2, random_state=0)
    search = GridSearchCV(model, {"alpha": [0.1, 0.2, 0.3]}, cv=2, refit=False)
    assert recorded_steps(monkeypatch, lambda: search.fit(X, y))[0]
    monkeypatch.setattr(chunking, "_CACHE", 1000)
    assert recorded_steps(monkeypatch, lambda: search.fit(X, y)) == ([], [])
    assert len(recorded_steps(monkeypatch, lambda: model.fit(X, y))[0]) == 1
    monkeypatch.setattr(chunking, "_MOST", 1000)
    assert recorded_steps(monkeypatch, lambda: model.fit(X, y)) == ([], [])


def test_a_refused_step_keeps_nothing(monkeypatch):
    monkeypatch.setattr(recording, "MOST", 10_000)
    X, y = small_images()
    model = ConvNetClassifier(layers=NETS["strides"], batch_size=20, max_iter=2, random_state=0)
    made, (refused,) = recorded_steps(monkeypatch, lambda: model.fit(X, y))
    assert not made
    assert not refused._recording.calls and refused._repetition is None


def test_steps_of_all_sizes_share_memory_for_windows(monkeypatch):
    X, y = small_images()
    model = ConvNetClassifier(layers=NETS["pooled"], batch_size=50, max_iter=5, random_state=0)
    usual, last = recorded_steps(monkeypatch, lambda: model.fit(X, y))[0]
    assert usual._recording.scratch is last._recording.scratch is not None


def test_no_array_has_the_size_of_all_windows(monkeypatch, two_threads):
    """Recorded steps hold what computed ones do, and the windows of a chunk for each thread."""
    rng = np.random.default_rng(0)
    X, y = rng.random((128, 28, 28, 8), np.float32), rng.integers(0, 3, 128)
    all_windows = 128 * 28 * 28 * 9 * 16 * 4  # of the gradient of the second convolution: 58 MB
    layers = [Conv2D(8, 1, activation="identity"), Conv2D(16, 3), MaxPool2D(2)]
    model = ConvNetClassifier(layers=layers, batch_size=128, max_iter=12, random_state=0)

    def peak():
        tracemalloc.start()
        model.fit(X, y)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    with monkeypatch.context() as patch:
        patch.setattr(RepeatedSteps, "take", lambda self, group, *args: group.compute(*args))
        computed = peak()
    steps = []
    assert recorded_steps(monkeypatch, lambda: steps.append(peak()))[0]
    assert steps[0] < computed + all_windows / 2
