"""Convolution and pooling on the CPU: chunks, stacks of models, ties, and messages."""

from __future__ import annotations

import numpy as np
import pytest

from cukernels import OPS, tanh_backward
from cukernels.images import patches
from cukernels.images.augment import shift_and_flip
from cukernels.images.conv import conv2d, conv2d_backward
from cukernels.images.local import local2d
from cukernels.pooling.pooling import avg_pool2d, max_pool2d
from cukernels.runtime.cases import bound_to_backward, results


@pytest.fixture
def case():
    r = np.random.default_rng(0).standard_normal
    arrays = {"x": r((5, 9, 8, 2)), "w": r((2, 3, 3, 2, 2)), "bias": r((2, 3))}
    settings = {"padding": "same", "stride": (2, 1), "dilation": (1, 2), "activation": "tanh"}
    dy = r((2, 5, 5, 8, 3))
    return {k: v.astype(np.float32) for k, v in arrays.items()}, settings, dy.astype(np.float32)


def forward_and_backward(case, kind="numpy"):
    arrays, settings, dy = case
    forward, backward = OPS["conv2d"], OPS["conv2d_backward"]
    y = getattr(forward, kind)(**arrays, **settings)
    return y, *getattr(backward, kind)(dy, **arrays, y=y, **settings)


@pytest.mark.parametrize("chunk", [1, 1000, 5000, 2**20])
def test_chunks_make_no_difference(case, chunk, monkeypatch):
    """One row of places at a time, several, one image, several, or all at once."""
    expected = forward_and_backward(case, "reference")
    monkeypatch.setattr(patches, "_CHUNK", chunk)
    for got, e in zip(forward_and_backward(case), expected, strict=True):
        np.testing.assert_allclose(got, e, rtol=1e-4, atol=1e-5)


def test_a_model_is_the_same_alone_and_in_a_stack(case):
    """To the bit, whatever trains beside it."""
    arrays, settings, dy = case
    y, dx, dw, dbias = forward_and_backward(case)
    for m in range(2):
        one = {"x": arrays["x"], "w": arrays["w"][m], "bias": arrays["bias"][m]}
        alone = forward_and_backward((one, settings, dy[m]))
        np.testing.assert_array_equal(alone[0], y[m])
        np.testing.assert_array_equal(alone[2], dw[m])
        np.testing.assert_array_equal(alone[3], dbias[m])


@pytest.mark.parametrize("kind", ["numpy", "reference"])
def test_models_that_share_images(case, kind):
    """The bits are those of models with images of their own."""
    arrays, settings, dy = case
    r = np.random.default_rng(1).standard_normal
    sets, x_of = r((3, 5, 9, 8, 2)).astype(np.float32), np.array([2, 0])
    apart = forward_and_backward((arrays | {"x": sets[x_of]}, settings, dy), kind)
    y, dx, dw, dbias = forward_and_backward(
        (arrays | {"x": sets}, settings | {"x_of": x_of}, dy), kind
    )
    np.testing.assert_array_equal(dx, np.stack([apart[1][1], np.zeros_like(dx[0]), apart[1][0]]))
    for got, expected in zip((y, dw, dbias), (apart[0], *apart[2:]), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", ["conv2d", "local2d", "max_pool2d", "avg_pool2d"])
def test_gradient_before_the_activation_of_the_images(name):
    """To the bit what the backward of the activation makes of the gradient in the images."""
    op = OPS[name].backward
    r = np.random.default_rng(2).standard_normal
    given = {"x": np.tanh(r((2, 4, 4, 3)))}
    if name in ("conv2d", "local2d"):
        given["w"] = r((5, 2, 2, 3) if name == "conv2d" else (3, 3, 5, 2, 2, 3))
    given = bound_to_backward(OPS[name], given, np.random.default_rng(3))
    for body in (op.numpy, op.reference):
        after = results(op, body, given)[0]
        before = results(op, body, given | {"x_activation": "tanh"})[0]
        np.testing.assert_array_equal(before, tanh_backward(after, given["x"]))


IMAGES, FILTERS = np.zeros((2, 4, 4, 3)), np.zeros((5, 3, 3, 3))
LOCAL, SETS, MODELS = (
    np.zeros((2, 2, 5, 3, 3, 3)),
    np.zeros((3, 2, 4, 4, 3)),
    np.zeros((2, *FILTERS.shape)),
)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conv2d(IMAGES, np.zeros((5, 3, 3, 2))), r"\(2, 4, 4, 3\).*channels"),
        (lambda: conv2d(IMAGES[0], FILTERS), r"\(4, 4, 3\).*\(\.\.\., N, H, W, C\)"),
        (lambda: conv2d(IMAGES, FILTERS, np.zeros(4)), r"bias of shape \(4,\).*\(\.\.\., 5\)"),
        (lambda: conv2d(IMAGES, np.zeros((5, 5, 5, 3))), "height 4 and width 4.*'same'"),
        (lambda: conv2d(IMAGES, FILTERS, dilation=2), "with dilation 2 does not fit"),
        (lambda: conv2d(IMAGES, FILTERS, stride=0), "stride.*>= 1, got 0"),
        (lambda: conv2d(IMAGES, FILTERS, padding=(1, -1)), "padding.*>= 0"),
        (lambda: conv2d(IMAGES, FILTERS, padding="full"), "'same', 'valid'.*'full'"),
        (lambda: conv2d(IMAGES, FILTERS, stride=(1, 2, 3)), "pair of ints"),
        (lambda: conv2d(IMAGES, FILTERS, activation="gelu"), "gelu"),
        (
            lambda: conv2d(IMAGES, FILTERS, x_activation="gelu"),
            "'gelu' cannot be .*'softplus'",
        ),
        (lambda: local2d(IMAGES, LOCAL, x_activation="softmax"), "'softmax' cannot be fused"),
        (lambda: max_pool2d(IMAGES, x_activation="step"), "'step' cannot be fused into the grad"),
        (lambda: avg_pool2d(IMAGES, x_activation="silu"), "'silu' cannot be fused into the grad"),
        (lambda: conv2d(IMAGES, FILTERS, x_of=np.zeros(2, int)), r"x_of of shape \(2,\).*\(M,\)"),
        (lambda: conv2d(SETS, FILTERS, x_of=np.zeros(1, int)), r"filters of models \(\)"),
        (lambda: conv2d(SETS, MODELS, x_of=np.zeros(3, int)), r"filters of models \(2,\)"),
        (lambda: conv2d(SETS, MODELS, x_of=np.array([0, 3])), "x_of holds 3.*none of the 3 sets"),
        (lambda: max_pool2d(IMAGES, pool_size=5), "pool_size.*does not fit"),
        (lambda: max_pool2d(IMAGES, pool_size=2, padding=2), "smaller than pool_size"),
        (lambda: avg_pool2d(IMAGES, pool_size=(1, 2), padding=1), "smaller than pool_size"),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_first_layer_skips_the_gradient_of_its_images(case):
    arrays, settings, dy = case
    y = conv2d(**arrays, **settings)
    dx, dw, dbias = conv2d_backward(dy, **arrays, y=y, **settings, needs=("w", "bias"))
    assert dx is None
    assert dw.shape == arrays["w"].shape
    assert dbias.shape == arrays["bias"].shape


