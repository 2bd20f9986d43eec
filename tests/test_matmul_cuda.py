"""Matrix products on a GPU: every tile, every tail, every way to split a sum."""

from __future__ import annotations

import re

import numpy as np
import pytest

import cukernels
from _cuda_calls import device_results, on_host
from _op_cases import assert_close
from cukernels import OPS
from cukernels.activations.fused import FUSED
from cukernels.matmul import gemm_plan, product
from cukernels.matmul import sums as _sums
from cukernels.matmul.gemm_plan import FMA_TILES, LARGEST, REQUESTED_TILES, TENSOR_TILES, Plan
from cukernels.runtime.cases import bound_to_backward, cast, copied, results
from cukernels.runtime.chunks import slices

MATMUL = OPS["matmul"]
DTYPES = {"float": np.float32, "double": np.float64}
# The error of one product of factors about 1, and of a sum of them
ERRORS = {"Tf32<3>": 2.0**-22, "Tf32<1>": 2.0**-10, "Bf16": 2.0**-7}


def has_tensor_cores(cupy) -> bool:
    return int(cupy.cuda.Device().compute_capability) >= 80


def require_tensor_cores(cupy) -> None:
    if not has_tensor_cores(cupy):
        pytest.skip("tensor cores of this device have no such numbers")


def forced(cupy, monkeypatch, tile, math: str, dtype: str, k_of_sum: int = 256, splits: int = 1):
    """Make every product use a tile, and a split."""
    if math != "Fma":
        require_tensor_cores(cupy)
    plan = Plan(
        tile.expression, math, tile.m, tile.n, tile.threads, tile.shared(dtype), k_of_sum, splits
    )
    monkeypatch.setattr(product, "plan", lambda *_, **__: plan)
    product._configuration.cache_clear()


@pytest.fixture(autouse=True)
def plans_of_one_test():
    yield
    product._configuration.cache_clear()


def factors(rng, m, n, k, a_k, b_k, dtype, *stack):
    a, b = rng.standard_normal((*stack, m, k)), rng.standard_normal((*stack, n, k))
    a, b = a.astype(dtype), b.astype(dtype)
    exact = a.astype(float) @ b.astype(float).swapaxes(-1, -2)
    a = a if a_k else np.ascontiguousarray(a.swapaxes(-1, -2))
    b = b if b_k else np.ascontiguousarray(b.swapaxes(-1, -2))
    return a, b, exact


def instances():
    for precision, math in gemm_plan.MATHS.items():
        tiles = (LARGEST, *TENSOR_TILES) if precision == "float32" else REQUESTED_TILES
        yield from ((tile, math, "float") for tile in tiles)
    for dtype, tiles in FMA_TILES.items():
        yield from ((tile, "Fma", dtype) for tile in tiles)


@pytest.mark.parametrize(
    ("tile", "math", "dtype", "a_k", "b_k"),
    [
        pytest.param(tile, math, dtype, a_k, b_k, id=f"{tile.expression}-{math}-{a_k}-{b_k}")
        for tile, math, dtype in instances()
        for a_k in (True, False)
        for b_k in (True, False)
        if a_k or tile != LARGEST  # it has no registers for that
    ],
)
def test_every_instance(tile, math, dtype, a_k, b_k, cupy, monkeypatch):
    """Two tiles in each direction with a tail, aligned rows and not, a tail of the k-step."""
    forced(cupy, monkeypatch, tile, math, dtype)
    rng = np.random.default_rng(0)
    for m, n, k in (
        (tile.m + 4, tile.n + 4, 3 * tile.k + 12),
        (tile.m + 5, tile.n + 3, tile.k + 9),
        (tile.m - 3, 1, 1),
    ):
        a, b, exact = factors(rng, m, n, k, a_k, b_k, DTYPES[dtype])
        y = on_host(product.product(cupy.asarray(a), cupy.asarray(b), a_k, b_k, ()))
        eps = ERRORS.get(math, 0) + np.finfo(DTYPES[dtype]).eps
        np.testing.assert_allclose(y, exact, rtol=0, atol=16 * eps * np.sqrt(k), equal_nan=False)


SHAPES = [
    (1, 1, 17), (1, 300, 40), (300, 1, 40), (1, 1, 600), (33, 31, 33), (64, 64, 64), (65, 63, 31),
    (129, 20, 36), (20, 129, 52), (7, 10, 784), (16, 48, 96), (5, 3, 0), (0, 3, 20), (3, 0, 20),
    (130, 70, 260), (40, 36, 1000),
]  # fmt: skip


@pytest.mark.each_device
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_shape(shape, dtype, cupy):
    m, n, k = shape
    rng = np.random.default_rng(1)
    for i, (ta, tb) in enumerate([(False, False), (False, True), (True, False), (True, True)]):
        a, b, _ = factors(rng, m, n, k, not ta, tb, np.float64)
        given = {
            "a": a, "b": b, "bias": rng.standard_normal(n), "transpose_a": ta, "transpose_b": tb,
            "activation": FUSED[(i + m) % len(FUSED)],
        }  # fmt: skip
        bound = bound_to_backward(MATMUL, cast(given, np.float64), rng)
        for op, arguments in ((MATMUL, given), (MATMUL.backward, bound)):
            arguments = cast(arguments, dtype)
            exact = results(op, op.reference, copied(cast(arguments, np.float64)))
            got = device_results(op, cupy, copied(arguments))
            assert_close(got, exact, arguments, dtype)


