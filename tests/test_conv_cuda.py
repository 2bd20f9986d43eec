"""Convolutions and locally connected layers on a GPU, over many more shapes."""

from __future__ import annotations

import numpy as np
import pytest

from _cuda_calls import device_results, on_device, on_host
from _op_cases import assert_close
from cukernels import OPS
from cukernels.images import conv_cuda, local_cuda
from cukernels.matmul.gemm_plan import (
    FMA_TILES,
    LARGEST,
    REQUESTED_TILES,
    TENSOR_TILES,
    Plan,
    target_of,
)
from cukernels.runtime.cases import bound_to_backward, cast, copied, results, tolerance

CONV, LOCAL = OPS["conv2d"], OPS["local2d"]


# x, filters (K, R, S), stack of w, whether there is a bias, and the rest
CONVOLUTIONS = {
    "one channel": ((3, 9, 8, 1), (5, 3, 3), (), True, {"padding": "same", "activation": "relu"}),
    "two channels": ((3, 7, 9, 2), (7, 3, 2), (), True, {"padding": 1}),
    "three channels": ((5, 8, 8, 3), (9, 5, 5), (), True, {"padding": "same", "stride": 2}),
    "four channels": ((3, 6, 7, 4), (8, 3, 3), (), False, {"padding": (2, 0)}),
    "five channels": ((2, 6, 6, 5), (3, 2, 4), (), True, {"activation": "leaky_relu"}),
    "eight channels": ((3, 6, 6, 8), (12, 3, 3), (), True, {"padding": "same"}),
    "sixteen channels": ((2, 5, 5, 16), (20, 3, 3), (), True, {"activation": "elu"}),
    "many filters": ((2, 4, 4, 4), (132, 2, 2), (), True, {"activation": "softplus"}),
    "many channels": ((1, 4, 3, 132), (4, 2, 2), (), False, {"padding": 1}),
    "many places": ((3, 13, 11, 4), (4, 3, 3), (), True, {"padding": "same"}),
    "stride 2": ((2, 8, 9, 4), (4, 3, 3), (), True, {"stride": 2, "padding": "same"}),
    "stride above the taps": ((2, 8, 7, 4), (5, 2, 1), (), True, {"stride": (3, 4)}),
    "stride and dilation": ((2, 11, 12, 4), (4, 3, 3), (), False, {"stride": 2, "dilation": 3}),
    "stride divides dilation": ((2, 11, 12, 2), (4, 3, 2), (), True, {"stride": 2, "dilation": 4}),
    "stride, dilation share": ((1, 17, 16, 4), (4, 3, 2), (), True, {"stride": 6, "dilation": 4}),
    "dilated, same": ((2, 7, 6, 4), (4, 3, 3), (), True, {"dilation": (3, 2), "padding": "same"}),
    "more padding than taps": ((2, 4, 4, 4), (4, 2, 2), (), True, {"padding": (3, 4)}),
    "even taps, same": ((2, 6, 5, 4), (4, 2, 4), (), True, {"padding": "same", "stride": (1, 2)}),
    "one place": ((7, 5, 5, 4), (6, 5, 5), (), True, {"activation": "logistic"}),
    "one tap": ((3, 5, 5, 8), (8, 1, 1), (), True, {"stride": 2}),
    "softmax": ((2, 4, 4, 3), (5, 3, 3), (), True, {"activation": "softmax"}),
    "log_softmax": ((2, 4, 4, 3), (5, 3, 3), (), True, {"activation": "log_softmax"}),
    "models": ((3, 2, 6, 5, 4), (6, 3, 3), (3,), True, {"stride": 2, "padding": "same"}),
    "models of shared images": ((2, 6, 5, 3), (5, 3, 3), (3,), True, {"padding": 1}),
    "models of shared images, kept": ((1, 2, 6, 5, 4), (4, 3, 3), (3,), True, {"padding": 1}),
    "images of one model": ((3, 2, 6, 5, 4), (4, 3, 3), (), True, {"padding": 1}),
    "two axes of models": ((2, 1, 2, 4, 4, 2), (3, 2, 2), (3,), True, {}),
    "two axes of models, crossed": ((2, 1, 1, 4, 4, 4), (4, 2, 2), (1, 3), True, {"stride": 2}),
    "a split sum": ((40, 12, 12, 2), (3, 3, 3), (), True, {"padding": "same"}),
    "a split sum of models": ((2, 33, 9, 9, 4), (4, 3, 3), (2,), True, {"padding": 1}),
    "no channels": ((2, 4, 4, 0), (3, 2, 2), (), True, {}),
    "no filters": ((2, 4, 4, 3), (0, 2, 2), (), True, {}),
    "no models": ((0, 2, 4, 4, 3), (2, 2, 2), (0,), True, {}),
}  # fmt: skip
LOCALS = {
    "one channel": ((3, 6, 5, 1), (5, 3, 3), (), True, {"padding": "same", "activation": "relu"}),
    "three channels": ((5, 5, 5, 3), (9, 3, 3), (), True, {"padding": "same", "stride": 2}),
    "four channels": ((3, 4, 5, 4), (8, 3, 3), (), False, {"padding": (2, 0)}),
    "sixteen channels": ((2, 3, 4, 16), (20, 2, 2), (), True, {"activation": "elu"}),
    "many images": ((70, 3, 3, 4), (4, 2, 2), (), True, {"activation": "tanh"}),
    "many filters": ((2, 3, 3, 4), (68, 2, 2), (), True, {}),
    "many channels": ((3, 3, 2, 68), (4, 2, 2), (), True, {"padding": 1}),
    "stride and dilation": ((2, 9, 8, 4), (4, 3, 3), (), False, {"stride": 2, "dilation": 3}),
    "stride above the taps": ((2, 8, 7, 4), (5, 2, 1), (), True, {"stride": (3, 4)}),
    "one place": ((7, 3, 3, 4), (6, 3, 3), (), True, {"activation": "logistic"}),
    "softmax": ((2, 3, 3, 3), (5, 2, 2), (), True, {"activation": "softmax"}),
    "models": ((3, 2, 4, 3, 4), (6, 2, 2), (3,), True, {"stride": 2, "padding": "same"}),
    "models of shared images": ((2, 4, 3, 3), (5, 2, 2), (3,), True, {"padding": 1}),
    "images of one model": ((3, 2, 4, 3, 4), (4, 2, 2), (), True, {}),
    "two axes of models, crossed": ((2, 1, 1, 3, 3, 4), (4, 2, 2), (1, 3), True, {}),
    "no channels": ((2, 3, 3, 0), (3, 2, 2), (), True, {}),
    "no images": ((0, 3, 3, 2), (3, 2, 2), (), True, {}),
}  # fmt: skip


