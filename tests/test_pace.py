"""Whether threads pay is found by trying, and changes no bit."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from estimators import MLPClassifier
from estimators.training import chunking, pace
from estimators.training.pace import Pace
from test_chunking import NETWORKS, trained, use_threads


class Clock:
    """A clock that an epoch moves on as told."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    return clock


def epochs(clock, shared: list[float], alone: list[float], n: int) -> list[bool]:
    """Which epochs threads share, if they take these times; the last one of each goes on."""
    times, taken, tried = {True: shared, False: alone}, [], Pace()

    def epoch(is_shared: bool) -> None:
        left = times[is_shared]
        clock.now += left[0]
        times[is_shared] = left[1:] or left
        taken.append(is_shared)

    for _ in range(n):
        tried.timed(epoch)
    return taken


@pytest.mark.parametrize("is_faster", [True, False])
def test_the_faster_way_goes_on(is_faster, clock):
    shared, alone = ([1.0], [2.0]) if is_faster else ([2.0], [1.0])
    taken = epochs(clock, shared, alone, 20)
    assert taken[:5] == [True, True, False, True, False]
    assert taken[5:] == [is_faster] * 15


def test_the_first_epoch_does_not_count(clock):
    assert epochs(clock, [99, 1], [2], 9)[5:] == [True] * 4


def test_one_slow_epoch_does_not_decide(clock):
    assert epochs(clock, [1, 1, 99], [2], 9)[5:] == [True] * 4
    assert epochs(clock, [2], [99, 1], 9)[5:] == [False] * 4


def test_if_both_take_the_same_time_one_thread_is_enough(clock):
    assert epochs(clock, [1], [1], 9)[5:] == [False] * 4


@pytest.mark.parametrize("name", ["dense", "local", "dropout"])
def test_either_way_has_the_same_bits(name, monkeypatch):
    monkeypatch.setattr(chunking, "_LEAST_WORK", 1.0)
    monkeypatch.setattr(chunking, "_CACHE", 2**16)
    use_threads(monkeypatch, 2)
    found, ways = [], []
    for is_shared in (True, False):
        monkeypatch.setattr(Pace, "is_shared", is_shared)
        monkeypatch.setattr(
            Pace, "timed", lambda self, work: ways.append(self.is_shared) or work(self.is_shared)
        )
        found.append(trained(NETWORKS[name]))
    assert ways == [True, True, False, False]
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


@pytest.mark.parametrize(("name", "threads"), [("convolution", 2), ("dense", 1)])
def test_nothing_is_tried_where_groups_have_one_thread(name, threads, monkeypatch):
    """Convolutions share out their images, and one thread has nobody to share with."""
    monkeypatch.setattr(chunking, "_LEAST_WORK", 1.0)
    monkeypatch.setattr(chunking, "_CACHE", 1)  # a group for each model
    monkeypatch.setattr(Pace, "timed", None)  # which nobody calls
    use_threads(monkeypatch, threads)
    trained(NETWORKS[name])


def test_nothing_is_tried_for_one_model(monkeypatch, digits):
    monkeypatch.setattr(Pace, "timed", None)  # which nobody calls
    X, y = digits
    with pytest.warns(ConvergenceWarning):
        MLPClassifier((8,), max_iter=2).fit(X[:200], y[:200])