def long_product(activation):
    rng = np.random.default_rng(2)
    given = {
        "a": rng.standard_normal((2, 9, 3000)), "b": rng.standard_normal((2, 3000, 6)) / 50,
        "bias": rng.standard_normal((2, 6)), "activation": activation,
    }  # fmt: skip
    return cast(given, np.float32)


@pytest.mark.parametrize("activation", FUSED)
def test_activation_ends_a_split_sum(activation, cupy):
    given = long_product(activation)
    exact = results(MATMUL, MATMUL.reference, copied(cast(given, np.float64)))
    assert_close(device_results(MATMUL, cupy, copied(given)), exact, given, np.float32)


def test_that_sum_is_split_in_one_launch(cupy, softgpu):
    with softgpu.launched() as kernels:
        device_results(MATMUL, cupy, long_product("relu"))
    assert len(kernels) == 1 and kernels[0].grid[1] > 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_tile_and_split_do_not_change_a_bit(dtype, cupy, monkeypatch):
    rng = np.random.default_rng(3)
    a, b, _ = factors(rng, 37, 21, 700, True, False, DTYPES[dtype])
    a, b = cupy.asarray(a), cupy.asarray(b)
    tensor = (LARGEST, *TENSOR_TILES) if dtype == "float" and has_tensor_cores(cupy) else ()
    for tiles, math in ((tensor, "Tf32<3>"), (FMA_TILES[dtype], "Fma")):
        found = set()
        for tile in tiles:
            for splits in (1, 3):
                forced(cupy, monkeypatch, tile, math, dtype, 256, splits)
                y = on_host(product.product(a, b, True, False, ()))
                found.add(y.tobytes())
        assert len(found) <= 1


