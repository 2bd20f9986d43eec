"""The registry's rules, and how the type of an array decides where an op runs."""

from __future__ import annotations

import numpy as np
import pytest

import cukernels
from cukernels._array import resolve_device, to_device, to_host
from cukernels._op import OPS, cuda_body, numpy_body, op


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
