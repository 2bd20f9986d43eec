"""Memory that the steps of a training share."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from cukernels.runtime import workspace as _workspace
from cukernels.runtime.workspace import Workspace, Workspaces, empty
from cukernels.training.gather import gather_rows


def address(x: np.ndarray) -> int:
    return x.ctypes.data


def test_outside_of_a_workspace_arrays_are_their_own():
    with Workspace():
        pass
    x = empty((2, 3), np.float32)
    assert x.shape == (2, 3) and x.dtype == np.float32 and x.base is None


def test_a_block_finds_the_memory_of_the_last_one():
    workspace = Workspace()
    for n_block in range(3):
        with workspace:
            a, b, c = empty((3, 5), np.float32), empty((7,), bool), empty((0, 4), np.float64)
            a[...], b[...] = n_block, n_block % 2
            assert (a == n_block).all() and (b == n_block % 2).all() and c.size == 0
        if n_block > 0:
            assert not {address(x) % 64 for x in (a, b)} - {0}
            assert address(b) == address(a) + 64
    with workspace:
        assert address(empty((3, 5), np.float32)) == address(a)


def test_what_does_not_fit_is_there_all_the_same_and_fits_in_the_next_block():
    workspace = Workspace()
    with workspace:
        empty((4,), np.float64)
    with workspace:
        small, large = empty((4,), np.float64), empty((1000,), np.float64)
        small[...], large[...] = 1, 2
        assert (small == 1).all() and large.base is None
    with workspace:
        small, large = empty((4,), np.float64), empty((1000,), np.float64)
        assert small.base is large.base is not None


def test_an_error_ends_the_block():
    try:
        with Workspace():
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert empty((2,), float).base is None


def test_threads_have_memory_of_their_own():
    workspaces, both = Workspaces(), threading.Barrier(2)
    places = {}

    def work(name: str) -> None:
        def block() -> None:
            x = empty((100,), np.int64)
            both.wait()
            x[...] = ord(name)
            both.wait()
            assert (x == ord(name)).all()
            places[name] = address(x)
            both.wait()

        for _ in range(3):  # from the second block on there is memory
            workspaces.compute(2**18, block)

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert places["a"] != places["b"] and len(workspaces._free) == 2
    assert getattr(_workspace._own, "workspace", None) is None


def test_where_little_is_made_there_is_no_workspace():
    workspaces = Workspaces()
    assert not workspaces.compute(2**18 - 1, _workspace.is_active)
    assert workspaces.compute(2**18, _workspace.is_active)
    assert not _workspace.is_active()


@pytest.mark.parametrize("rows", [[[0, 5]], [[0, -1]], [[0, -7]]])
def test_rows_are_checked_although_they_are_copied_to_given_memory(rows):
    x = np.arange(10.0).reshape(5, 2)
    with Workspace():
        with pytest.raises(ValueError, match="none of the 5 rows of x"):
            gather_rows(x, np.array(rows))
        np.testing.assert_array_equal(gather_rows(x, np.array([[4, 0]])), x[[[4, 0]]])


def test_a_small_block_does_not_make_the_next_one_small():
    memory = Workspace()
    for shape in ((100, 30), (2,), (100, 30), (100, 30)):
        with memory:
            made = empty(shape, np.float64)
    assert made.base is not None  # within the workspace
