"""`out` of the backwards: gradients are stored where the caller wants them, and are the same there.

A network's gradients are views of one flat array a model, which an optimizer reads in one pass.
"""

from __future__ import annotations

import numpy as np
import pytest

import cukernels
from _cuda_calls import on_device, on_host
from cukernels.runtime.cases import bound_to_backward, cast, samples_of
from cukernels.runtime.registry import OPS

CALLS = [
    pytest.param(op, arguments, id=f"{op.backward.name}-{i}")
    for op in OPS.values()
    if op.backward
    for i, arguments in enumerate(samples_of(op))
]


def gradients_of(backward, returned) -> dict:
    """What a call returns, by the names of the arguments."""
    returned = returned if isinstance(returned, tuple) else (returned,)
    return {
        name: gradient
        for name, gradient in zip(backward.gradients, returned, strict=True)
        if gradient is not None
    }


def assert_the_same_in_place(backward, arguments, empty, within):
    """The bits of a call without `out`, in the arrays that are given, and nothing beside them."""
    call = getattr(cukernels, backward.name)
    expected = gradients_of(backward, call(**arguments))
    out = {name: within(empty, g) for name, g in expected.items()}
    got = gradients_of(backward, call(**arguments, out=out))
    assert got.keys() == expected.keys()
    for name, gradient in got.items():
        assert gradient is out[name]
        np.testing.assert_array_equal(on_host(gradient), on_host(expected[name]), err_msg=name)


def alone(empty, gradient):
    return empty(gradient.shape, gradient.dtype)


def among_others(empty, gradient):
    """A view of an array with more in it: of a stack, the models are apart."""
    lead = gradient.shape[:1] if gradient.ndim > 1 else ()
    size = int(np.prod(gradient.shape[len(lead) :]))
    return empty((*lead, size + 5), gradient.dtype)[..., :size].reshape(gradient.shape)


@pytest.mark.parametrize("within", [alone, among_others])
@pytest.mark.parametrize(("op", "arguments"), CALLS)
def test_on_the_host(op, arguments, within):
    bound = bound_to_backward(op, cast(arguments, np.float32), np.random.default_rng(0))
    assert_the_same_in_place(op.backward, bound, np.empty, within)


@pytest.mark.parametrize("within", [alone, among_others])
@pytest.mark.parametrize(("op", "arguments"), CALLS)
def test_on_the_device(op, arguments, within, cupy):
    bound = bound_to_backward(op, cast(arguments, np.float32), np.random.default_rng(0))
    there = {name: on_device(cupy, value) for name, value in bound.items()}
    assert_the_same_in_place(op.backward, there, cupy.empty, within)


def test_only_what_is_needed(cupy):
    a, b, dy = (cupy.asarray(np.ones((3, 3))) for _ in range(3))
    out = {name: cupy.full((3, 3), np.nan) for name in ("a", "b")}
    da, db, _ = cukernels.matmul_backward(dy, a, b, None, dy, needs=("b",), out=out)
    assert da is None and db is out["b"]
    assert np.isnan(out["a"].get()).all() and (out["b"].get() == 3).all()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("matmul", {"a": np.ones((1, 40, 6)), "b": np.ones((1, 6, 5)), "bias": np.ones((1, 5))}),
        (
            "conv2d",
            {"x": np.ones((1, 3, 6, 6, 2)), "w": np.ones((1, 4, 3, 3, 2)), "bias": np.ones((1, 4))},
        ),
        (
            "local2d",
            {
                "x": np.ones((1, 3, 4, 4, 2)), "w": np.ones((1, 2, 2, 4, 3, 3, 2)),
                "bias": np.ones((1, 2, 2, 4)),
            },
        ),
        ("batch_norm", dict(x=np.ones((1, 9, 4)), gamma=np.ones((1, 4)), beta=np.ones((1, 4)))),
    ],
)  # fmt: skip
def test_one_model_needs_no_copies(name, arguments, cupy, monkeypatch):
    """The gradients of a single fit are written once."""
    op = OPS[name]
    bound = bound_to_backward(op, cast(arguments, np.float32), np.random.default_rng(0))
    there = {key: on_device(cupy, value) for key, value in bound.items()}
    wanted = set(op.backward.gradients) - {"x", "a"}
    out = {key: cupy.empty(arguments[key].shape, np.float32) for key in wanted}
    monkeypatch.setattr(cupy.ndarray, "__setitem__", lambda *args: pytest.fail("a copy"))
    got = gradients_of(op.backward, getattr(cukernels, op.backward.name)(**there, out=out))
    assert all(got[key] is out[key] for key in wanted)
    assert all(np.isfinite(out[key].get()).all() for key in wanted)