@pytest.mark.each_device
@pytest.mark.parametrize("shape", [(20, 10, 300), (50, 33, 64), (9, 12, 5000)], ids=str)
@pytest.mark.parametrize("activation", ["tanh", "identity"])
def test_a_model_is_the_same_in_any_company(shape, activation, cupy):
    """Its bits do not depend on how many models are computed with it, nor those of gradients."""
    m, n, k = shape
    rng = np.random.default_rng(4)
    a, b, _ = factors(rng, m, n, k, True, False, np.float32, 5)
    given = {"a": a, "b": b, "bias": rng.standard_normal((5, n))}
    given |= {"activation": activation, "a_activation": "relu"}
    bound = bound_to_backward(MATMUL, given, rng)
    for op, arguments in ((MATMUL, given), (MATMUL.backward, bound)):
        arguments = cast(arguments, np.float32)
        together = device_results(op, cupy, copied(arguments))
        for i in range(5):
            one = {k: v[i] if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
            for x, y in zip(together, device_results(op, cupy, copied(one)), strict=True):
                np.testing.assert_array_equal(x[i], y)


@pytest.mark.parametrize(
    ("offset", "behind"), [(0, 0), (4, 0), (1, 3), (1, 0), (0, 1)],
    ids=["whole", "aligned", "pointer off", "both off", "stride off"],
)  # fmt: skip
def test_weights_that_are_views(offset, behind, cupy):
    """Weights of a stack lie in one array of all parameters, at any place."""
    rng = np.random.default_rng(5)
    parameters = rng.standard_normal((3, offset + 40 * 8 + 8 + behind)).astype(np.float32)
    x = rng.standard_normal((20, 40)).astype(np.float32)
    on_device = cupy.asarray(parameters)

    def views(p):
        return p[:, offset : offset + 320].reshape(3, 40, 8), p[:, offset + 320 : offset + 328]

    w, bias = views(parameters)
    w_device, bias_device = views(on_device)
    x_device = cupy.asarray(x)
    exact = x @ w
    y = on_host(cukernels.matmul(x_device, w_device, bias_device))
    np.testing.assert_allclose(y, exact + bias[:, None], rtol=0, atol=2e-5)
    y = on_host(cukernels.matmul(w_device, x_device, transpose_a=True, transpose_b=True))
    np.testing.assert_allclose(y, exact.swapaxes(1, 2), rtol=0, atol=2e-5)


def summed_in_order(a, b):
    """a @ b.T in float32, in the order that the head of gemm.cuh states: sums of some k, added."""
    y = np.zeros((len(a), len(b)), np.float32)
    for of_sum in slices(a.shape[1], gemm_plan.sum_length(a.shape[1])):
        part = np.zeros_like(y)
        for column_a, column_b in zip(a[:, of_sum].T, b[:, of_sum].T, strict=True):
            part += np.multiply.outer(column_a, column_b)
        y += part
    return y


@pytest.mark.each_device
@pytest.mark.parametrize("sign", ["both", "one"])
@pytest.mark.parametrize("k", [1, 3, 8, 16, 17, 32, 33, 40, 300, 3000, 12000])
def test_float32_is_no_farther_from_float64_than_a_sum_in_float32(k, sign, cupy):
    """But for a quarter, of chance. BLAS is no measure: its order depends on the processor."""
    rng = np.random.default_rng(6)
    a, b = rng.standard_normal((2, 24, k)).astype(np.float32)
    if sign == "one":
        a, b = np.abs(a), np.abs(b)
    exact = a.astype(float) @ b.astype(float).T
    device = cupy.asarray
    y = on_host(cukernels.matmul(device(a), device(b), transpose_b=True))
    error, plain = (np.sqrt(np.mean((z - exact) ** 2)) for z in (y, summed_in_order(a, b)))
    assert error <= 1.25 * plain


def test_precision_on_request(cupy):
    require_tensor_cores(cupy)
    rng = np.random.default_rng(7)
    a, b, exact = factors(rng, 40, 40, 64, True, False, np.float32)
    a, b = cupy.asarray(a), cupy.asarray(b)
    errors = {}
    for name in ("float32", "tf32", "bf16"):
        with cukernels.precision(name):
            errors[name] = np.abs(on_host(cukernels.matmul(a, b)) - exact).max()
    assert errors["float32"] < 1e-5 < errors["tf32"] < 1e-2 < errors["bf16"] < 0.3
    double = on_host(cukernels.matmul(a.astype(np.float64), b.astype(np.float64)))
    with cukernels.precision("tf32"):
        again = on_host(cukernels.matmul(a.astype(np.float64), b.astype(np.float64)))
    np.testing.assert_array_equal(double, again)


def test_not_finite_stays_not_finite(cupy):
    a = np.ones((40, 40), np.float32)
    a[3, 5], a[7, 9] = np.nan, np.inf
    b = np.ones((40, 40), np.float32)
    y = on_host(cukernels.matmul(cupy.asarray(a), cupy.asarray(b)))
    assert not np.isfinite(y[[3, 7]]).any()
    np.testing.assert_array_equal(np.delete(y, [3, 7], axis=0), 40)


@pytest.mark.parametrize(
    ("shapes", "got"),
    [
        (((3, 4), (5, 6), None), "a (3, 4), b (5, 6);"),
        (((4,), (4, 6), None), "a (4,), b (4, 6);"),
        (((3, 4), (4, 6), (5,)), "a (3, 4), b (4, 6), bias (5,);"),
        (((3, 4), (4, 6), (2, 6)), "a (3, 4), b (4, 6), bias (2, 6);"),
        (((2, 3, 4), (3, 4, 6), None), "a (2, 3, 4), b (3, 4, 6);"),
    ],
)
def test_shapes_that_do_not_fit(shapes, got, cupy):
    """In the words that the CPU has for them; see test_malformed_ops for the other ops."""
    told = re.escape(f"matmul: arguments of these shapes do not fit: {got} expected a (..., N, D)")
    on_device = [None if s is None else cupy.asarray(np.ones(s)) for s in shapes]
    with pytest.raises(ValueError, match=told):
        cukernels.matmul(*on_device)
    with pytest.raises(ValueError, match=told):
        cukernels.matmul(*(None if s is None else np.ones(s) for s in shapes))


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("n", [1, 3, 10, 16, 64, 130])
@pytest.mark.parametrize("rows", [0, 1, 33, 700])
def test_column_sums(rows, n, dtype, cupy):
    rng = np.random.default_rng(8)
    dy, y = rng.standard_normal((2, 3, rows, n)).astype(dtype)
    for activation in ("identity", "tanh", "relu"):
        dz, sums = _sums.activation_gradient(cupy.asarray(dy), cupy.asarray(y), activation, 3, True)
        slope = cukernels.activations.ACTIVATIONS[activation].backward
        exact = slope(dy.astype(float), y.astype(float))
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(on_host(dz), exact, rtol=8 * eps, atol=8 * eps)
        np.testing.assert_allclose(
            on_host(sums), exact.sum(axis=1), rtol=0, atol=60 * eps * np.sqrt(rows)
        )


@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_column_sums_of_many_rows_are_one_launch(activation, cupy, softgpu):
    dy = cupy.ones((2, 1000, 70), np.float32)
    with softgpu.launched() as kernels:
        _, sums = _sums.activation_gradient(dy, dy, activation, 2, True)
    assert len(kernels) == 1 and kernels[0].grid[0] > 4  # several chunks
    assert (sums.get() == 1000).all()


@pytest.mark.parametrize("own", [(3, 5), (4, 8), (1,), (2, 257)], ids=str)
@pytest.mark.parametrize("terms", [0, 1, 11])
def test_ordered_sum(terms, own, cupy):
    """Term after term: the same bits as a loop."""
    x = np.random.default_rng(9).standard_normal((3, terms, *own)).astype(np.float32)
    expected = np.zeros((3, *own), np.float32)
    for t in range(terms):
        expected += x[:, t]
    got = on_host(_sums.ordered_sum(cupy.asarray(x)))
    np.testing.assert_array_equal(got, expected)
