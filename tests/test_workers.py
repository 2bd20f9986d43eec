"""Worker threads: which thread computes what is left to chance, what comes out is not."""

from __future__ import annotations

import gc
import os
import queue
import threading
import time
import weakref

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from cukernels.images.conv import conv2d, conv2d_backward
from cukernels.runtime import chunks, workers
from cukernels.runtime.blas_threads import _libraries, on_one_blas_thread
from cukernels.runtime.workers import in_parallel, scratch, threads


def test_results_are_in_order(two_threads):
    def slow_first(state, item):
        time.sleep(0.02 * (item == 0))
        return item * item

    assert in_parallel(slow_first, range(20)) == [i * i for i in range(20)]


def test_two_threads_share_the_items(two_threads):
    both_are_here = threading.Barrier(2, timeout=30)
    names = in_parallel(lambda state, item: (both_are_here.wait(), threading.get_ident()), [0, 1])
    assert names[0][1] != names[1][1]


def test_each_thread_has_a_state_of_its_own(two_threads):
    wait = threading.Barrier(2, timeout=30)
    states = in_parallel(lambda state, item: (wait.wait(), state)[1], [0, 1], state=list)
    assert states[0] is not states[1]


def test_blas_has_one_thread_inside_and_its_own_number_after(two_threads):
    blas = _libraries()[0]
    before = blas.get_num_threads()
    assert set(in_parallel(lambda state, item: blas.get_num_threads(), range(4))) == {1}
    assert blas.get_num_threads() == before

    @on_one_blas_thread
    def alone():
        assert blas.get_num_threads() == 1
        assert threads() == before
        in_parallel(lambda state, item: None, range(4))
        assert blas.get_num_threads() == 1

    alone()
    assert blas.get_num_threads() == before


def test_a_call_inside_a_call_stays_on_its_thread(two_threads):
    def inner(state, item):
        return set(in_parallel(lambda state, item: threading.get_ident(), range(3)))

    for idents, outer in in_parallel(
        lambda state, item: (inner(state, item), threading.get_ident()), range(4)
    ):
        assert idents == {outer}


@pytest.mark.parametrize("bad", [0, 7])
def test_failures_are_raised_and_leave_things_as_they_were(bad, two_threads):
    before = _libraries()[0].get_num_threads()

    def fail(state, item):
        if item == bad:
            raise ZeroDivisionError("on purpose")
        return item

    with pytest.raises(ZeroDivisionError, match="on purpose"):
        in_parallel(fail, range(8))
    assert _libraries()[0].get_num_threads() == before
    assert in_parallel(lambda state, item: item, range(3)) == [0, 1, 2]


def test_nobody_begins_an_item_after_a_failure(two_threads):
    begun = []
    failed = threading.Event()

    def fail_first(state, item):
        begun.append(item)
        if item == 0:
            failed.set()
            raise ZeroDivisionError
        failed.wait(30)
        time.sleep(0.05)  # time for the failure to be noticed

    with pytest.raises(ZeroDivisionError):
        in_parallel(fail_first, range(1000))
    assert len(begun) < 10


def test_floating_point_settings_hold_for_all_threads(two_threads):
    both_are_here = threading.Barrier(2, timeout=30)

    def overflow(state, item):
        both_are_here.wait()
        return np.geterr()["over"]

    for setting in ("ignore", "raise"):
        with np.errstate(over=setting):
            assert in_parallel(overflow, [0, 1]) == [setting] * 2


def test_shares_are_equal_and_even_in_number():
    for length, most, number in ((0, 5, 0), (5, 5, 1), (6, 5, 2), (21, 5, 6), (128, 41, 4)):
        cut = chunks.shares(length, most)
        assert len(cut) == number
        assert [i for part in cut for i in range(length)[part]] == list(range(length))
        assert all(part.stop - part.start <= most for part in cut)


def test_limits_on_blas_are_limits_here():
    with threadpool_limits(1, user_api="blas"):
        assert threads() == 1
        assert in_parallel(lambda state, item: threading.get_ident(), range(3)) == (
            [threading.get_ident()] * 3
        )


def test_scratch_is_kept_by_role_and_thread(two_threads):
    a = scratch("a", (3, 4), np.dtype(np.float32))
    assert a.shape == (3, 4)
    assert np.shares_memory(a, scratch("a", (2, 2), np.dtype(np.float32)))
    assert not np.shares_memory(a, scratch("b", (3, 4), np.dtype(np.float32)))
    wait = threading.Barrier(2, timeout=30)
    ours = in_parallel(
        lambda state, item: (wait.wait(), scratch("c", (5,), np.dtype(float)))[1], [0, 1]
    )
    assert not np.shares_memory(*ours)