def arguments_of(op, case) -> dict:
    shape, (filters, rows, columns), stack, has_bias, rest = case
    r = np.random.default_rng(0).standard_normal
    own = (filters, rows, columns, shape[-1])
    if op is LOCAL:
        like = r((*stack, *own))
        places = CONV.reference(np.zeros(shape), like, **without_activation(rest)).shape[-3:-1]
        own = (*places, *own)
    arguments = {"x": r(shape), "w": r((*stack, *own)), **rest}
    if has_bias:
        arguments["bias"] = r((*stack, *own[:-3]))
    return arguments


def without_activation(rest: dict) -> dict:
    return {name: value for name, value in rest.items() if name != "activation"}


CASES = [
    pytest.param(op, arguments_of(op, case), id=f"{op.name}: {name}")
    for op, cases in ((CONV, CONVOLUTIONS), (LOCAL, LOCALS))
    for name, case in cases.items()
]


def stack_of(op, arguments: dict) -> int:
    """How many models there are, where they lie along one axis."""
    w = arguments["w"]
    return len(w) if w.ndim == (5 if op is CONV else 7) and arguments["x"].ndim <= 5 else 0


@pytest.mark.each_device
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("op", "arguments"), CASES)
def test_forward(op, arguments, dtype, cupy):
    given = cast(arguments, dtype)
    exact = results(op, op.reference, copied(cast(given, np.float64)))
    assert_close(device_results(op, cupy, copied(given)), exact, arguments, dtype)


