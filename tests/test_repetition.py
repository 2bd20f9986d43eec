"""Recorded calls that helpers share, and what the caller does while they are at their parts."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from _struck import Struck
from cukernels import gather_rows, matmul
from cukernels.matmul import shared_products
from cukernels.runtime import (
    Recorded,
    Recording,
    Repetition,
    and_surely,
    in_parallel,
    on_one_blas_thread,
    repetition,
    workers,
)
from cukernels.runtime.chunks import halves
from cukernels.runtime.recording import recomputed
from cukernels.runtime.workspace import Workspace
from cukernels.training import gather_numpy

SECONDS = 20  # that a test waits at most for the other thread


def seen(*shape):
    return np.zeros(shape).view(Recorded)


def recorded(function, *arrays):
    recording = Recording()
    recording.record(function, *arrays)
    return recording


# Who does what ------------------------------------------------------------------------------------


def halved(function):
    """Let two threads call a function of a half, the first of which is the caller's."""
    in_parallel(lambda _, half: function(half), [0, 1])


def test_the_caller_goes_on_up_to_what_it_needs(two_threads):
    """The helper ends only after the caller has made a call that needs nothing of it."""
    x, y, z = seen(2, 4), seen(4), seen(4)
    gone_on, order, repeats = threading.Event(), [], []

    def told(name, array):
        return recomputed(lambda a: (order.append(name), a)[1], array)

    def helper_waits(half, array):
        if half == 1 and repeats:
            assert gone_on.wait(SECONDS)
        return told(f"half {half}", array)

    def own_work(array):
        gone_on.set()
        return told("own", array)

    def work(x, y, z):
        halved(lambda h: np.add(recomputed(lambda a: helper_waits(h, a), x[h]), 1, out=x[h]))
        np.add(recomputed(own_work, y), 1, out=y)
        np.add(told("needs both", x)[1], y, out=z)

    repeat = Repetition(recorded(work, x, y, z))
    assert repeat.is_shared
    gone_on.clear()
    order.clear()
    repeats.append(repeat)
    repeat()
    assert order[-1] == "needs both"
    assert order.index("own") < order.index("half 1")
    np.testing.assert_array_equal(z, [4] * 4)


def test_what_parts_make_is_known(two_threads):
    """It is spoiled before a recording is compared."""
    recording = recorded(lambda x: halved(lambda h: np.add(x[h] * 2, 1, out=x[h])), seen(2, 4))
    assert [a.shape for a in recording.made] == [(4,), (4,)]


def test_the_first_part_is_the_callers(two_threads):
    """What follows was found to be independent of the other parts alone."""
    by = []

    def work(x):
        halved(
            lambda h: np.add(recomputed(lambda a: (by.append((h, me())), a)[1], x[h]), 1, out=x[h])
        )

    def me():
        return threading.get_ident()

    repeat = Repetition(recorded(work, seen(2, 4)))
    for _ in range(200):
        repeat()
    assert {who for half, who in by if half == 0} == {me()}


def test_a_late_helper_is_not_waited_for(two_threads, monkeypatch):
    """If it has not begun, the caller takes its part."""
    x = seen(2, 4)
    repeat = Repetition(recorded(lambda x: halved(lambda h: np.add(x[h], 1, out=x[h])), x))
    monkeypatch.setattr(workers.Job, "help", lambda self: False)
    repeat()
    np.testing.assert_array_equal(x, np.full((2, 4), 2))


def test_one_thread_repeats_all(monkeypatch):
    x = seen(2, 4)

    def work(x):
        halved(lambda h: np.add(x[h], 1, out=x[h]))
        np.multiply(x, 3, out=x)

    repeat = Repetition(recorded(work, x))
    monkeypatch.setattr(repetition, "threads", lambda: 1)
    monkeypatch.setattr(repetition, "Job", None)
    repeat()
    np.testing.assert_array_equal(x, np.full((2, 4), 12))


# Shared calls that follow each other --------------------------------------------------------------


