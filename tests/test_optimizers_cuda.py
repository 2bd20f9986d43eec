"""Optimizers on a GPU: the loss of an epoch in the same launch, and the correction of the bias."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from _cuda_calls import device_results, on_device, on_host
from _op_cases import assert_same_bits
from cukernels import OPS, add_loss
from cukernels.optimizers.optimizers_cuda import grid
from cukernels.training import loss_total
from estimators.training.optimizers import SOLVERS, STEPPED

each_solver = pytest.mark.parametrize("name", STEPPED)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def step_of(name: str, models: int, p: int, decayed: int, dtype) -> dict:
    """Arguments of a step without the loss of the batch."""
    solver, rng = SOLVERS[name], np.random.default_rng(0)
    arrays = ("params", "grads", *solver.moments)
    case = {n: rng.standard_normal((models, p)).astype(dtype) for n in arrays}
    if "second" in case:
        case["second"] **= 2
    vectors = [*solver.settings, *(n for n in solver.of_step if n != "step")]
    case |= {n: rng.random(models) for n in vectors} | {"n_decayed": decayed}
    return case | ({"step": rng.integers(1, 99, models)} if "step" in solver.of_step else {})


def of_batch(models: int, chunks: int, dtype) -> dict:
    rng = np.random.default_rng(1)
    return {
        "total": rng.standard_normal((models, chunks)),
        "loss": rng.standard_normal(models).astype(dtype),
        "size": rng.integers(1, 200, models).astype(float),
    }


@each_solver
@each_dtype
@pytest.mark.parametrize("chunks", [1, 3, 40])
def test_the_loss_comes_from_the_parameters_before_the_step(name, dtype, chunks, cupy):
    """As from `add_loss`; and the step is the same to the bit with it or without it."""
    case, batch = step_of(name, 2, 4099, 3001, dtype), of_batch(2, chunks, dtype)
    *stepped, total = device_results(OPS[name], cupy, case | batch)
    assert_same_bits(stepped, device_results(OPS[name], cupy, case))
    exact = batch["total"].copy()
    l2 = case["l2"] if "l2" in case else np.zeros(2)
    params = case["params"].astype(float)
    add_loss(exact, batch["loss"], params, l2=l2, size=batch["size"], n_decayed=3001)
    np.testing.assert_allclose(total, exact, rtol=20 * np.finfo(dtype).eps, atol=0)


@each_solver
def test_a_model_has_the_same_loss_in_any_stack(name, cupy):
    """To the bit, also where its parameters begin at no multiple of 16 bytes."""
    case = step_of(name, 3, 5003, 4001, np.float32)
    batch = of_batch(3, loss_total(on_device(cupy, case["params"]), 4001).shape[1], np.float32)
    together = device_results(OPS[name], cupy, case | batch)
    for m in range(3):
        own = {
            n: v[m : m + 1] if isinstance(v, np.ndarray) else v for n, v in (case | batch).items()
        }
        alone = device_results(OPS[name], cupy, own)
        assert_same_bits(alone, [result[m : m + 1] for result in together])


@each_dtype
@pytest.mark.parametrize("p", [0, 1, 1000, 5003, 80_000, 3_000_000])
def test_totals_have_a_column_for_each_block(p, dtype, cupy):
    """Their number follows from one model's parameters, and they cover them all."""
    widths = {loss_total(cupy.empty((m, p), dtype), 0).shape for m in (1, 4)}
    (blocks,) = {width[1] for width in widths}
    assert widths == {(1, blocks), (4, blocks)}
    assert max(grid(cupy.empty((1, p), dtype), None)[0], 1) == blocks
    params = cupy.ones((2, p), dtype)
    total = loss_total(params, p)
    loss, size = cupy.zeros(2, dtype), cupy.ones(2)
    add_loss(total, loss, params, l2=2 * cupy.ones(2), size=size, n_decayed=p)
    np.testing.assert_array_equal(on_host(total).sum(axis=1), p)


@each_solver
def test_a_step_is_one_launch(name, softgpu, cupy):
    case = step_of(name, 2, 300, 200, np.float32) | of_batch(2, 2, np.float32)
    placed = {n: on_device(cupy, v) for n, v in case.items()}
    with softgpu.launched() as kernels:
        OPS[name].cuda(**placed)
    assert [kernel.partition("<")[0] for kernel in kernels] == [name]


@each_solver
@pytest.mark.parametrize("missing", ["total", "loss", "size"])
def test_a_part_of_the_loss_alone_is_refused(name, missing):
    case = step_of(name, 2, 9, 5, np.float64) | of_batch(2, 1, np.float64)
    for body in (OPS[name].reference, OPS[name].numpy):
        with pytest.raises(ValueError, match=f"{name}: total, .* go together, but {missing} is No"):
            body(**case | {missing: None})


@pytest.mark.parametrize("name", ["adam", "adamw"])
@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 0.9, 0.999, 0.999999])
@pytest.mark.parametrize("step", [1, 2, 3, 1000, 1023, 1_000_000])
def test_bias_corrections_have_all_their_digits(name, beta, step, cupy):
    """As in exact arithmetic. `1 - beta**step` would lose the first digits of a small one."""
    exact = 1 - Fraction(beta) ** step if step < 2000 else -np.expm1(step * np.log(beta or 1e-300))
    exact = float(exact)
    one = np.ones((1, 1))
    # Of one parameter that is 0: minus the rate times first / (sqrt(second) + a tiny epsilon).
    shared = {"params": 0 * one, "first": one, "second": one, "grads": one, "n_decayed": 0}
    shared |= {"learning_rate": np.ones(1), "epsilon": np.zeros(1), "step": np.array([step])}
    shared |= {"weight_decay" if name == "adamw" else "l2": np.zeros(1)}
    for betas in ((beta, 0.5), (0.5, beta)):
        half = float(1 - Fraction(1, 2) ** min(step, 2000))
        first, second = (exact, half) if betas[0] == beta else (half, exact)
        given = {"beta_1": np.array(betas[:1]), "beta_2": np.array(betas[1:])}
        moved = device_results(OPS[name], cupy, shared | given)[0]
        np.testing.assert_allclose(moved, -np.sqrt(second) / first, rtol=1e-14)
