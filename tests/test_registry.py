"""The registry's rules, and how the type of an array decides where an op runs."""

from __future__ import annotations

import numpy as np
import pytest

import cukernels
from cukernels._array import resolve_device, to_device, to_host
from cukernels._op import OPS, cuda_body, numpy_body, op
from test_ops import all_calls, cast


@pytest.fixture
def registry(monkeypatch):
    """A registry to write into, without trace in the real one."""
    scratch = dict(OPS)
    monkeypatch.setattr("cukernels._op.OPS", scratch)
    return scratch


def test_every_op_is_public():
    for name, entry in OPS.items():
        function = getattr(cukernels, name)
        assert name in cukernels.__all__
        assert function.__wrapped__ is entry.reference


def first_call(entry) -> dict:
    """Arguments that an op takes, in float32, as many arrays among them as there can be."""
    calls = [call.values[1] for call in all_calls() if call.values[0] is entry]

    def arrays(arguments: dict) -> int:
        return sum(isinstance(value, np.ndarray) for value in arguments.values())

    return cast(max(calls, key=arrays), np.float32)


@pytest.mark.parametrize("where", ["cpu", "cuda"])
@pytest.mark.parametrize("entry", OPS.values(), ids=OPS)
def test_a_dtype_that_no_kernel_has_is_refused(entry, where, emulated_cupy):
    """Of every argument, by words that name op, argument and dtype; nothing is written before."""
    place = emulated_cupy.asarray if where == "cuda" else np.copy
    given = first_call(entry)
    checked = 0
    for name, kind in entry.kinds.items():
        value = given.get(name)
        shape = value.shape if isinstance(value, np.ndarray) else (1,)
        for dtype in ("float16", "int32", "complex64", "float64", "bool"):
            if np.dtype(dtype).char in kind.chars:
                continue
            wrong = given | {name: np.ones(shape, dtype)}
            placed = {n: place(v) if isinstance(v, np.ndarray) else v for n, v in wrong.items()}
            with pytest.raises(TypeError, match=rf"^{entry.name}: {name} must be .*, got {dtype}$"):
                getattr(cukernels, entry.name)(**placed)
            checked += 1
    assert checked >= 4 or entry.name == "gather_rows"


def test_every_argument_that_is_an_array_has_a_kind():
    for entry in OPS.values():
        for call in all_calls():
            if call.values[0] is entry:
                for name, value in call.values[1].items():
                    if isinstance(value, np.ndarray):
                        assert value.dtype.char in entry.kinds[name].chars


def test_numbers_are_of_any_type():
    """NumPy's scalars are numbers, not arrays."""
    assert cukernels.leaky_relu(np.ones(2), negative_slope=np.int64(1)).tolist() == [1, 1]


def test_a_dtype_is_refused_by_place_and_by_name():
    half, single = np.ones((2, 2), np.float16), np.ones((2, 2), np.float32)
    for arguments, named in (((single, half), {}), ((single,), {"b": half})):
        with pytest.raises(TypeError, match="^matmul: b must be a float32 or float64 array, got"):
            cukernels.matmul(*arguments, **named)


def test_an_array_of_neither_kind_is_refused():
    for x in ([1.0, 2.0], (1.0,), None, "x"):
        with pytest.raises(TypeError, match="expected a NumPy or CuPy array, got"):
            cukernels.relu(x)


def test_numpy_arrays_take_the_numpy_body(registry):
    @op()
    def double(x):
        """Twice x."""
        return x + x

    x = np.ones(3)
    assert (double(x) == 2).all()

    @numpy_body(double)
    def _faster(x):
        return 2 * x + 1

    @cuda_body(double)
    def _kernel(x):
        raise AssertionError("a NumPy array went to the GPU")

    assert (double(x) == 3).all()
    assert (double(x=x) == 3).all()
    assert registry["double"].cuda is _kernel


@pytest.mark.parametrize(
    ("define", "message"),
    [
        (lambda dy, x: None, "is defined before its forward"),
        (lambda dy, x, other: None, r"not \['other'\]"),
        (lambda x, dy: None, "the first argument is `dy`"),
    ],
)
def test_a_backward_that_breaks_the_contract_is_refused(registry, define, message):
    if "before" not in message:

        @op()
        def thing(x):
            """Some thing."""
            return x

    define.__name__ = "thing_backward"
    with pytest.raises(TypeError, match=message):
        op(gradients=("x",))(define)


def test_a_backward_says_what_it_returns_gradients_of(registry):
    @op()
    def thing(x):
        """Some thing."""
        return x

    def thing_backward(dy, x):
        return dy

    with pytest.raises(TypeError, match="does not say what it returns the gradients of"):
        op()(thing_backward)


def test_devices():
    assert resolve_device("auto") == resolve_device("cpu") == "cpu"
    x = np.ones(3)
    assert to_device(x, "cpu") is x
    assert to_host(x) is x
    for name in ("gpu", "cuda:", "cuda:-1", "cuda:one", "CUDA", ""):
        with pytest.raises(ValueError, match="Unknown device .* expected 'auto', 'cpu', 'cuda'"):
            resolve_device(name)
