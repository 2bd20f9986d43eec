"""A convolution with pooling against the two ops one after the other, to the bit."""

from __future__ import annotations

import re

import numpy as np
import pytest

from cukernels import (
    conv2d,
    conv2d_backward,
    conv2d_max_pool,
    conv2d_max_pool_backward,
    max_pool2d,
    max_pool2d_backward,
)
from cukernels.activations import ACTIVATIONS
from cukernels.images import patches
from cukernels.runtime import workers

CASES = {
    "2 x 2": ((9, 12, 14, 3), 8, {}),
    "a row and a column left over": ((5, 11, 9, 4), 5, {}),
    "3 x 2": ((4, 13, 9, 2), 6, {"pool_size": (3, 2)}),
    "whole maps": ((3, 6, 7, 2), 4, {"pool_size": (6, 7)}),
    "one place": ((3, 5, 4, 2), 4, {"pool_size": 1}),
    "a stride of the filters": ((4, 17, 15, 3), 4, {"stride": 2}),
    "many images": ((150, 14, 14, 16), 32, {}),
    "one channel": ((70, 28, 28, 1), 16, {}),
}
by_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def drawn(case, dtype, values="different", seed=0):
    """Images, filters and biases of two models, and how windows lie."""
    (n, h, w, c), k, more = case
    rng = np.random.default_rng(seed)

    def draw(*shape):
        if values == "different":
            return rng.standard_normal(shape).astype(dtype)
        return rng.integers(-1, 2, shape).astype(dtype)  # so that many responses are equal

    more = {"padding": "same", "stride": 1, "pool_size": 2} | more
    return draw(2, n, h, w, c), draw(2, k, 3, 3, c), draw(2, k), more


def apart(x, w, bias, more, activation, rng, **others):
    """What the two ops compute one after the other; dy; and how to call the backward of one."""
    own = {"padding": more["padding"], "stride": more["stride"], "activation": activation}
    z = conv2d(x, w, bias, **own, **others)
    y = max_pool2d(z, pool_size=more["pool_size"])
    dy = rng.standard_normal(y.shape).astype(y.dtype)
    dz = max_pool2d_backward(dy, z, y, pool_size=more["pool_size"])
    return y, dy, conv2d_backward(dz, x, w, bias, z, **own, **others)


