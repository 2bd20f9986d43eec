"""The gradients of a product in one launch, and inputs that models share."""

from __future__ import annotations

import numpy as np
import pytest

import cukernels
from _cuda_calls import on_device, on_host
from cukernels.activations import ACTIVATIONS
from cukernels.activations.fused import FUSED
from cukernels.matmul import gradients, matmul_cuda
from cukernels.matmul.gradients import launch_of

NEEDS = [("a", "b", "bias"), ("b", "bias"), ("a", "b"), ("a", "bias"), ("a",)]


def layer(cupy, rows, inputs, outputs, *stack, dtype=np.float32):
    """The arguments of a layer's backward, by name."""
    rng = np.random.default_rng(0)
    shapes = {
        "dy": (rows, outputs), "a": (rows, inputs), "b": (inputs, outputs), "bias": (outputs,),
        "y": (rows, outputs),
    }  # fmt: skip
    values = {name: rng.standard_normal((*stack, *shape)) for name, shape in shapes.items()}
    values |= {name: np.tanh(values[name]) for name in "ay"}
    return {name: on_device(cupy, value.astype(dtype)) for name, value in values.items()}


def backward(arguments, **options):
    """Its gradients on the host; those that are not needed are None."""
    returned = cukernels.matmul_backward(**arguments, **options)
    return [None if x is None else on_host(x) for x in returned]


def assert_same_bits(one, other):
    for x, y in zip(one, other, strict=True):
        assert (x is None) == (y is None)
        if x is not None:
            np.testing.assert_array_equal(x, y)


# Launches --------------------------------------------------------------------------------------

# An input layer, hidden ones, the scores of few classes, many rows, few rows, tiny
LAYERS = [(200, 784, 100), (256, 512, 512), (200, 100, 10), (700, 40, 60), (20, 64, 64), (33, 7, 5)]


@pytest.mark.parametrize("stack", [(), (3,)], ids=["alone", "stack"])
@pytest.mark.parametrize("shape", LAYERS, ids=str)
def test_launches_of_a_layer(shape, stack, cupy, softgpu):
    """Forward 1; backward 1 without an activation, 2 with one."""
    given = layer(cupy, *shape, *stack)

    def launches(call, **arguments):
        with softgpu.launched() as kernels, softgpu.settings(null=True):
            call(**arguments)
        return len(kernels)

    forward = {name: given[name] for name in ("a", "b", "bias")}
    assert launches(cukernels.matmul, **forward, activation="relu") == 1
    for needs in NEEDS:
        for before in ("identity", "tanh"):
            options = {"needs": needs, "a_activation": before}
            assert launches(cukernels.matmul_backward, **given, **options) == 1
            options["activation"] = "relu"
            assert launches(cukernels.matmul_backward, **given, **options) == 2


# One launch or several -------------------------------------------------------------------------

SIZES = {  # rows, inputs, outputs
    ("float", "Tf32<3>", "Tf32<3>"): (300, 45, 260),
    ("float", "Fma", "Tf32<3>"): (300, 70, 21),
    ("float", "Tf32<3>", "Fma"): (21, 36, 300),
    ("float", "Fma", "Fma"): (30, 141, 30),
    ("double", "Fma", "Fma"): (290, 37, 258),
}


INSTANCES = [
    pytest.param(key, tile, id=f"{tile.expression}-{'-'.join(key)}")
    for key, tiles in gradients._TILES.items()
    for tile in tiles
]


@pytest.mark.parametrize("split", [False, True], ids=["whole", "split"])
@pytest.mark.parametrize(("key", "tile"), INSTANCES)
def test_every_instance(key, tile, split, cupy, softgpu, monkeypatch):
    """The bits of separate launches: tails in all directions, sums whole and split."""
    given = layer(cupy, *SIZES[key], 2, dtype={"float": "f", "double": "d"}[key[0]])
    for needs in NEEDS if key[1] == key[2] else (("a", "b", "bias"), ("a", "b")):
        options = {"needs": needs, "a_activation": "tanh"}
        with monkeypatch.context() as separate:
            separate.setattr(matmul_cuda, "launch_of", lambda *_: None)
            expected = backward(given, **options)

        def cost(t, products, *_):
            return (t != tile) + sum((p[0] > 1) != split for p in products) / 10

        with monkeypatch.context() as forced:
            forced.setattr(gradients, "cycles_of", cost)
            launch_of.cache_clear()
            with softgpu.launched() as kernels:
                got = backward(given, **options)
            launch_of.cache_clear()
        assert len(kernels) == 1 and tile.expression in kernels[0]
        assert_same_bits(got, expected)


@pytest.mark.each_device
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_the_definition(dtype, cupy):
    given = layer(cupy, 150, 40, 37, 2, dtype=dtype)
    got = backward(given, a_activation="tanh")
    exact = {name: on_host(x).astype(float) for name, x in given.items()}
    eps = np.finfo(dtype).eps
    for x, y in zip(got, backward(exact, a_activation="tanh"), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=300 * eps)