@pytest.mark.each_device
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("op", "arguments"), CASES)
def test_gradients(op, arguments, dtype, cupy):
    """All of them, and each alone to the same bits."""
    given = cast(bound_to_backward(op, arguments, np.random.default_rng(1)), dtype)
    exact = results(op.backward, op.backward.reference, copied(cast(given, np.float64)))
    together = device_results(op.backward, cupy, copied(given))
    assert_close(together, exact, given, dtype)
    names = [name for name in op.backward.gradients if given[name] is not None]
    for i, name in enumerate(names):
        alone = device_results(op.backward, cupy, copied(given) | {"needs": (name,)})
        assert len(alone) == 1
        np.testing.assert_array_equal(alone[0], together[i], err_msg=name)


STACKS = [case for case in CASES if stack_of(*case.values)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("op", "arguments"), STACKS)
def test_a_model_alone_is_the_same_to_the_bit(op, arguments, dtype, cupy):
    given = cast(bound_to_backward(op, arguments, np.random.default_rng(1)), dtype)
    has_own_images = given["x"].ndim == 5 and len(given["x"]) == len(given["w"])
    given["needs"] = ("x", "w", "bias") if has_own_images else ("w", "bias")

    def run(given: dict) -> list[np.ndarray]:
        forward = {name: v for name, v in given.items() if name not in ("dy", "y", "needs")}
        return device_results(op, cupy, copied(forward)) + device_results(
            op.backward, cupy, copied(given)
        )

    def part(name: str, value, m: int):
        is_stack = isinstance(value, np.ndarray) and (name != "x" or has_own_images)
        return value[m : m + 1] if is_stack else value

    together = run(given)
    for m in range(len(given["w"])):
        alone = run({name: part(name, value, m) for name, value in given.items()})
        for one, all_ in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one[0], all_[m])


def forced(cupy, monkeypatch, tile, math: str, dtype: str) -> None:
    """Make every product use a tile."""
    if math != "Fma" and int(cupy.cuda.Device().compute_capability) < 80:
        pytest.skip("tensor cores of this device have no such numbers")
    plan = Plan(tile.expression, math, tile.m, tile.n, tile.threads, tile.shared(dtype), 256, 1)
    for module in (conv_cuda, local_cuda):
        monkeypatch.setattr(module, "plan", lambda *_, **__: plan)
        for launch in (module._forward, module._input_gradient, module._filter_gradient):
            launch.cache_clear()


@pytest.fixture
def plans_of_one_test():
    yield
    for module in (conv_cuda, local_cuda):
        for launch in (module._forward, module._input_gradient, module._filter_gradient):
            launch.cache_clear()


# More rows, columns and k than one tile has, along pieces of 16 bytes and one by one
TILED = {
    "pieces": ((4, 6, 6, 36), (68, 2, 2), (), True, {"padding": "same"}),
    "elements": ((4, 6, 6, 35), (35, 2, 2), (), True, {"padding": "same"}),
    "strided": ((6, 7, 7, 20), (36, 3, 2), (), True, {"padding": 1, "stride": 2}),
}
LOCALLY_TILED = {
    "pieces": ((68, 1, 2, 36), (36, 1, 1), (), True, {}),
    "elements": ((67, 2, 2, 17), (18, 2, 1), (), True, {}),
}
TILED_CASES = [
    pytest.param(op, arguments_of(op, case), id=f"{op.name}: {name}")
    for op, cases in ((CONV, TILED), (LOCAL, LOCALLY_TILED))
    for name, case in cases.items()
]
FAMILIES = {
    "Tf32<3>": ("float", TENSOR_TILES, 1.0),
    "Tf32<1>": ("float", REQUESTED_TILES[1:], 2.0**13),
    "Bf16": ("float", REQUESTED_TILES[1:], 2.0**16),
    "float": ("float", FMA_TILES["float"], 1.0),
    "double": ("double", FMA_TILES["double"], 1.0),
}


