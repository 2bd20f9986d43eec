"""Pooling on a GPU: many more shapes, equal values, and values not finite."""

from __future__ import annotations

import numpy as np
import pytest

import cukernels.pooling.pooling_cuda as bodies
from _cuda_calls import device_results
from _op_cases import assert_close
from cukernels import OPS
from cukernels.runtime.cases import bound_to_backward, cast, copied, results

CASES = {
    "2 x 2, four channels": ((3, 6, 8, 4), {}),
    "2 x 2, eight channels": ((2, 5, 7, 8), {}),
    "2 x 2, five channels": ((2, 5, 7, 5), {}),
    "2 x 2, padded": ((2, 5, 6, 4), {"padding": 1}),
    "2 x 2, same": ((2, 5, 7, 4), {"padding": "same"}),
    "2 x 2, stride 1": ((2, 5, 6, 4), {"stride": 1}),
    "2 x 2, stride 3": ((2, 8, 9, 4), {"stride": 3}),
    "2 x 2, stride (2, 1)": ((2, 6, 5, 4), {"stride": (2, 1), "padding": "same"}),
    "3 x 3, stride 2": ((2, 9, 8, 4), {"pool_size": 3, "stride": 2}),
    "3 x 3, stride 2, padded": ((2, 8, 7, 4), {"pool_size": 3, "stride": 2, "padding": 1}),
    "3 x 3, stride 2, same": ((2, 8, 7, 6), {"pool_size": 3, "stride": 2, "padding": "same"}),
    "3 x 3, stride 1": ((1, 6, 7, 4), {"pool_size": 3, "stride": 1, "padding": (2, 1)}),
    "3 x 3": ((2, 9, 10, 4), {"pool_size": 3}),
    "5 x 4, stride (2, 3)": ((2, 11, 9, 4), {"pool_size": (5, 4), "stride": (2, 3), "padding": 2}),
    "1 x 6": ((2, 4, 13, 4), {"pool_size": [1, 6], "stride": [1, 5]}),
    "6 x 5, stride (7, 5)": ((2, 16, 11, 4), {"pool_size": (6, 5), "stride": (7, 5)}),
    "whole images": ((5, 7, 7, 12), {"pool_size": 7}),
    "one image": ((6, 7, 4), {}),
    "models": ((2, 3, 2, 4, 6, 4), {"pool_size": 3, "stride": 1}),
    "no channels": ((2, 4, 4, 0), {}),
    "no models": ((0, 2, 4, 4, 4), {}),
}
FORWARDS = [OPS["max_pool2d"], OPS["avg_pool2d"]]
by_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def check(op, cupy, arguments, dtype):
    given = cast(arguments, dtype)
    exact = results(op, op.reference, copied(cast(given, np.float64)))
    got = device_results(op, cupy, copied(given))
    assert_close(got, exact, arguments, dtype)
    if op.name.startswith("max"):  # no rounding, or in the same order
        same = results(op, op.reference, copied(given))
        np.testing.assert_array_equal(got[0], same[0])


@by_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("op", FORWARDS, ids=lambda op: op.name)
@pytest.mark.parametrize("values", ["different", "often equal"])
def test_pooling(op, dtype, case, values, cupy):
    shape, geometry = case
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape) if values == "different" else rng.integers(0, 3, shape) * 1.0
    arguments = {"x": x, **geometry}
    check(op, cupy, arguments, dtype)
    check(op.backward, cupy, bound_to_backward(op, arguments, rng), dtype)


@by_case
def test_in_parts(case, cupy, monkeypatch):
    """More threads than one launch has: a launch for some images after the other."""
    shape, geometry = case
    arguments = {"x": np.random.default_rng(0).standard_normal(shape), **geometry}
    monkeypatch.setattr(bodies, "MOST_THREADS", 2 * 7 * 8)
    for op in FORWARDS:
        check(op, cupy, arguments, np.float64)
        bound = bound_to_backward(op, arguments, np.random.default_rng(1))
        check(op.backward, cupy, bound, np.float64)


@by_case
def test_not_finite(case, cupy):
    """A NaN is the largest; a window that has one gives its gradient to no pixel."""
    shape, geometry = case
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    x[rng.random(shape) < 0.3] = -np.inf
    x[rng.random(shape) < 0.1] = np.nan
    x[rng.random(shape) < 0.1] = np.inf
    op = OPS["max_pool2d"]
    arguments = {"x": x, **geometry}
    (y,) = device_results(op, cupy, arguments)
    np.testing.assert_array_equal(y, op.reference(**arguments))
    bound = bound_to_backward(op, arguments, rng)
    (dx,) = device_results(op.backward, cupy, bound)
    if geometry.get("padding", 0) == 0:  # where all is -inf, padding wins in the reference
        np.testing.assert_array_equal(dx, op.backward.reference(**bound))
    assert not np.any(dx[np.isnan(x)])


@pytest.mark.parametrize("geometry", [{}, {"stride": 1}], ids=["apart", "overlapping"])
def test_padding_never_wins(geometry, cupy):
    x = np.full((1, 3, 3, 4), -np.inf)
    dy_shape = OPS["max_pool2d"].reference(x, padding=1, **geometry).shape
    arguments = {"dy": np.ones(dy_shape), "x": x, "y": np.full(dy_shape, -np.inf)}
    (dx,) = device_results(OPS["max_pool2d_backward"], cupy, arguments | geometry | {"padding": 1})
    assert dx.sum() == np.prod(dy_shape)


def test_a_model_is_the_same_in_any_stack(cupy):
    x = np.random.default_rng(0).standard_normal((3, 2, 7, 6, 4)).astype(np.float32)
    for op in FORWARDS:
        arguments = {"x": x, "pool_size": 3, "stride": 2}
        (stack,) = device_results(op, cupy, arguments)
        for m in range(3):
            (alone,) = device_results(op, cupy, arguments | {"x": x[m]})
            np.testing.assert_array_equal(stack[m], alone)


def test_too_large_images_are_refused():
    with pytest.raises(ValueError, match="2\\*\\*31 values"):
        bodies._pooling((1, 2**15, 2**14, 4), 4, 2, None, 0)
