"""L-BFGS whose vectors are on a GPU, against the one on the host, and what it reads."""

from __future__ import annotations

import numpy as np
import pytest

from _cuda_models import X, Y
from cukernels.gpu.kernel import KERNELS
from estimators import MLPClassifier
from estimators.optimize import lbfgs
from estimators.optimize.lbfgs import minimize_lbfgs
from test_lbfgs import STARTS, rosenbrock

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@pytest.fixture
def function(cupy):
    """The stack of Rosenbrock functions, for points on the device."""

    def on_device(x, models):
        values, gradients = rosenbrock(cupy.asnumpy(x), models)
        return cupy.asarray(values), cupy.asarray(gradients)

    return on_device


def assert_same(device, host):
    """The same path: every count and message, and the same ends to rounding."""
    np.testing.assert_array_equal(device.n_iter, host.n_iter)
    np.testing.assert_array_equal(device.n_evaluations, host.n_evaluations)
    np.testing.assert_array_equal(device.status, host.status)
    assert device.message == host.message
    np.testing.assert_allclose(device.fun, host.fun, rtol=1e-6, atol=1e-14)
    np.testing.assert_allclose(device.x.get(), host.x, rtol=1e-6, atol=1e-9)


SETTINGS = {
    "to-the-end": {"gtol": 1e-8, "ftol": 0},
    "short-memory": {"gtol": 1e-8, "ftol": 0, "memory": 3},
    "max-iter": {"max_iter": 5, "gtol": 1e-8},
    "no-iteration": {"max_iter": 0},
    "max-fun": {"max_fun": 9, "gtol": 1e-8},
    "flat-value": {"ftol": 0.1},
    "own-limits": {
        "max_iter": np.where(np.arange(12) % 3 == 0, 4, 1000),
        "gtol": np.where(np.arange(12) % 3 == 1, 1e-1, 1e-8),
        "ftol": np.where(np.arange(12) % 4 == 2, 0.5, 0),
    },
    "few-steps-a-search": {"max_line_search": 1, "gtol": 1e-8, "ftol": 0, "max_iter": 30},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_path_is_that_of_the_host(name, function, cupy):
    host = minimize_lbfgs(rosenbrock, STARTS, **SETTINGS[name])
    start = cupy.asarray(STARTS)
    device = minimize_lbfgs(function, start, **SETTINGS[name])
    assert_same(device, host)
    np.testing.assert_array_equal(start.get(), STARTS)


def test_in_float32(function, cupy):
    result = minimize_lbfgs(function, cupy.asarray(STARTS, np.float32), gtol=1e-3)
    assert result.x.dtype == np.float32 and (result.status == lbfgs.CONVERGED).all()
    np.testing.assert_allclose(result.x.get(), 1, atol=1e-2)


@pytest.mark.each_device
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_a_stack_is_bit_for_bit_its_models_alone(dtype, function, cupy):
    """With more parameters than a block takes, so that several blocks add up."""
    starts = np.random.default_rng(1).standard_normal((3, 2500)).astype(dtype)
    settings = {"gtol": 1e-2, "ftol": 0, "max_iter": 9, "memory": 4}
    together = minimize_lbfgs(function, cupy.asarray(starts), **settings)
    for model in range(3):
        alone = minimize_lbfgs(
            lambda x, models, model=model: function(x, models + model),
            cupy.asarray(starts[model : model + 1]),
            **settings,
        )
        assert alone.x[0].tobytes() == together.x[model].tobytes()
        assert alone.fun[0] == together.fun[model]
        assert alone.n_evaluations[0] == together.n_evaluations[model]


def test_a_model_that_is_not_finite_takes_no_other_down(function, cupy):
    starts = STARTS.copy()
    starts[3] = np.nan
    with np.errstate(invalid="ignore"):
        host = minimize_lbfgs(rosenbrock, starts, gtol=1e-8, ftol=0)
        assert_same(minimize_lbfgs(function, cupy.asarray(starts), gtol=1e-8, ftol=0), host)


def test_steps_into_overflow_are_shortened(cupy):
    """And what a point that is not finite has left in the record does no harm afterwards."""

    def barrier(x, models):  # infinite from 0.4 on
        xp = cupy.get_array_module(x)
        inside = xp.minimum(x, 0.39999999)
        values = xp.where(x < 0.4, x**2 - x - 0.001 * xp.log(0.4 - inside), np.inf)
        gradients = xp.where(x < 0.4, 2 * x - 1 + 0.001 / (0.4 - inside), np.nan)
        return values[:, 0].copy(), gradients

    start = np.array([[-3.0], [-1.0]])
    host = minimize_lbfgs(barrier, start, gtol=1e-6, ftol=0)
    assert (host.n_evaluations > host.n_iter + 1).any()
    assert_same(minimize_lbfgs(barrier, cupy.asarray(start), gtol=1e-6, ftol=0), host)


@pytest.mark.parametrize("exponent", [-45, -38, -30, -20, -19, -18, -17])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_a_gradient_whose_square_underflows_is_flat(dtype, exponent, cupy):
    size = 10.0 ** (exponent if dtype == np.float32 else 7 * exponent)

    def bowl(x, models):
        gradient = (x * dtype(size)).astype(dtype)
        return 0.5 * (gradient * x).sum(axis=1), gradient

    start = np.array([[1, 0.5, -2, 0]], dtype)
    result = minimize_lbfgs(bowl, cupy.asarray(start), gtol=0, ftol=0, max_iter=50)
    assert np.isfinite(result.x.get()).all() and np.isfinite(result.fun).all()
    assert result.status[0] in (lbfgs.CONVERGED, lbfgs.LIMIT)
    assert (abs(result.x.get()) <= abs(start)).all()


def test_the_callback_sees_every_iteration_and_can_end_the_run(function, cupy):
    seen = np.zeros(12, dtype=int)

    def count(models, x, values, iteration):
        seen[models] += 1
        points = np.stack([cupy.asnumpy(point) for point in x])
        np.testing.assert_allclose(values, rosenbrock(points, models)[0])
        if seen.max() == 20:
            raise StopIteration
        return models % 4 == 3

    runs = []
    for evaluate, start in ((rosenbrock, STARTS), (function, cupy.asarray(STARTS))):
        seen[:] = 0
        runs.append(minimize_lbfgs(evaluate, start, gtol=1e-8, callback=count))
        np.testing.assert_array_equal(runs[-1].n_iter, seen)
    assert_same(runs[1], runs[0])


@pytest.mark.parametrize("call", [1, 2, 3, 15, 40])
def test_ctrl_c_keeps_the_last_iteration_of_each_model(call, function, cupy):
    runs = []
    for evaluate, start in ((rosenbrock, STARTS), (function, cupy.asarray(STARTS))):
        calls = iter(range(1, 1000))

        def interrupted(x, models, evaluate=evaluate, calls=calls):
            if next(calls) == call:
                raise KeyboardInterrupt
            return evaluate(x, models)

        runs.append(minimize_lbfgs(interrupted, start, gtol=1e-8))
    host, device = runs
    np.testing.assert_array_equal(device.n_iter, host.n_iter)
    np.testing.assert_allclose(device.x.get(), host.x, rtol=1e-6)


def test_an_evaluation_is_read_once(function, cupy, softgpu):
    """Whatever it is that models do: they end, search on, or start anew without memory."""
    calls = 0

    def counted(x, models):
        nonlocal calls
        calls += 1
        return values[: len(models)], x * 0.5

    values, start = cupy.zeros(3), cupy.asarray(STARTS[:3])
    counted(start, range(3))  # the kernels of CuPy that it needs are compiled
    calls = 0
    with softgpu.transfers() as copies:
        minimize_lbfgs(counted, start, gtol=np.array([10, 1e-3, 1e-8]), max_iter=20)
    assert calls > 1
    assert copies.to_host == copies.synchronizations == calls


def ours() -> set[str]:
    return {kernel.name for kernel in KERNELS}


def test_a_network_reads_once_an_iteration(softgpu):
    """And has no kernel of CuPy, in none of its evaluations."""

    def fit(iterations):
        model = MLPClassifier((7,), solver="lbfgs", max_iter=iterations, device="cuda")
        with softgpu.launched() as kernels, softgpu.transfers() as copies:
            model.set_params(tol=0, random_state=0).fit(X.astype(np.float32), Y)
        assert model.n_iter_ == iterations
        assert {str(kernel).partition("<")[0] for kernel in kernels} <= ours()
        return copies.to_host, copies.synchronizations, copies.to_device, len(kernels)

    short, long = np.array(fit(6)), np.array(fit(7))
    assert (long - short)[:3].tolist() == [1, 1, 1]
    assert (long - short)[3] <= 18
