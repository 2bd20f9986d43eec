"""Batch normalisation on a GPU: more shapes, stacks, and hard numbers."""

from __future__ import annotations

import numpy as np
import pytest

from _cuda_calls import device_results, on_device, on_host
from _op_cases import assert_close
from cukernels import OPS
from cukernels.normalization.normalization_cuda import _blocking
from cukernels.runtime.cases import bound_to_backward, cast, copied, results

TRAINING, INFERENCE = OPS["batch_norm"], OPS["batch_norm_inference"]

# shape of x, axes of the stack of gamma, whether there are weights (each model's own, or as x has)
CASES = {
    "four channels": ((5, 3, 4, 4), (), False),
    "channels of a tile": ((70, 32), (), True),
    "channels of two tiles": ((9, 3, 36), (), True),
    "odd channels of two tiles": ((9, 35), (), True),
    "many rows of a thread": ((9, 9, 9, 8), (), True),
    "one row": ((1, 8), (), True),
    "chunks": ((9, 11, 12, 32), (), False),
    "weighted chunks": ((9, 11, 12, 32), (), True),
    "chunks, odd channels": ((4, 9, 8, 33), (), True),
    "chunks of models": ((2, 6, 13, 14, 36), (2,), True),
    "models": ((3, 5, 2, 4), (3,), True),
    "models of shared rows": ((1, 5, 2, 4), (3,), False),
    "models of shared rows and chunks": ((1, 9, 11, 12, 32), (2,), False),
    "models of shared rows, own weights": ((1, 5, 2, 4), (3,), "own"),
    "two axes of models": ((2, 3, 5, 4), (2, 3), True),
    "two axes of models, crossed": ((2, 1, 5, 4), (2, 3), True),
    "no rows": ((0, 4, 4), (), True),
    "no channels": ((5, 0), (), False),
    "no models": ((0, 5, 4), (0,), True),
}
by_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def arguments_of(case) -> dict:
    shape, stack, weighted = case
    rng = np.random.default_rng(0)
    r = rng.standard_normal
    channels = (*stack, shape[-1])
    x = 2 + 3 * r(shape)
    given = {"x": x, "gamma": r(channels), "beta": r(channels)}
    if weighted:
        lead = stack if weighted == "own" else shape[: len(stack)]
        weights = rng.random((*lead, shape[len(stack)])).round(1)
        weights[..., 1:2] = 0
        given["sample_weight"] = weights
    return given


def check(op, cupy, arguments, dtype):
    given = cast(arguments, dtype)
    exact = results(op, op.reference, copied(cast(given, np.float64)))
    assert_close(device_results(op, cupy, copied(given)), exact, arguments, dtype)


@by_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_training(case, dtype, cupy):
    arguments = arguments_of(case)
    check(TRAINING, cupy, arguments, dtype)
    bound = bound_to_backward(TRAINING, arguments, np.random.default_rng(1))
    check(TRAINING.backward, cupy, bound, dtype)


@by_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_inference(case, dtype, cupy):
    arguments = arguments_of(case)
    arguments.pop("sample_weight", None)
    rng = np.random.default_rng(1)
    arguments["mean"] = rng.standard_normal(arguments["gamma"].shape)
    arguments["variance"] = rng.random(arguments["gamma"].shape)
    check(INFERENCE, cupy, arguments, dtype)
    bound = bound_to_backward(INFERENCE, arguments, rng)
    check(INFERENCE.backward, cupy, bound, dtype)


def test_cases_reach_every_launch():
    chunks = {_blocking(np.prod(shape[len(stack) : -1]), shape[-1], 4).chunks
              for shape, stack, _ in CASES.values() if shape[-1]}  # fmt: skip
    assert 1 in chunks and max(chunks) > 1


def test_parameters_of_a_stack_are_views(cupy):
    """As the training keeps them: each model's in a row of one array, at any address."""
    arguments = cast(arguments_of(CASES["models"]), np.float32)
    exact = results(TRAINING, TRAINING.reference, copied(cast(arguments, np.float64)))
    placed = {name: on_device(cupy, value) for name, value in arguments.items()}
    parameters = cupy.empty((3, 11), np.float32)
    for name, columns in (("gamma", slice(1, 5)), ("beta", slice(6, 10))):
        parameters[:, columns] = placed[name]
        placed[name] = parameters[:, columns]
    placed["sample_weight"] = placed["sample_weight"].astype(np.float64)
    got = [on_host(r) for r in TRAINING.cuda(**placed)]
    assert_close(got, exact, arguments, np.float32)


NAMES = ["models", "chunks of models", "models of shared rows and chunks"]
NAMES += ["models of shared rows, own weights"]


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_the_same_in_any_stack(name, cupy):
    arguments = cast(arguments_of(CASES[name]), np.float32)
    rng = np.random.default_rng(1)
    bound = cast(bound_to_backward(TRAINING, arguments, rng), np.float32)
    for op, given in ((TRAINING, arguments), (TRAINING.backward, bound)):
        stack = device_results(op, cupy, copied(given))
        for m in range(CASES[name][1][0]):
            own = {
                k: (v[m] if len(v) > 1 else v[0]) if isinstance(v, np.ndarray) else v
                for k, v in given.items()
            }
            alone = device_results(op, cupy, own)
            for one, many in zip(alone, stack, strict=True):
                np.testing.assert_array_equal(one, many[m] if len(many) > 1 else many[0])


@pytest.mark.parametrize("rows", [200, 5000])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_large_mean_does_not_cancel(rows, weighted, cupy):
    """At most twice as far from the float64 answer as NumPy's float32 is."""
    rng = np.random.default_rng(0)
    x = (1e4 + rng.standard_normal((rows, 8))).astype(np.float32)
    one = np.ones(8, np.float32)
    arguments = {"x": x, "gamma": one, "beta": 0 * one}
    if weighted:
        weights = rng.random(rows).astype(np.float32)
        weights[0] = 0
        x[0] = 1e8  # leaves no trace
        arguments["sample_weight"] = weights
    exact = results(TRAINING, TRAINING.reference, copied(cast(arguments, np.float64)))
    numpy = results(TRAINING, TRAINING.reference, copied(arguments))
    got = device_results(TRAINING, cupy, arguments)
    for g, n, e in zip(got, numpy, exact, strict=True):
        assert np.abs(g - e)[1:].max() <= 2 * np.abs(n - e)[1:].max()
    assert np.abs(got[2] - exact[2]).max() < 1e-5


@pytest.mark.parametrize("rows", [1, 7, 300, 9000])
def test_a_constant_channel(rows, cupy):
    """Its mean is its value to the bit, and its variance 0."""
    x = np.tile(np.float32([0.1, -3.3, 1e5, 7e-9]), (rows, 1))
    weights = np.random.default_rng(0).random(rows).astype(np.float32)
    for sample_weight in (None, weights):
        arguments = {"x": x, "gamma": x[0], "beta": x[0], "sample_weight": sample_weight}
        y, mean, variance = device_results(TRAINING, cupy, arguments)
        np.testing.assert_array_equal(mean, x[0])
        np.testing.assert_array_equal(variance, 0)
        np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("rows", [6, 9000])
def test_weights_that_are_all_zero(rows, cupy):
    rng = np.random.default_rng(0)
    arguments = {
        "x": rng.standard_normal((rows, 4)),
        "gamma": rng.standard_normal(4),
        "beta": rng.standard_normal(4),
        "sample_weight": np.zeros(rows),
    }
    check(TRAINING, cupy, arguments, np.float64)
    check(TRAINING.backward, cupy, bound_to_backward(TRAINING, arguments, rng), np.float64)