@pytest.mark.parametrize("pool", [{"pool_size": 2}, {"pool_size": 3, "stride": 1}])
def test_the_first_of_equal_pixels_takes_the_gradient(pool):
    """In row-major order: a window that is flat gives all to its first pixel."""
    op = OPS["max_pool2d"].backward
    x = np.zeros((1, 4, 4, 1))
    y = max_pool2d(x, **pool)
    dy = np.arange(1.0, 1 + y.size).reshape(y.shape)
    expected = np.zeros((4, 4))
    step = pool.get("stride", 2)
    expected[: step * y.shape[1] : step, : step * y.shape[2] : step] = dy[0, :, :, 0]
    for body in (op.reference, op.numpy):
        np.testing.assert_array_equal(body(dy, x, y, **pool)[0, :, :, 0], expected)


def test_bytes_of_images_stay_bytes():
    pixels = np.arange(24, dtype=np.uint8).reshape(1, 4, 2, 3)
    moved = shift_and_flip(pixels, np.array([[1, 0, 0, 1]]))
    assert moved.dtype == np.uint8
    np.testing.assert_array_equal(moved[0, 1:], pixels[0, :-1, ::-1])
    assert not moved[0, 0].any()


@pytest.mark.parametrize("letters", ["N", "C", "K", "M", "NC", "NK", "CK", "NCK", "NCKM"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"stride": 2, "padding": 2}, {"padding": "same", "activation": "relu"}],
    ids=["plain", "strides", "same"],
)
@pytest.mark.parametrize("name", ["conv2d", "conv2d_max_pool"])
def test_axes_of_no_length(name, settings, letters):
    """What NumPy computes of them, sums of nothing included, and no complaint in its words."""
    length = {"N": 2, "C": 3, "K": 4, "M": 2} | dict.fromkeys(letters, 0)
    n, c, k, m = (length[letter] for letter in "NCKM")
    r = np.random.default_rng(0).standard_normal
    arguments = {"x": r((m, n, 7, 6, c)), "w": r((m, k, 3, 3, c)), "bias": r((m, k))} | settings
    op = OPS[name]
    bound = bound_to_backward(op, arguments, np.random.default_rng(1))
    for entry, given in ((op, arguments), (op.backward, bound)):
        expected = results(entry, entry.reference, given)
        for one, other in zip(results(entry, entry.numpy, given), expected, strict=True):
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)