def test_convolutions_do_not_depend_on_the_threads(two_threads):
    """To the bit: the chunks depend on shapes alone, and their sums have an order."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((90, 14, 14, 8), dtype=np.float32)
    w = rng.standard_normal((16, 3, 3, 8), dtype=np.float32)
    bias = rng.standard_normal(16, dtype=np.float32)

    def results():
        y = conv2d(x, w, bias, padding=1, activation="relu")
        return y, *conv2d_backward(y, x, w, bias, y, padding=1, activation="relu")

    several = results()
    with threadpool_limits(1, user_api="blas"):
        one = results()
    for a, b in zip(several, one, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_not_worth_threads_stays_with_the_caller(two_threads):
    def slowly(state, item):
        time.sleep(0.005)
        return threading.get_ident()

    assert set(in_parallel(slowly, range(6), worth=False)) == {threading.get_ident()}
    assert len(set(in_parallel(slowly, range(6)))) == 2


@pytest.fixture
def no_helpers(two_threads, monkeypatch):
    """As in a process that has not computed anything yet."""
    monkeypatch.setattr(workers, "_helpers", set())
    monkeypatch.setattr(workers, "_wake", queue.SimpleQueue())


def test_threads_that_cannot_start_are_done_without_and_started_later(no_helpers, monkeypatch):
    """The work is done by those there are; nothing is left for helpers that are not there."""
    started = threading.Thread.start
    allowed = 0

    def start(thread):
        nonlocal allowed
        if allowed == 0:
            raise RuntimeError("can't start new thread")
        allowed -= 1
        started(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setattr(workers, "threads", lambda: 4)
    gone = weakref.WeakSet()

    class Data:
        pass

    for n_helpers in (0, 1):
        allowed = n_helpers
        for _ in range(50):
            data = Data()
            gone.add(data)
            done = in_parallel(lambda data, item: (threading.get_ident(), item)[1], range(9), Data)
            assert done == list(range(9))
            in_parallel(lambda _, item, data=data: data, range(9))
        del data
        assert len(workers._helpers) == n_helpers
        assert workers._wake.qsize() <= n_helpers
    allowed = 2
    all_are_here = threading.Barrier(4, timeout=30)
    names = in_parallel(lambda _, item: (all_are_here.wait(), threading.get_ident())[1], range(4))
    assert len(set(names)) == 4
    assert not gone


def test_helpers_that_are_busy_are_not_called_again_and_again(two_threads):
    """A job that is closed leaves nothing behind, neither a call nor what it computed with."""
    started, go_on = threading.Event(), threading.Event()
    both_are_here = threading.Barrier(2, timeout=30)

    def wait(state, item):
        both_are_here.wait()
        started.set()
        go_on.wait(30)

    busy = threading.Thread(target=in_parallel, args=(wait, [0, 1]))
    busy.start()
    started.wait(30)
    arrays = weakref.WeakSet()
    for _ in range(200):
        array = np.zeros(10).view(Watched)
        arrays.add(array)
        in_parallel(lambda state, item, array=array: array.sum(), [0, 1, 2])
    del array
    assert len(arrays) == 0
    assert workers._wake.qsize() <= len(workers._helpers)
    go_on.set()
    busy.join(30)
    assert not busy.is_alive()


class Watched(np.ndarray):
    """An array that may be referred to weakly, and hashed."""

    __hash__ = object.__hash__


def test_helpers_that_sleep_hold_nothing(two_threads):
    array = np.zeros(10).view(Watched)
    held = weakref.ref(array)
    both_are_here = threading.Barrier(2, timeout=30)
    in_parallel(lambda state, item, array=array: (both_are_here.wait(), array.sum()), [0, 1])
    del array
    deadline = time.monotonic() + 30
    while held() is not None and time.monotonic() < deadline:
        time.sleep(0.001)  # the helper still has to let go
    assert held() is None


@pytest.mark.parametrize("bad", [0, 1])
def test_an_error_is_in_no_cycle(bad, two_threads):
    gc.disable()
    try:
        array = np.zeros(10).view(Watched)
        held = weakref.ref(array)
        both_are_here = threading.Barrier(2, timeout=30)

        def fail(state, item, array=array):
            both_are_here.wait()
            if item == bad:
                raise ZeroDivisionError
            return array.sum()

        with pytest.raises(ZeroDivisionError) as raised:
            in_parallel(fail, [0, 1])
        del array, fail, raised
        deadline = time.monotonic() + 30
        while held() is not None and time.monotonic() < deadline:
            time.sleep(0.001)
        assert held() is None
    finally:
        gc.enable()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_fork_while_others_compute_finds_blas_and_threads(two_threads):
    """In the child there are no helpers and nobody who would put BLAS's threads back."""
    blas, begun, go_on = _libraries()[0], threading.Event(), threading.Event()
    before = blas.get_num_threads()

    @on_one_blas_thread
    def compute():
        begun.set()
        go_on.wait(30)

    other = threading.Thread(target=compute)
    other.start()
    begun.wait(30)
    child = os.fork()
    if child == 0:
        both_are_here = threading.Barrier(2, timeout=20)
        right = blas.get_num_threads() == before
        in_parallel(lambda state, item: both_are_here.wait(), [0, 1])
        os._exit(0 if right and blas.get_num_threads() == before else 3)
    go_on.set()
    other.join(30)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert blas.get_num_threads() == before
