"""Layer normalisation beyond the samples of the registry: stacks, hard numbers, odd sizes."""

from __future__ import annotations

import numpy as np
import pytest

from _cuda_calls import device_results, on_device, on_host
from _op_cases import assert_close
from cukernels import OPS
from cukernels.runtime.cases import bound_to_backward, cast, copied, results
from cukernels.runtime.workspace import Workspace

OP = OPS["layer_norm"]

# shape of x, axes of the stack of gamma
CASES = {
    "a warp a row": ((70, 24), ()),
    "a block a row": ((5, 3, 1500), ()),
    "more rows than blocks": ((40, 9, 9, 3), ()),
    "models": ((3, 5, 2, 4), (3,)),
    "models of shared rows": ((1, 5, 2, 4), (3,)),
    "models of shared units": ((3, 5, 40), (1,)),
    "two axes of models": ((2, 3, 5, 4), (2, 3)),
    "two axes of models, crossed": ((2, 1, 5, 4), (1, 3)),
    "many rows of models": ((2, 900, 9), (2,)),
    "no rows": ((0, 4, 4), ()),
    "no units": ((5, 0), ()),
    "no models": ((0, 5, 4), (0,)),
}
ON_A_GPU = pytest.param("cuda", marks=pytest.mark.gpu)
by_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
by_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def arguments_of(case) -> dict:
    (shape, stack), rng = case, np.random.default_rng(0)
    units = (*stack, shape[-1])
    return {
        "x": 2 + 3 * rng.standard_normal(shape),
        "gamma": rng.standard_normal(units),
        "beta": rng.standard_normal(units),
    }


def calls(arguments: dict) -> list:
    bound = bound_to_backward(OP, arguments, np.random.default_rng(1))
    return [(OP, arguments), (OP.backward, bound)]


@pytest.fixture(autouse=True)
def few_multiprocessors(monkeypatch):
    """Few rows fill the device then, and blocks loop over the others."""
    monkeypatch.setattr("cukernels.gpu.rows.multiprocessors", lambda x: 4)


@pytest.fixture(params=["reference", "numpy", ON_A_GPU])
def run(request):
    """What computes an op: definition, NumPy body or kernel."""
    if request.param == "cuda":
        cupy = request.getfixturevalue("cupy")
        return lambda op, given: device_results(op, cupy, given)
    return lambda op, given: results(op, getattr(op, request.param), given)


@by_case
@by_dtype
def test_shapes(case, dtype, run):
    for op, arguments in calls(arguments_of(case)):
        given = cast(arguments, dtype)
        exact = results(op, op.reference, copied(cast(given, np.float64)))
        assert_close(run(op, copied(given)), exact, arguments, dtype)


def test_parameters_of_a_stack_are_views(cupy):
    """As the training keeps them: each model's in a row of one array, at any address."""
    arguments = cast(arguments_of(CASES["models"]), np.float32)
    exact = results(OP, OP.reference, copied(cast(arguments, np.float64)))
    placed = {name: on_device(cupy, value) for name, value in arguments.items()}
    parameters = cupy.empty((3, 11), np.float32)
    for name, columns in (("gamma", slice(1, 5)), ("beta", slice(6, 10))):
        parameters[:, columns] = placed[name]
        placed[name] = parameters[:, columns]
    assert_close([on_host(OP.cuda(**placed))], exact, arguments, np.float32)


@pytest.mark.parametrize("where", ["numpy", ON_A_GPU])
@pytest.mark.parametrize(
    "name", [name for name, (_, stack) in CASES.items() if stack in [(2,), (3,)]]
)
def test_a_model_is_the_same_in_any_stack(name, where, request):
    def got(op, given):
        if where == "numpy":
            with Workspace():
                return [r.copy() for r in results(op, op.numpy, copied(given))]
        return device_results(op, request.getfixturevalue("cupy"), copied(given))

    (n_models,) = CASES[name][1]
    for op, given in calls(cast(arguments_of(CASES[name]), np.float32)):
        shared = given["x"].shape[0] == 1
        stack = got(op, given)
        for m in range(n_models):
            own = {k: v[m % len(v)] if isinstance(v, np.ndarray) else v for k, v in given.items()}
            alone = got(op, own)
            for i, (one, many) in enumerate(zip(alone, stack, strict=True)):
                if not (op.is_backward and shared and i == 0):  # dx is a sum over the models
                    np.testing.assert_array_equal(one, many[m])


@pytest.mark.parametrize("units", [9, 40, 1500])
def test_a_large_mean_does_not_cancel(units, run):
    """Every body is as near to the float64 answer as for the same rows with a mean of 0."""
    rng = np.random.default_rng(0)
    x = (1e4 + rng.standard_normal((30, units))).astype(np.float32)
    one = np.ones(units, np.float32)
    for op, given in calls({"x": x, "gamma": one, "beta": 0 * one}):
        given = cast(given, np.float32)
        exact = results(op, op.reference, copied(cast(given, np.float64)))
        far, near = run(op, copied(given)), run(op, given | {"x": x - np.float32(1e4)})
        for f, n, e in zip(far, near, exact, strict=True):
            assert np.abs(f - e).max() <= 2 * np.abs(n - e).max() + np.finfo("f").eps


@pytest.mark.parametrize("units", [7, 40, 1500])
@by_dtype
def test_a_constant_row_becomes_the_shift(units, dtype, run):
    x = np.repeat(np.array([[0.1], [-3.3], [1e5]], dtype), units, axis=1)
    beta = np.random.default_rng(0).standard_normal(units).astype(dtype)
    (y,) = run(OP, {"x": x, "gamma": np.ones(units, dtype), "beta": beta.copy()})
    # rounding leaves eps of the mean, and eps of that remains; the deviation is sqrt(1e-5)
    noise = np.finfo(dtype).eps ** 2 * np.abs(x) / np.sqrt(1e-5)
    assert (np.abs(y - beta) <= 16 * noise + 2 * np.finfo(dtype).eps).all()