def test_a_thread_goes_on_with_its_own_rows(two_threads):
    x, y = seen(2, 4), seen(2, 4)

    def work(x, y):
        halved(lambda h: np.add(x[h], 1, out=x[h]))
        halved(lambda h: np.multiply(x[h], 2, out=y[h]))

    def crossed(x, y):
        halved(lambda h: np.add(x[h], 1, out=x[h]))
        halved(lambda h: np.multiply(x[1 - h], 2, out=y[h]))

    def of_the_first(x, y):
        halved(lambda h: np.add(x[h], 1, out=x[h]))
        halved(lambda h: np.multiply(x[0], 2, out=y[h]))

    def of_the_last(x, y):
        halved(lambda h: np.add(x[h], 1, out=x[h]))
        halved(lambda h: np.multiply(x[1], 2, out=y[h]))

    for function, n_calls in ((work, 1), (crossed, 2), (of_the_first, 2), (of_the_last, 2)):
        recording = recorded(function, x, y)
        assert [len(call.parts) for call in recording.calls] == [2, 2]
        assert len(repetition._joined(recording.calls)) == n_calls
        x[...] = 5
        Repetition(recording)()
        np.testing.assert_array_equal(y, np.full((2, 4), 12))


BETWEEN = {
    # What is done between two shared calls, and where it is once they are joined.
    "nothing to do with either": (lambda x, y, z: np.add(z, 1, out=z), "before"),
    "read by the second": (lambda x, y, z: np.add(z, 1, out=y[0]), "before"),
    "made of the first": (lambda x, y, z: np.add(x[0], 1, out=z), "after"),
    "made of the helper's": (lambda x, y, z: np.add(x[1], 1, out=z), "after"),
    "written to what the first reads": (lambda x, y, z: np.add(z, 1, out=x[0]), "between"),
    "written to what the helper read": (lambda x, y, z: np.add(z, 1, out=x[1]), "between"),
    "of the first, for the second": (lambda x, y, z: np.add(x[1], 1, out=y[0]), "between"),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_calls_between_shared_ones_come_first_or_last(two_threads, name):
    """If neither changes a number, so that threads do not meet between the two."""
    between, place = BETWEEN[name]
    x, y, z = seen(2, 4), seen(2, 4), seen(4)

    def work(x, y, z):
        halved(lambda h: np.add(x[h], 1, out=x[h]))
        between(x, y, z)
        halved(lambda h: np.multiply(y[h], x[h], out=y[h]))

    recording = recorded(work, x, y, z)
    assert [len(call.parts) for call in recording.calls] == [2, 0, 2]
    order = {"before": [0, 2], "after": [2, 0], "between": [2, 0, 2]}[place]
    assert [len(call.parts) for call in repetition._joined(recording.calls)] == order
    expected = [np.arange(8.0).reshape(2, 4), np.full((2, 4), 3.0), np.full(4, 5.0)]
    for array, value in zip((x, y, z), expected, strict=True):
        array[...] = value
    work(*expected)
    Repetition(recording)()
    for array, value in zip((x, y, z), expected, strict=True):
        np.testing.assert_array_equal(array, value)


def test_of_calls_that_need_each_other_both_come_last(two_threads):
    """The second one could come first, were it not for the one before it."""
    x, y, z = seen(2, 4), seen(2, 4), seen(4)

    def work(x, y, z):
        halved(lambda h: np.add(x[h], 1, out=x[h]))
        np.multiply(z, x[1], out=z)
        np.add(z, 1, out=z)
        halved(lambda h: np.multiply(x[h], 2, out=y[h]))

    recording = recorded(work, x, y, z)
    assert [len(call.parts) for call in repetition._joined(recording.calls)] == [2, 0, 0]
    x[...], z[...] = 3, 2
    Repetition(recording)()
    np.testing.assert_array_equal(z, np.full(4, 9.0))
    np.testing.assert_array_equal(y, np.full((2, 4), 8.0))


@pytest.mark.parametrize("rows", [64, 200, 201, 257])
def test_rows_are_gathered_by_the_thread_that_multiplies_them(monkeypatch, two_threads, rows):
    monkeypatch.setattr(gather_numpy, "_LEAST", 0)
    monkeypatch.setattr(shared_products, "_LEAST", 0)
    monkeypatch.setattr(shared_products, "_is_divisible", lambda *_: True)
    rng = np.random.default_rng(rows)
    data, w = rng.standard_normal((500, 30)), rng.standard_normal((1, 30, 20))
    places, out = rng.integers(0, 500, (1, rows)), seen(1, rows, 20)

    def work(places, out):
        np.copyto(out, matmul(gather_rows(data.view(Recorded), places), w))

    recording, memory = Recording(), Workspace()

    @on_one_blas_thread
    def record():
        for _ in range(2):  # the second time the workspace is large enough
            recording.calls.clear()
            with memory:
                recording.record(work, places.view(Recorded), out)

    record()
    parts = repetition._joined(recording.calls)[0].parts
    assert len(parts) == 2 and all(len(part.calls) == 2 for part in parts)
    places[...] = rng.integers(0, 500, (1, rows))
    Repetition(recording)()
    np.testing.assert_allclose(out, data[places] @ w, rtol=1e-12)


def test_rows_are_gathered_in_parts_only_where_that_pays(monkeypatch, two_threads):
    """To wake a thread for them takes longer, and a stack has other ways to share."""
    shared = []
    monkeypatch.setattr(gather_numpy, "in_parallel", lambda *args: shared.append(args))
    data = np.zeros((300, 784), np.float32).view(Recorded)

    def gather(models, rows):
        with Workspace():
            gather_rows(data, np.zeros((models, rows), int).view(Recorded))

    gather(1, 200)
    recorded(gather, 2, 200)
    recorded(gather, 1, 32)
    assert not shared
    recorded(gather, 1, 200)
    assert len(shared) == 1


@pytest.mark.parametrize("rows", [1, 16, 17, 33, 200, 784, 1000])
def test_halves_cover_all_rows(rows):
    first, second = halves(rows)
    assert (first.start, first.stop, second.stop) == (0, second.start, rows)
    assert first.stop % 16 == 0
    assert rows < 64 or second.stop - second.start > rows / 4


# Errors and interrupts ----------------------------------------------------------------------------


@pytest.mark.parametrize("half", [0, 1])
def test_errors_are_raised_and_nobody_goes_on(two_threads, half):
    x, fails, begun = seen(2, 4), [], threading.Event()

    def work(x):
        halved(lambda h: np.add(recomputed(lambda a: failing(h, a), x[h]), 1, out=x[h]))

    def failing(h, a):
        if fails and h == half:
            begun.set()
            raise ZeroDivisionError
        if fails and half == 1:
            assert begun.wait(SECONDS)  # a helper is at it, and not the caller
        return a

    repeat = Repetition(recorded(work, x))
    fails.append(True)
    with pytest.raises(ZeroDivisionError):
        repeat()
    assert not workers._open_jobs
    fails.clear()
    before = np.array(x)
    repeat()
    np.testing.assert_array_equal(x, before + 1)


def test_floating_point_settings_hold_in_all_parts(two_threads):
    x = seen(2, 4)

    def work(x):
        with np.errstate(divide="raise"):
            halved(lambda h: np.divide(1.0, x[h], out=x[h]))

    x[...] = 1
    repeat = Repetition(recorded(work, x))
    for half in (0, 1):
        x[...] = 1
        x[half] = 0
        with pytest.raises(FloatingPointError):
            repeat()


def test_ctrl_c_leaves_no_helper_at_work(two_threads):
    """Wherever it strikes: here at each line of a repetition and of what it calls."""
    x = seen(2, 1000)

    def work(x):
        halved(lambda h: np.add(recomputed(slow, x[h]), 1, out=x[h]))
        np.add(x, 1, out=x)

    def slow(a):
        time.sleep(1e-4)
        return a

    repeat = Repetition(recorded(work, x))
    files = {repetition.__file__, workers.__file__, and_surely.__code__.co_filename}
    place = 0
    while True:
        strike = Struck(files, "line", place)
        if not strike.during(repeat):
            break
        assert not workers._open_jobs, strike.at
        after = np.array(x)
        time.sleep(3e-4)
        np.testing.assert_array_equal(x, after, err_msg=strike.at)
        place += 1
    assert place > 30
    before = np.array(x)
    repeat()
    np.testing.assert_array_equal(x, before + 2)
