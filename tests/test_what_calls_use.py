"""What recorded calls read and write, from which follows what has to wait for what."""

from __future__ import annotations

import numpy as np
import pytest

from cukernels.runtime import Recorded, Recording
from cukernels.runtime.recording import Call, recomputed
from cukernels.runtime.repetition import Memory


def recorded(function, *arrays):
    recording = Recording()
    recording.record(function, *arrays)
    return recording


A = np.zeros(10)
CALLS = {
    "reads the first half": ([A[:5]], []),
    "reads the second half": ([A[5:]], []),
    "writes the first half": ([], [A[:5]]),
    "writes the second half": ([], [A[5:]]),
}


@pytest.mark.parametrize("first", CALLS)
@pytest.mark.parametrize("second", CALLS)
def test_calls_wait_for_writes_to_their_memory(first, second):
    call, other = (Memory.of([Call(lambda: None, *CALLS[name])]) for name in (first, second))
    same = first.split()[-2] == second.split()[-2]
    writes = "writes" in first or "writes" in second
    assert call.must_wait_for(other) == (same and writes)


def test_arrays_that_begin_at_one_place_are_others():
    first, second, third = A[:5], A[:], A[:10:2]
    for arrays in ([first, second], [second, first], [third, first, second]):
        reading = Memory.of([Call(lambda: None, [a]) for a in arrays])
        assert reading.must_wait_for(Memory.of([Call(lambda: None, [], [A[9:]])]))
        assert len(Memory.of([Call(lambda: None, [*arrays, *arrays])]).reads) == len(arrays)


@pytest.mark.parametrize(
    ("work", "reads", "writes"),
    [
        (lambda x, y, b, i: np.add(x[:2], 1, out=y[1:3]), ["x:2"], ["y1:3"]),
        (lambda x, y, b, i: np.add(x[:2], 1, out=y[:2], where=b[2:]), ["x:2", "b2:"], ["y:2"]),
        (lambda x, y, b, i: np.copyto(y[:2], x[2:]), ["x2:"], ["y:2"]),
        (lambda x, y, b, i: np.copyto(y[:2], 1.0, where=b[2:]), ["b2:"], ["y:2"]),
        (lambda x, y, b, i: y.__setitem__(slice(1, 3), x[:2]), ["x:2"], ["y1:3"]),
        (lambda x, y, b, i: np.add.at(y[1:3], [0, 1], x[:2]), ["x:2"], ["y1:3"]),
        (lambda x, y, b, i: np.concatenate([x[:1], x[1:2]], out=y[2:]), ["x:1", "x1:2"], ["y2:"]),
        (lambda x, y, b, i: x.take([0, 1], out=y[:2], mode="clip"), ["x:"], ["y:2"]),
        (lambda x, y, b, i: x.take(i[:2], out=y[:2], mode="clip"), ["x:", "i:2"], ["y:2"]),
        (lambda x, y, b, i: np.copyto(y[:2], x.take(i[2:])), ["x:", "i2:"], ["y:2"]),
        (lambda x, y, b, i: np.copyto(y[:2], x[i[2:]]), ["x:", "i2:"], ["y:2"]),
        (lambda x, y, b, i: y.__setitem__([0, 1], x[:2]), ["x:2"], ["y:"]),
        (lambda x, y, b, i: y.__setitem__(1, x[2:].sum()), ["x2:"], ["y:"]),
        (lambda x, y, b, i: y.__setitem__(b, 0.5), ["b:"], ["y:"]),
        (lambda x, y, b, i: y.__setitem__(np.zeros(4, bool), 0.5), [], ["y:"]),
        (lambda x, y, b, i: y.__setitem__(i[:2], x[:2]), ["x:2", "i:2"], ["y:"]),
        (lambda x, y, b, i: np.copyto(y[:2], x[2:].copy()), ["x2:"], ["y:2"]),
        (lambda x, y, b, i: np.copyto(y[:2], x.take([1, 0])), ["x:"], ["y:2"]),
        (lambda x, y, b, i: np.copyto(y[:2], x[[1, 0]]), ["x:"], ["y:2"]),
        (lambda x, y, b, i: np.copyto(y[:2], recomputed(np.cumsum, x[:2])), ["x:2"], ["y:2"]),
        (lambda x, y, b, i: np.copyto(y[:2], np.where(b[:2], x[:2], 1)), ["b:2", "x:2"], ["y:2"]),
    ],
)  # fmt: skip
def test_all_that_a_call_uses_is_noted(work, reads, writes):
    """Place by place: what is read of each array, and what is written to y."""
    arrays = {"x": np.ones(4), "y": np.ones(4), "b": np.ones(4, bool), "i": np.arange(4)}

    def places(chosen):
        marks = {name: np.zeros(4, bool) for name in arrays}
        for one in chosen:
            begin, end = (int(n) if n else None for n in one[1:].split(":"))
            marks[one[0]][begin:end] = True
        return {name: mark.tolist() for name, mark in marks.items()}

    def noted(which):
        calls = recorded(work, *(a.view(Recorded) for a in arrays.values())).calls
        used = [a for call in calls for a in getattr(call, which)]
        return {
            name: [any(np.may_share_memory(a[i : i + 1], u) for u in used) for i in range(4)]
            for name, a in arrays.items()
        }

    arguments = noted("reads")
    assert places(reads) == {
        name: [read and not written for read, written in zip(arguments[name], own, strict=True)]
        for name, own in places(writes).items()
    }
    assert noted("writes") == places(writes)