@by_case
@pytest.mark.parametrize("values", ["different", "often equal"])
@pytest.mark.parametrize("activation", ["identity", "relu"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_bit_changes(case, values, activation, dtype):
    x, w, bias, more = drawn(case, dtype, values)
    expected, dy, gradients = apart(x, w, bias, more, activation, np.random.default_rng(1))
    y, places = conv2d_max_pool(x, w, bias, **more, activation=activation)
    np.testing.assert_array_equal(y, expected)
    got = conv2d_max_pool_backward(dy, x, w, bias, y, places, **more, activation=activation)
    for own, other in zip(got, gradients, strict=True):
        np.testing.assert_array_equal(own, other)


def test_no_bit_changes_if_responses_are_equal_with_their_bias_alone():
    """1e-9 and 2e-9 differ; with a bias of 1 they are the same number, and the first one wins."""
    x = np.array([1e-9, 2e-9, 0, 0], np.float32).reshape(1, 2, 2, 1)
    w, bias = np.ones((1, 1, 1, 1), np.float32), np.ones(1, np.float32)
    y, places = conv2d_max_pool(x, w, bias, activation="relu")
    assert (y.item(), places.item()) == (1, 0)
    assert conv2d_max_pool(x, w, activation="relu")[1].item() == 1


def test_a_window_without_a_response_above_zero_gets_no_gradient():
    x = -np.ones((1, 4, 4, 1))
    w, dy = np.ones((2, 1, 1, 1)), np.ones((1, 2, 2, 2))
    y, places = conv2d_max_pool(x, w, activation="relu")
    gradients = conv2d_max_pool_backward(dy, x, w, None, y, places, activation="relu")
    assert not y.any() and not any(g.any() for g in gradients if g is not None)


@pytest.mark.parametrize("name", [name for name, a in ACTIVATIONS.items() if a.never_decreases])
def test_activations_that_never_decrease(name):
    """They commute with the maximum; those that round may differ in the last bit."""
    x = np.linspace(-30, 30, 200_001)
    slopes = np.diff(ACTIVATIONS[name].forward(x))
    assert (slopes >= -4 * np.finfo(float).eps).all()
    x, w, bias, more = drawn(CASES["3 x 2"], np.float64)
    expected, dy, gradients = apart(x, w, bias, more, name, np.random.default_rng(1))
    y, places = conv2d_max_pool(x, w, bias, **more, activation=name)
    np.testing.assert_allclose(y, expected, rtol=1e-14)
    got = conv2d_max_pool_backward(dy, x, w, bias, y, places, **more, activation=name)
    for own, other in zip(got, gradients, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-11, atol=1e-12)


def test_the_others_do_decrease():
    x = np.linspace(-10, 10, 2001).reshape(1, -1)
    for name, activation in ACTIVATIONS.items():
        if not (activation.never_decreases or activation.of_rows):
            assert np.diff(activation.forward(x)).min() < 0, name


@pytest.mark.parametrize("chunk", [1, 3000, 20_000])
@by_case
def test_parts_of_images(case, chunk, monkeypatch):
    """Windows stay whole where an image is more than fits the cache."""
    x, w, bias, more = drawn(case, np.float64)
    x = x[:, :6]
    expected, dy, gradients = apart(x, w, bias, more, "relu", np.random.default_rng(1))
    monkeypatch.setattr(patches, "_CHUNK", chunk)
    y, places = conv2d_max_pool(x, w, bias, **more, activation="relu")
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
    got = conv2d_max_pool_backward(dy, x, w, bias, y, places, **more, activation="relu")
    for own, other in zip(got, gradients, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-11, atol=1e-12 * np.abs(other).max())


@by_case
def test_threads_change_no_bit(case, monkeypatch):
    x, w, bias, more = drawn(case, np.float32)
    rng, results = np.random.default_rng(1), []
    dy = None
    for threads in (1, 2, 3):
        monkeypatch.setattr(workers, "threads", lambda threads=threads: threads)
        y, places = conv2d_max_pool(x, w, bias, **more, activation="relu")
        dy = rng.standard_normal(y.shape).astype(y.dtype) if dy is None else dy
        gradients = conv2d_max_pool_backward(dy, x, w, bias, y, places, **more, activation="relu")
        results.append([y, places, *gradients])
    for others in results[1:]:
        for one, other in zip(results[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


def test_models_that_share_images():
    x, w, bias, more = drawn(CASES["2 x 2"], np.float32)
    others = {"x_of": np.array([1, 1])}
    expected, dy, gradients = apart(x, w, bias, more, "relu", np.random.default_rng(1), **others)
    more |= others | {"activation": "relu"}
    y, places = conv2d_max_pool(x, w, bias, **more)
    np.testing.assert_array_equal(y, expected)
    for own, other in zip(
        conv2d_max_pool_backward(dy, x, w, bias, y, places, **more), gradients, strict=True
    ):
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"activation": "gelu"}, "activation 'gelu' cannot wait until after the maximum"),
        ({"activation": "softmax"}, "it must never decrease: expected one of ['identity'"),
        ({"activation": "no such"}, "activation 'no such' cannot wait"),
        ({"pool_size": 17, "padding": 20}, "makes windows of 289 places, and at most 256"),
        ({"pool_size": 7}, "pool_size (7, 7) does not fit an image of height 6"),
        ({"pool_size": 0}, "pool_size must be an int or a pair of ints >= 1"),
        ({"x_activation": "gelu"}, "activation 'gelu' cannot be fused into the gradient"),
    ],
)
def test_messages(more, message):
    x, w = np.zeros((2, 8, 8, 3)), np.zeros((4, 3, 3, 3))
    with pytest.raises(ValueError, match=re.escape(message)):
        conv2d_max_pool(x, w, **more)
