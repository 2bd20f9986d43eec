"""What images come from, on a GPU: the activation that made them, and sets that models share."""

from __future__ import annotations

import numpy as np
import pytest

from _cuda_calls import device_results, on_device, on_host
from _op_cases import assert_close
from cukernels import OPS
from cukernels.activations.activations import ACTIVATIONS
from cukernels.runtime.cases import bound_to_backward, cast, copied, results

MADE_BY = [name for name, a in ACTIVATIONS.items() if a.fits_an_epilogue]
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])

# Shapes of x and of w, and how windows lie: vectors of channels and single ones, phases, places
LAYERS = {
    "conv2d, vectors": ("conv2d", (3, 7, 6, 8), (12, 3, 3, 8), {"padding": "same"}),
    "conv2d, elements": ("conv2d", (3, 7, 6, 3), (5, 3, 2, 3), {"stride": 2, "padding": 1}),
    "conv2d, models": ("conv2d", (2, 3, 5, 5, 4), (2, 6, 3, 3, 4), {}),
    "conv2d, shared": ("conv2d", (3, 5, 5, 4), (2, 6, 3, 3, 4), {"dilation": 2}),
    "local2d, vectors": ("local2d", (5, 3, 4, 4), (2, 3, 6, 2, 2, 4), {}),
    "local2d, models": ("local2d", (2, 3, 4, 4, 3), (2, 2, 2, 5, 2, 2, 3), {"stride": 2}),
    "max_pool2d, 2 x 2": ("max_pool2d", (3, 6, 7, 8), None, {}),
    "max_pool2d, 2 x 2, elements": ("max_pool2d", (3, 6, 7, 3), None, {"padding": 1}),
    "max_pool2d, apart": ("max_pool2d", (2, 8, 9, 4), None, {"pool_size": (3, 2), "stride": 3}),
    "max_pool2d, overlapping": ("max_pool2d", (2, 7, 7, 4), None, {"pool_size": 3, "stride": 2}),
    "avg_pool2d": ("avg_pool2d", (2, 6, 7, 4), None, {}),
    "avg_pool2d, overlapping": ("avg_pool2d", (2, 6, 7, 3), None, {"pool_size": 3, "stride": 1}),
}


def bound(name: str, made_by: str, dtype, seed: int = 0) -> tuple:
    """The backward of a layer whose images an activation made, and its arguments."""
    op, shape, filters, windows = LAYERS[name]
    rng = np.random.default_rng(seed)
    x = ACTIVATIONS[made_by].forward(rng.standard_normal(shape))
    arguments = {"x": x, **windows, "x_activation": made_by}
    if filters:
        arguments["w"] = rng.standard_normal(filters)
    return OPS[op].backward, cast(bound_to_backward(OPS[op], arguments, rng), dtype)


@both_dtypes
@pytest.mark.parametrize("made_by", MADE_BY)
@pytest.mark.parametrize("layer", LAYERS)
def test_gradient_before_the_activation(layer, made_by, dtype, cupy):
    op, given = bound(layer, made_by, dtype)
    exact = results(op, op.reference, copied(cast(given, np.float64)))
    assert_close(device_results(op, cupy, copied(given)), exact, given, dtype)


