"""L-BFGS over a stack of models, its line search and its memory."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from estimators.optimize import lbfgs
from estimators.optimize.curvature import CurvatureMemory
from estimators.optimize.lbfgs import minimize_lbfgs
from estimators.optimize.line_search import WolfeSearch


def rosenbrock(x, models):
    """A stack of Rosenbrock functions, harder from model to model."""
    scale = 10 * (models + 1.0)[:, None].astype(x.dtype)
    valley = x[:, 1:] - x[:, :-1] ** 2
    values = (scale * valley**2 + (1 - x[:, :-1]) ** 2).sum(axis=1)
    gradients = np.zeros_like(x)
    gradients[:, 1:] += 2 * scale * valley
    gradients[:, :-1] -= 4 * scale * valley * x[:, :-1] + 2 * (1 - x[:, :-1])
    return values, gradients


def only(model):
    """The function of one model of the stack, as a stack of one."""
    return lambda x, models: rosenbrock(x, models + model)


STARTS = np.random.default_rng(0).standard_normal((12, 7))


@pytest.fixture(scope="module")
def stacked():
    return minimize_lbfgs(rosenbrock, STARTS, gtol=1e-8, ftol=0)


def test_a_stack_reaches_the_minimum_each_model_in_its_own_time(stacked):
    np.testing.assert_allclose(stacked.x, 1, atol=1e-7)
    assert (stacked.status == lbfgs.CONVERGED).all()
    assert len(set(stacked.n_iter)) > 5


@pytest.mark.parametrize("model", range(12))
def test_a_stack_is_bit_for_bit_its_models_alone(stacked, model):
    alone = minimize_lbfgs(only(model), STARTS[model : model + 1], gtol=1e-8, ftol=0)
    for name in ("x", "fun", "n_iter", "n_evaluations", "status"):
        np.testing.assert_array_equal(getattr(stacked, name)[model], getattr(alone, name)[0])


@pytest.mark.parametrize("model", range(12))
@pytest.mark.parametrize("memory", [3, 10])
def test_iterations_and_evaluations_are_those_of_scipy(model, memory):
    ours = minimize_lbfgs(only(model), STARTS[model : model + 1], gtol=1e-6, ftol=0, memory=memory)
    theirs = minimize(
        lambda x: [part[0] for part in rosenbrock(x[None], np.array([model]))],
        STARTS[model],
        jac=True,
        method="L-BFGS-B",
        options={"gtol": 1e-6, "ftol": 0, "maxcor": memory, "maxls": 50},
    )
    assert ours.n_iter[0] == theirs.nit
    assert ours.n_evaluations[0] == theirs.nfev
    np.testing.assert_allclose(ours.x[0], theirs.x, atol=1e-8)


def test_models_leave_the_stack_when_they_end():
    sizes = []

    def counted(x, models):
        sizes.append(len(models))
        return rosenbrock(x, models)

    result = minimize_lbfgs(counted, STARTS, gtol=1e-8, ftol=0)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 12 and sizes[-1] == 1
    assert sum(sizes) == result.n_evaluations.sum()


def test_the_start_is_not_changed_and_its_dtype_is_kept():
    start = STARTS.astype(np.float32)
    before = start.copy()
    result = minimize_lbfgs(rosenbrock, start, gtol=1e-3)
    np.testing.assert_array_equal(start, before)
    assert result.x.dtype == np.float32
    np.testing.assert_allclose(result.x, 1, atol=1e-2)


def test_limits_and_messages():
    run = minimize_lbfgs(rosenbrock, STARTS, max_iter=5, gtol=1e-8)
    assert (run.status == lbfgs.LIMIT).all() and (run.n_iter == 5).all()
    assert run.message[0] == "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT"
    run = minimize_lbfgs(rosenbrock, STARTS, max_fun=9, gtol=1e-8)
    assert run.message[0] == "STOP: TOTAL NO. OF F,G EVALUATIONS EXCEEDS LIMIT"
    assert (run.n_evaluations[run.status == lbfgs.LIMIT] < 14).all()
    run = minimize_lbfgs(rosenbrock, STARTS, ftol=0.1)
    assert run.message[0] == "CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH"
    run = minimize_lbfgs(rosenbrock, np.ones((2, 7)))
    assert (run.n_iter == 0).all() and (run.status == lbfgs.CONVERGED).all()
    assert run.message[0] == "CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL"
    run = minimize_lbfgs(rosenbrock, STARTS, max_iter=0)
    np.testing.assert_array_equal(run.x, STARTS)
    assert (run.status == lbfgs.LIMIT).all()


def test_a_model_that_is_not_finite_takes_no_other_down():
    starts = STARTS.copy()
    starts[3] = np.nan
    with np.errstate(invalid="ignore"):
        result = minimize_lbfgs(rosenbrock, starts, gtol=1e-8, ftol=0)
    assert result.status[3] == lbfgs.ABNORMAL and "not finite" in result.message[3]
    others = np.arange(12) != 3
    np.testing.assert_allclose(result.x[others], 1, atol=1e-7)


def test_a_step_into_overflow_is_shortened():
    def barrier(x, models):  # infinite from 0.4 on
        inside = np.minimum(x, 0.4)
        with np.errstate(divide="ignore"):
            values = np.where(x < 0.4, x**2 - x - 0.001 * np.log(0.4 - inside), np.inf)
            gradients = np.where(x < 0.4, 2 * x - 1 + 0.001 / (0.4 - inside), np.nan)
        return values[:, 0], gradients

    result = minimize_lbfgs(barrier, np.array([[-3.0]]), gtol=1e-6, ftol=0)
    assert result.status[0] == lbfgs.CONVERGED
    assert abs(2 * result.x[0, 0] - 1 + 0.001 / (0.4 - result.x[0, 0])) <= 1e-6


def test_the_callback_sees_every_iteration_and_can_end_the_run():
    seen = np.zeros(12, dtype=int)

    def count(models, x, values, iteration):
        seen[models] += 1
        np.testing.assert_allclose(values, rosenbrock(x, models)[0])
        if seen.max() == 20:
            raise StopIteration

    result = minimize_lbfgs(rosenbrock, STARTS, gtol=1e-8, callback=count)
    np.testing.assert_array_equal(result.n_iter, seen)
    assert (result.status == lbfgs.LIMIT).all()


def test_each_model_has_limits_of_its_own(stacked):
    limits = {
        "max_iter": np.where(np.arange(12) % 3 == 0, 4, 1000),
        "gtol": np.where(np.arange(12) % 3 == 1, 1e-1, 1e-8),
        "ftol": np.where(np.arange(12) % 4 == 2, 0.5, 0),
        "max_fun": np.where(np.arange(12) == 5, 3, 15000),
    }
    together = minimize_lbfgs(rosenbrock, STARTS, **limits)
    for model in range(12):
        own = {name: values[model] for name, values in limits.items()}
        alone = minimize_lbfgs(only(model), STARTS[model : model + 1], **own)
        np.testing.assert_array_equal(together.x[model], alone.x[0])
        assert together.n_iter[model] == alone.n_iter[0]
        assert together.message[model] == alone.message[0]
    assert len(set(together.message)) == 4
    assert (together.n_iter < stacked.n_iter).any()


def test_the_callback_can_halt_some_models(stacked):
    def halt(models, x, values, iteration):
        return models % 2 == 0

    result = minimize_lbfgs(rosenbrock, STARTS, gtol=1e-8, ftol=0, callback=halt)
    assert (result.n_iter[::2] == 1).all()
    assert {result.message[m] for m in range(0, 12, 2)} == {lbfgs.HALTED[1]}
    np.testing.assert_array_equal(result.x[1::2], stacked.x[1::2])


def test_ctrl_c_keeps_the_last_iteration_of_each_model():
    calls = 0

    def interrupted(x, models):
        nonlocal calls
        calls += 1
        if calls == 15:
            raise KeyboardInterrupt
        return rosenbrock(x, models)

    result = minimize_lbfgs(interrupted, STARTS, gtol=1e-8)
    assert (result.status == lbfgs.INTERRUPTED).all()
    everyone = np.arange(12)
    assert (rosenbrock(result.x, everyone)[0] < rosenbrock(STARTS, everyone)[0]).all()


def two_loops(pairs, gradient):
    """Nocedal and Wright (2006), algorithm 7.4."""
    q, alphas = gradient.copy(), []
    for s, y in reversed(pairs):
        alphas.append(s @ q / (s @ y))
        q -= alphas[-1] * y
    s, y = pairs[-1]
    q *= s @ y / (y @ y)
    for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
        q += (alpha - y @ q / (s @ y)) * s
    return -q


@pytest.mark.parametrize("n_pairs", [1, 3, 4, 5, 11])
def test_the_memory_is_the_two_loop_recursion(n_pairs):
    rng = np.random.default_rng(n_pairs)
    hessian = np.diag(np.logspace(0, 4, 9))
    memory, pairs = CurvatureMemory(2, 4, 9, like=np.empty(0)), []
    for _ in range(n_pairs):
        s = rng.standard_normal((2, 9))
        y = s @ hessian
        memory.add([0, 1], s, y, (s * y).sum(axis=1))
        pairs.append((s, y))
    memory.forget([1])
    gradient = rng.standard_normal((2, 9))
    step = memory.newton_step(gradient)
    expected = two_loops([(s[0], y[0]) for s, y in pairs[-4:]], gradient[0])
    np.testing.assert_allclose(step[0], expected, rtol=1e-9)
    np.testing.assert_array_equal(step[1], -gradient[1])


def test_models_may_remember_at_different_times():
    rng = np.random.default_rng(0)
    together = CurvatureMemory(3, 4, 5, like=np.empty(0))
    alone = [CurvatureMemory(1, 4, 5, like=np.empty(0)) for _ in range(3)]
    for turn in range(12):
        models = [m for m in range(3) if turn % (m + 1) == 0]
        s = rng.standard_normal((len(models), 5))
        y = s * np.arange(1, 6)
        sy = (s * y).sum(axis=1)
        together.add(models, s, y, sy)
        for i, m in enumerate(models):
            alone[m].add([0], s[i : i + 1], y[i : i + 1], sy[i : i + 1])
    gradient = rng.standard_normal((3, 5))
    expected = [alone[m].newton_step(gradient[m : m + 1])[0] for m in range(3)]
    np.testing.assert_array_equal(together.newton_step(gradient), expected)


# The first of Moré and Thuente (1994), and two that overshoot and overflow
FUNCTIONS = {
    "rational": (lambda t: -t / (t**2 + 2), lambda t: (t**2 - 2) / (t**2 + 2) ** 2),
    "quartic": (lambda t: (t - 1) ** 4, lambda t: 4 * (t - 1) ** 3),
    "exponential": (lambda t: np.exp(3 * t) - 4 * t, lambda t: 3 * np.exp(3 * t) - 4),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("first", [1e-3, 0.1, 10.0, 50.0])
def test_the_search_ends_at_a_wolfe_point(name, first):
    value, slope = FUNCTIONS[name]
    search = WolfeSearch(value(0), slope(0), first)
    while not search.advance(value(search.step), slope(search.step)):
        assert search.n_steps < 20
    step = search.step
    assert value(step) <= value(0) + 1e-3 * step * slope(0)
    assert abs(slope(step)) <= 0.9 * abs(slope(0))


@pytest.mark.parametrize("exponent", range(-46, -12))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_gradient_whose_square_underflows_is_flat(dtype, exponent):
    """Its length would be 0, and GPUs have no subnormal numbers to show that it is not."""
    size = 10.0 ** (exponent if dtype == np.float32 else 7 * exponent)

    def bowl(x, models):
        gradient = (x * dtype(size)).astype(dtype)
        return 0.5 * (gradient * x).sum(axis=1), gradient

    start = np.array([[1, 0.5, -2, 0]], dtype)
    result = minimize_lbfgs(bowl, start, gtol=0, ftol=0, max_iter=50)
    assert np.isfinite(result.x).all() and np.isfinite(result.fun).all()
    assert result.status[0] in (lbfgs.CONVERGED, lbfgs.LIMIT)
    assert (abs(result.x) <= abs(start)).all()


@pytest.mark.parametrize("s", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("y", [1e-37, 1e-33, 1e-20, 1.0])
def test_the_memory_stays_finite(s, y):
    """The first guess of the inverse Hessian is s / y, which may be no number of the dtype."""
    like = np.zeros((1, 2), np.float32)
    memory = CurvatureMemory(1, 3, 2, like)
    with np.errstate(under="ignore"):
        step, change = np.array([[s, 0]], np.float32), np.array([[y, 0]], np.float32)
        memory.add([0], step, change, np.array([s * y]))
        assert np.isfinite(np.float32(memory.scale)).all()
        np.testing.assert_allclose(memory.newton_step(change), -step, rtol=1e-5)  # secant
