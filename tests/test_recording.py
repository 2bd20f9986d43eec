"""Calls of NumPy that are recorded and repeated: the ops of a step make the same bits again."""

from __future__ import annotations

import sys
import threading
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import scipy.special

from _recorded import pairs_of, seen
from cukernels.runtime import Recorded, Recording, and_surely, empty, workers
from cukernels.runtime.cases import cast, copied, results, samples_of
from cukernels.runtime.recording import CannotRecord, is_recording, of_now, recomputed
from cukernels.runtime.registry import OPS
from cukernels.runtime.workspace import Workspace

# Of other ops the steps are computed: they read numbers of their arrays, or are not of a step.
OTHERS = (
    *("csr_matmul", "csr_perceptron_sweep"),
    *("lbfgs_products", "lbfgs_step", "local2d", "perceptron_loss"),
    *("perceptron_sweep", "right_rows", "take_step"),
)


def pairs():
    for op in OPS.values():
        if op.samples and op.name not in OTHERS:
            yield from pairs_of(op)


def are_alike(a, b) -> bool:
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and (a.shape, a.dtype) == (b.shape, b.dtype)
    return isinstance(a, dict) or a == b


PAIRS = [p for p in pairs() if all(map(are_alike, p[2].values(), p[3].values()))]


def test_all_ops_of_steps_are_there():
    forwards = {op.name for op in OPS.values() if op.samples}
    assert {op.name for op, *_ in PAIRS} >= forwards - set(OTHERS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("in_workspace", [False, True])
@pytest.mark.parametrize(("op", "name", "first", "second"), PAIRS, ids=[p[1] for p in PAIRS])
def test_an_op_makes_the_bits_again(op, name, first, second, in_workspace, dtype):
    first, second = cast(first, dtype), cast(second, dtype)
    body = op.numpy or op.reference
    memory = Workspace()
    with np.errstate(all="ignore"):
        expected = results(op, body, copied(second))
        for _ in range(2):  # the second time the workspace is as large as it has to be
            places = copied(first)
            recording = Recording()
            with memory if in_workspace else nullcontext():
                made = recording.record(results, op, body, seen(places))
        for name, a in places.items():
            if isinstance(a, np.ndarray):
                np.copyto(a, second[name])
        recording.repeat()
    for own, right in zip(made, expected, strict=True):
        np.testing.assert_array_equal(of_now(own), right, strict=True)


@pytest.mark.parametrize("name", ["conv2d", "conv2d_max_pool"])
def test_images_that_models_choose_are_refused(name):
    """Which models share an image is a matter of the numbers in `x_of`."""
    op = OPS[name]
    chosen = [call for call in samples_of(op) if call.get("x_of") is not None]
    assert chosen
    for call in chosen:
        with pytest.raises(CannotRecord):
            Recording().record(results, op, op.numpy, seen(call))


# What can't be repeated is refused ---------------------------------------------------------------

X = np.arange(12.0).reshape(3, 4)


def written_row(x):
    row = x[1]
    row += 2.5
    return x * 2


READS = {
    "bool": lambda x: bool(x.any()),
    "if": lambda x: 1 if x[0, 0] > 1 else 2,
    "float": lambda x: float(x.sum()),
    "int": lambda x: int(x.max()),
    "a number": lambda x: x[1, 2],
    "tolist": lambda x: x.tolist(),
    "item": lambda x: x.sum().item(),
    "rows": lambda x: [row.sum() for row in x],
    "mask": lambda x: x[x > 3],
    "mask of nothing": lambda x: x[x > 100],
    "nonzero": lambda x: np.nonzero(x),
    "where": lambda x: np.where(x > 3),
    "where nothing is": lambda x: np.where(x > 100),
    "allclose": lambda x: np.allclose(x, 1),
    "array_equal": lambda x: np.array_equal(x, X),
    "argmax": lambda x: x.argmax(axis=1),
    "unique": lambda x: np.unique(x),
    "two arrays": lambda x: np.modf(x),
    "dot": lambda x: x.dot(x.T),
    "sort": lambda x: x.sort(),
    "index": lambda x: [1, 2, 3][x.astype(int)[0, 1]],
}


@pytest.mark.parametrize("reads", READS.values(), ids=READS)
def test_numbers_of_python_are_refused(reads):
    with pytest.raises(CannotRecord):
        Recording().record(reads, X.copy().view(Recorded))
    assert not is_recording()


CALLS = {
    "in place": lambda x: x.__imul__(x[:, :1] + 1),
    "reduced to a number": lambda x: x.sum(),
    "mean": lambda x: x.mean(axis=0),
    "variance": lambda x: x.var(axis=1, keepdims=True),
    "clip": lambda x: x.clip(2, 5),
    "chosen rows": lambda x: x[np.array([2, 0, 2])],
    "chosen places": lambda x: x.reshape(-1)[np.array([[1, 5], [3, 0]])],
    "a view that is written to": written_row,
    "set": lambda x: x.__setitem__((slice(None), 1), x[:, 0]),
    "set chosen": lambda x: x.__setitem__(np.array([0, 2]), 0.5),
    "transposed and flat": lambda x: x.T.reshape(-1) * 2,
    "ravel": lambda x: x.T.ravel() * 2,
    "in another dtype": lambda x: x.astype(np.float32) / 3,
    "in the same": lambda x: x.astype(np.float64, copy=False) / 3,
    "copy": lambda x: x.copy() - 1,
    "take": lambda x: x.take([1, 1, 3], axis=1),
    "take into": lambda x: x.take([1, 0], axis=0, out=np.empty((2, 4)), mode="clip"),
    "where": lambda x: np.where(x > 5, x, -1),
    "concatenated": lambda x: np.concatenate([x, x[:1]]),
    "concatenated into": lambda x: np.concatenate([x, x], out=np.empty((6, 4)).view(Recorded)),
    "copied": lambda x: np.copyto(x[0], x[2]),
    "zeros like": lambda x: np.add(np.zeros_like(x), x),
    "broadcast": lambda x: np.stack(np.broadcast_arrays(x[0], x)),
    "dot": lambda x: np.dot(x[0], x[1]),
    "matmul into": lambda x: np.matmul(x, x.T, out=np.empty((3, 3))),
    "expit": lambda x: scipy.special.expit(x),
    "at": lambda x: np.add.at(x, (np.array([0, 0]), np.array([1, 1])), 2.5),
    "accumulate": lambda x: np.add.accumulate(x, axis=1),
    "recomputed": lambda x: recomputed(lambda a: np.array([float(v) ** 2 for v in a[0]]), x),
    "type": lambda x: x.astype(np.result_type(x, np.float32)) + 1,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_calls_are_repeated_with_other_numbers(call):
    rng = np.random.default_rng(0)
    memory = X.copy()
    recording = Recording()
    made = recording.record(call, memory.view(Recorded))
    for _ in range(2):
        given = rng.uniform(0, 9, X.shape)
        memory[...] = given
        recording.repeat()
        right = given.copy()
        expected = call(right)
        np.testing.assert_array_equal(memory, right)
        if expected is not None and made is not None:
            np.testing.assert_array_equal(of_now(np.asarray(made)), expected)


def test_a_repetition_has_the_error_state_of_the_recording():
    def divide(x):
        with np.errstate(divide="ignore"):
            return 1 / x

    memory = np.ones(3)
    recording = Recording()
    made = recording.record(divide, memory.view(Recorded))
    memory[0] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recording.repeat()
    assert made[0] == np.inf


def test_parts_that_threads_share_are_repeated(monkeypatch):
    monkeypatch.setattr(workers, "threads", lambda: 2)
    x, recording = X.copy(), Recording()

    def added(seen):
        parts = workers.in_parallel(lambda _, row: seen[row] * 2, [0, 1, 2])
        return parts[0] + parts[2]

    total = recording.record(added, x.view(Recorded))
    assert len(recording.calls) == 2
    x += 1
    recording.repeat()
    np.testing.assert_array_equal(of_now(total), 2 * (x[0] + x[2]))


def test_what_is_recomputed_is_one_call():
    def doubled(a):
        return np.add(a, a, out=empty(a.shape, a.dtype))

    recording = Recording()
    recording.record(lambda x: (recomputed(doubled, x), x + 1), X.view(Recorded))
    assert len(recording.calls) == 2


def test_each_thread_records_for_itself():
    seen = []

    def work(x):
        other = threading.Thread(target=lambda: seen.append(is_recording()))
        other.start()
        other.join()
        assert is_recording()
        return x + 1

    recording = Recording()
    recording.record(work, X.view(Recorded))
    assert seen == [False]
    assert not is_recording()
    assert len(recording.calls) == 1


def test_outside_of_a_recording_nothing_is_noted():
    recording = Recording()
    x = recording.record(lambda x: x + 1, X.view(Recorded))
    np.testing.assert_array_equal(of_now(x * 2), (X + 1) * 2)
    assert x[0, 1] == 2 and x.tolist() == (X + 1).tolist()
    assert len(recording.calls) == 1


def test_ctrl_c_ends_a_recording():
    """Wherever it strikes: here at each line that `record` goes through."""
    code = Recording.record.__code__
    nested = {code, *(c for c in code.co_consts if hasattr(c, "co_code")), and_surely.__code__}

    def struck_at(line):
        left = iter(range(line))

        def strike(frame, event, argument):
            if frame.f_code in nested and next(left, None) is None:
                sys.settrace(None)
                raise KeyboardInterrupt
            return strike

        before = sys.gettrace()
        sys.settrace(strike)
        try:
            Recording().record(lambda x: x + 1, X.view(Recorded))
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False

    lines = next(line for line in range(1000) if not struck_at(line))
    assert lines > 10
    assert not is_recording()