@pytest.mark.each_device
@pytest.mark.parametrize("layer", LAYERS)
def test_it_is_the_gradient_of_the_activation(layer, cupy):
    """To the bit, for a ReLU: what is left of the gradient is not touched."""
    op, given = bound(layer, "relu", np.float32)
    got, *others = device_results(op, cupy, copied(given))
    after, *same = device_results(op, cupy, given | {"x_activation": "identity"})
    if "shared" not in layer:  # there the sum over models comes after the activation
        np.testing.assert_array_equal(got, after * (given["x"] > 0))
    for one, other in zip(others, same, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("layer", LAYERS)
def test_images_at_odd_places(layer, cupy):
    """Where x begins decides about no bit, but about the loads of the epilogue."""
    op, given = bound(layer, "relu", np.float32)
    expected = device_results(op, cupy, copied(given))
    placed = {name: on_device(cupy, value) for name, value in given.items()}
    room = cupy.zeros(given["x"].size + 1, np.float32)
    room[1:] = placed["x"].ravel()
    got = results(op, op.cuda, placed | {"x": room[1:].reshape(given["x"].shape)})
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_launches_of_a_network(cupy, softgpu):
    """Two convolutions with ReLU and pooling after each: a backward is five launches."""
    ops = {name: OPS[name].cuda for name in OPS}
    r = np.random.default_rng(0).standard_normal

    def array(*shape: int):
        return on_device(cupy, r(shape).astype(np.float32))

    x, w1, b1, w2, b2 = (
        array(6, 28, 28, 1),
        array(8, 3, 3, 1),
        array(8),
        array(16, 3, 3, 8),
        array(16),
    )

    def backward() -> None:
        padding = {"padding": "same"}
        y1 = ops["conv2d"](x, w1, b1, **padding, activation="relu")
        p1 = ops["max_pool2d"](y1)
        y2 = ops["conv2d"](p1, w2, b2, **padding, activation="relu")
        p2 = ops["max_pool2d"](y2)
        dy = cupy.ones_like(p2)
        with softgpu.launched() as kernels:
            d2 = ops["max_pool2d_backward"](dy, y2, p2, x_activation="relu")
            d1, *_ = ops["conv2d_backward"](d2, p1, w2, b2, y2, **padding)
            d1 = ops["max_pool2d_backward"](d1, y1, p1, x_activation="relu")
            ops["conv2d_backward"](d1, x, w1, b1, y1, **padding, needs=("w", "bias"))
        counted.append([kernel.partition("<")[0] for kernel in kernels])

    counted: list[list[str]] = []
    for _ in range(2):
        backward()
    assert counted[1] == [
        "max_pool_apart", "conv2d_input_gradient", "conv2d_filter_gradient",
        "max_pool_apart", "conv2d_filter_gradient",
    ]  # fmt: skip


SHARING = {
    "conv2d": ((2, 3, 6, 5, 4), (5, 6, 3, 3, 4), {"stride": 2, "padding": 1}),
    "conv2d, a split sum": ((2, 9, 17, 17, 2), (5, 3, 3, 3, 2), {"padding": "same"}),
    "local2d": ((2, 3, 4, 4, 3), (5, 3, 3, 4, 2, 2, 3), {}),
}
X_OF = np.array([1, 0, 0, 1, 1])


def sharing(name: str, dtype=np.float32, x_of=X_OF) -> tuple:
    """An op, and the arguments of its backward for models that share sets of images."""
    op = OPS[name.partition(",")[0]]
    shape, filters, rest = SHARING[name]
    r = np.random.default_rng(1)
    arguments = {
        "x": r.standard_normal(shape), "w": r.standard_normal(filters),
        "bias": r.standard_normal(filters[:-3]), "activation": "tanh", "x_of": x_of, **rest,
    }  # fmt: skip
    return op, cast(bound_to_backward(op, arguments, r), dtype)


def forward_of(given: dict) -> dict:
    return {name: value for name, value in given.items() if name not in ("dy", "y", "needs")}


@pytest.mark.each_device
@pytest.mark.parametrize("name", SHARING)
def test_models_that_share_images(name, cupy):
    """The bits are those of models with images of their own."""
    op, given = sharing(name)
    apart = given | {"x": given["x"][X_OF], "x_of": None}
    for one, with_sets, with_own in (
        (op, forward_of(given), forward_of(apart)),
        (op.backward, given | {"needs": ("w", "bias")}, apart | {"needs": ("w", "bias")}),
    ):
        got, expected = (device_results(one, cupy, copied(a)) for a in (with_sets, with_own))
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)


@both_dtypes
@pytest.mark.parametrize("name", SHARING)
def test_gradient_in_shared_images(name, dtype, cupy):
    """Summed over the models that take a set, and then through the activation."""
    op, given = sharing(name, dtype)
    given |= {"x": np.maximum(given["x"], 0), "x_activation": "relu", "needs": ("x",)}
    exact = results(op.backward, op.backward.reference, copied(cast(given, np.float64)))
    assert_close(device_results(op.backward, cupy, copied(given)), exact, given, dtype)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8], ids=str)
def test_no_images_are_gathered(dtype, cupy, softgpu):
    """A launch reads the numbers where they are. Those that are no int32 are cast before."""
    op, given = sharing("conv2d")
    placed = {name: on_device(cupy, value) for name, value in forward_of(given).items()}
    placed["x_of"] = placed["x_of"].astype(dtype)
    expected = op.cuda(**placed | {"x_of": placed["x_of"].astype(np.int32)})
    with softgpu.launched() as kernels, softgpu.transfers() as copies:
        got = op.cuda(**placed)
    assert len(kernels) == 1 + (dtype != np.int32)
    assert not copies.to_host and not copies.synchronizations
    np.testing.assert_array_equal(on_host(got), on_host(expected))


@pytest.mark.parametrize("name", SHARING)
@pytest.mark.parametrize("number", [2, -1])
def test_a_set_that_is_not_there(name, number, cupy, monkeypatch):
    """The model that takes it returns NaN; on the host it is an error."""
    monkeypatch.setattr(cupy, "empty", cupy.zeros)  # so that a NaN is one that was written
    wrong = X_OF.copy()
    wrong[2] = number
    op, given = sharing(name)
    right, asked = forward_of(given), given | {"needs": ("w",)}
    for one, arguments in ((op, right), (op.backward, asked)):
        (expected,) = device_results(one, cupy, copied(arguments))
        (got,) = device_results(one, cupy, copied(arguments) | {"x_of": wrong})
        assert np.isnan(got[2]).all()
        np.testing.assert_array_equal(np.delete(got, 2, 0), np.delete(expected, 2, 0))
        with pytest.raises(ValueError, match=f"x_of holds {number}, which is none of the 2 sets"):
            one.reference(**copied(arguments) | {"x_of": wrong})