# what one has to ask for differs in its arithmetic alone
@pytest.mark.parametrize(
    ("family", "op", "arguments"),
    [
        pytest.param(family, *case.values, id=f"{family}-{case.id}")
        for family, (_, _, slack) in FAMILIES.items()
        for case in (TILED_CASES if slack == 1 else TILED_CASES[:1])
    ],
)
def test_every_tile_gives_the_same_bits(
    family, op, arguments, cupy, monkeypatch, plans_of_one_test
):
    dtype, tiles, slack = FAMILIES[family]
    math = family if "<" in family or family == "Bf16" else "Fma"
    numpy_dtype = {"float": np.float32, "double": np.float64}[dtype]
    given = cast(bound_to_backward(op, arguments, np.random.default_rng(1)), numpy_dtype)
    forward = {name: v for name, v in given.items() if name not in ("dy", "y")}
    exact = [
        gradient
        for one, of in ((op, forward), (op.backward, given))
        for gradient in results(one, one.reference, copied(cast(of, np.float64)))
    ]
    found = []
    for tile in tiles:
        forced(cupy, monkeypatch, tile, math, dtype)
        got = device_results(op, cupy, copied(forward))
        got += device_results(op.backward, cupy, copied(given))
        found.append(got)
        for g, e in zip(got, exact, strict=True):
            assert np.all(np.abs(g - e) <= slack * tolerance(arguments, e, numpy_dtype))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("op", "arguments"), TILED_CASES)
def test_largest_tile(op, arguments, cupy, monkeypatch, plans_of_one_test):
    """It serves the forward products."""
    given = cast(arguments, np.float32)
    forced(cupy, monkeypatch, TENSOR_TILES[1], "Tf32<3>", "float")
    (expected,) = device_results(op, cupy, copied(given))
    forced(cupy, monkeypatch, LARGEST, "Tf32<3>", "float")
    (got,) = device_results(op, cupy, copied(given))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("of_group", [None, 1, 2, 5], ids=["", "alone", "of two", "all"])
def test_split_sum(of_group, dtype, cupy, monkeypatch, plans_of_one_test):
    """The sum over the places goes to several blocks, and of models every one splits it alike."""
    if of_group:
        monkeypatch.setattr(conv_cuda, "_splits_of_group", lambda splits: of_group)
        conv_cuda._filter_gradient.cache_clear()
    case = ((2, 4, 17, 17, 3), (5, 2, 2), (2,), True, {"padding": "same"})
    given = bound_to_backward(CONV, arguments_of(CONV, case), np.random.default_rng(1))
    given = cast(given, dtype) | {"needs": ("w", "bias")}
    exact = results(CONV.backward, CONV.backward.reference, copied(cast(given, np.float64)))
    together = device_results(CONV.backward, cupy, copied(given))
    assert_close(together, exact, given, dtype)
    sizes = conv_cuda.Geometry(4, 17, 17, 3, 5, 17, 17, 2, 2, 1, 1, 0, 0, 1, 1)
    assert sizes.places > 4 * conv_cuda._places_of_split(sizes, target_of(cupy.zeros(0)))
    for m in range(2):
        own = {k: v[m] if isinstance(v, np.ndarray) else v for k, v in given.items()}
        alone = device_results(CONV.backward, cupy, copied(own))
        for one, all_ in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, all_[m])