def test_large_products_have_launches_of_their_own():
    """They are faster with a tile that has no registers for both."""
    target = gradients.Target(90, 132)
    assert launch_of(4096, 4096, 4096, 1, "float", target, True, True, True) is None
    assert launch_of(256, 512, 512, 1, "float", target, True, True, True) is not None
    assert launch_of(256, 512, 512, 1, "float", target._replace(precision="tf32"),
                     True, True, True) is None  # fmt: skip


# The activation before -------------------------------------------------------------------------


@pytest.mark.parametrize("shared", ["", "a", "b"])
@pytest.mark.parametrize("name", FUSED)
def test_back_through_the_activation_before(name, shared, cupy):
    """As if its backward were called afterwards; also where models share a factor."""
    given = layer(cupy, 40, 13, 9, 3)
    if shared:
        given[shared] = given[shared][:1]
    da, db, dbias = backward(given)
    after = ACTIVATIONS[name].backward(on_device(cupy, da), given["a"])
    assert_same_bits(backward(given, a_activation=name), [on_host(after), db, dbias])


@pytest.mark.parametrize("name", ["softmax", "gelu", "no_such"])
def test_an_activation_that_it_cannot_go_back_through(name, cupy):
    for given in (layer(cupy, 3, 4, 5), {n: x.get() for n, x in layer(cupy, 3, 4, 5).items()}):
        told = f"activation '{name}' cannot be fused into the gradient of a product"
        with pytest.raises(ValueError, match=told):
            cukernels.matmul_backward(**given, a_activation=name)
        with pytest.raises(ValueError, match=told):
            cukernels.matmul(given["a"], given["b"], a_activation=name)


# Inputs that models share ----------------------------------------------------------------------

CHOICE = np.array([1, 0, 1, 1])


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8])
@pytest.mark.parametrize("shape", [(50, 13, 9), (400, 20, 40), (30, 300, 33)], ids=str)
def test_models_that_share_inputs(shape, dtype, cupy, softgpu):
    """The bits of a copy for each model, without one."""
    given = layer(cupy, *shape, 4)
    inputs, a_of = given["a"][:2], cupy.asarray(CHOICE.astype(dtype))
    copies = inputs[cupy.asarray(CHOICE)]
    with softgpu.launched() as kernels:
        y = cukernels.matmul(inputs, given["b"], given["bias"], a_of=a_of)
    assert len(kernels) == 1 + (dtype != np.int32)
    assert_same_bits([on_host(y)], [on_host(cukernels.matmul(copies, given["b"], given["bias"]))])

    sharing, apart = given | {"a": inputs}, given | {"a": copies}
    with softgpu.launched() as kernels:
        got = backward(sharing, a_of=a_of, needs=("b", "bias"))
    assert len(kernels) == 1 + (dtype != np.int32)
    assert_same_bits(got, backward(apart, needs=("b", "bias")))

    da, db, _ = backward(sharing, a_of=a_of)
    each, expected, _ = backward(apart)
    assert_same_bits([db, da], [expected, np.stack([each[1], each[0] + each[2] + each[3]])])


def test_right_factors_may_be_transposed(cupy):
    given = layer(cupy, 30, 13, 9, 4)
    inputs, a_of = given["a"][:2], cupy.asarray(CHOICE)
    straight = backward(given | {"a": inputs}, a_of=a_of)
    turned = given | {"a": inputs, "b": given["b"].swapaxes(1, 2)}
    da, db, dbias = backward(turned, a_of=a_of, transpose_b=True)
    for x, y in zip((da, db.swapaxes(1, 2), dbias), straight, strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-5)


def test_a_factor_that_does_not_exist(cupy):
    """NaN for that model on a GPU, words on the CPU."""
    for out_of_range in (2, -1):
        choice = np.array([1, out_of_range, 0])
        given = layer(cupy, 300, 13, 9, 3)
        given["a"] = given["a"][:2]
        y = on_host(cukernels.matmul(given["a"], given["b"], a_of=cupy.asarray(choice)))
        _, db, _ = backward(given, a_of=cupy.asarray(choice))
        for x in (y, db):
            assert np.isnan(x[1]).all() and np.isfinite(x[[0, 2]]).all()
        with pytest.raises(ValueError, match=f"a_of holds {out_of_range}, which is none of the 2"):
            cukernels.matmul(given["a"].get(), given["b"].get(), a_of=choice)


@pytest.mark.parametrize("shape", [(3, 4), (2, 2, 3, 4)], ids=str)
def test_inputs_of_another_kind_cannot_be_shared(shape):
    with pytest.raises(ValueError, match=r"do not fit|must be of shape \(G, N, D\)"):
        cukernels.matmul(np.ones(shape), np.ones((2, 4, 5)), a_of=np.array([0, 0]))
    with pytest.raises(ValueError, match="not transposed"):
        cukernels.matmul(
            np.ones((2, 4, 3)), np.ones((2, 4, 5)), a_of=np.array([0, 0]), transpose_a=True
        )