@pytest.mark.parametrize(
    ("op", "case"),
    [
        pytest.param(CONV, CONVOLUTIONS["sixteen channels"], id="conv2d"),
        pytest.param(CONV, ((40, 12, 12, 2), (18, 3, 3), (), True, {}), id="conv2d, split"),
        pytest.param(LOCAL, LOCALS["sixteen channels"], id="local2d"),
    ],
)
def test_launches_of_a_backward(op, case, cupy, softgpu):
    """One for the images, and one for filters and biases; no other adds up what these leave."""
    arguments = arguments_of(op, case) | {"activation": "identity"}
    given = cast(bound_to_backward(op, arguments, np.random.default_rng(1)), np.float32)
    given = {name: on_device(cupy, value) for name, value in given.items()}

    def launches(*needs: str) -> list[str]:
        op.cuda(given["x"], given["w"])  # whatever is done once for each shape
        op.backward.cuda(**given, needs=needs)
        with softgpu.launched() as kernels:
            op.backward.cuda(**given, needs=needs)
        return [kernel.partition("<")[0] for kernel in kernels]

    assert launches("x", "w", "bias") == [f"{op.name}_input_gradient", f"{op.name}_filter_gradient"]
    for needs in (("w", "bias"), ("w",), ("bias",)):
        assert launches(*needs) == [f"{op.name}_filter_gradient"]


@pytest.mark.parametrize("op", [CONV, LOCAL], ids=lambda op: op.name)
def test_nan_stays_where_it_is_seen(op, cupy):
    """What lies behind a window or an image is not read, not even to be multiplied by 0."""
    case = ((2, 5, 6, 3), (4, 2, 3), (), False, {"padding": 1, "stride": 2})
    arguments = arguments_of(op, case)
    given = bound_to_backward(op, arguments, np.random.default_rng(1)) | {"needs": ("x",)}
    arguments["x"][0, 4, 5, 2] = arguments["x"][1, 2, 0, 0] = np.nan
    given["dy"][0, 0, 1, 3] = given["dy"][1, 2, 2, 0] = np.nan
    for one, values in ((op, arguments), (op.backward, given)):
        (exact,) = results(one, one.reference, copied(values))
        (got,) = device_results(one, cupy, cast(values, np.float32))
        assert np.isnan(exact).any()
        np.testing.assert_array_equal(np.isnan(got), np.isnan(exact))


def test_weights_are_views_of_one_array(cupy):
    """Parameters of M models are rows of one array, so weights begin at odd places."""
    r = np.random.default_rng(0).standard_normal
    x, w = r((3, 2, 5, 5, 4)).astype(np.float32), r((3, 4, 3, 3, 4)).astype(np.float32)
    rows = cupy.zeros((3, 3 + w[0].size + 2), np.float32)
    view = rows[:, 3:-2].reshape(w.shape)
    view[...] = on_device(cupy, w)
    place = {"x": on_device(cupy, x), "w": view}
    y = CONV.reference(x.astype(float), w.astype(float))
    got = on_host(CONV.cuda(**place))
    assert_close([got], [y], {"x": x, "w": w}, np.float32)
    dy = on_device(cupy, r(y.shape).astype(np.float32))
    given = {"dy": dy, **place, "bias": None, "y": on_device(cupy, got)}
    exact = CONV.backward.reference(
        *(None if v is None else on_host(v).astype(float) for v in given.values())
    )
    got = [on_host(g) for g in CONV.backward.cuda(**given)[:2]]
    assert_close(got, list(exact[:2]), {"x": x, "w": w}, np.float32)


def test_what_does_not_fit_is_refused(cupy):
    zeros = cupy.zeros
    x, w = zeros((2, 4, 4, 3), np.float32), zeros((5, 2, 2, 3), np.float32)
    for bias in ((4,), (1, 1), (2, 5)):
        with pytest.raises(ValueError, match="a bias of shape"):
            CONV.cuda(x, w, zeros(bias, np.float32))
    with pytest.raises(ValueError, match="same number of channels"):
        CONV.cuda(x, w[..., :2])
    with pytest.raises(TypeError, match="must be a contiguous float32 array"):
        CONV.cuda(x, w.astype(np.float64))
    places = zeros((3, 3, 5, 2, 2, 3), np.float32)
    with pytest.raises(ValueError, match="a bias of shape"):
        LOCAL.cuda(x, places, zeros((3, 1, 5), np.float32))
    wide = cupy.broadcast_to(x[:1, :1, :1], (1, 2**15, 2**15, 3))
    with pytest.raises(ValueError, match="are too many for one call"):
        CONV.cuda(wide, w)
