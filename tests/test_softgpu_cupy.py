"""CuPy's own functions on the GPU in software, against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("softgpu")

RNG = np.random.default_rng(0)
F = RNG.standard_normal((37, 53)).astype(np.float32)
ARRAYS = {
    "f32": F, "f64": F.astype(np.float64), "f16": F.astype(np.float16), "bool": F > 0,
    "i64": RNG.integers(-50, 50, F.shape), "i32": RNG.integers(-50, 50, F.shape, np.int32),
    "u8": RNG.integers(0, 255, F.shape, np.uint8),
}  # fmt: skip
ON_ALL = {
    "add": lambda xp, a: a + a,
    "sum": lambda xp, a: a.sum(dtype=np.float64 if a.dtype.kind == "f" else None),
    "max": lambda xp, a: a.max(1),
    "argmax": lambda xp, a: a.argmax(1),
    "transpose": lambda xp, a: xp.ascontiguousarray(a.T),
    "fancy": lambda xp, a: a[xp.asarray([3, 1, -1, 3])],
    "astype": lambda xp, a: a.astype(np.float64) + a.astype(np.float32),
    "where": lambda xp, a: xp.where(a > 0, a, a * 0),
    "mask": lambda xp, a: a[a > 0],
    "cumsum": lambda xp, a: xp.cumsum(a, 1),
}
UNARY = [
    "exp", "log1p", "sqrt", "sin", "cos", "tanh", "abs", "floor", "ceil", "rint", "sign", "square",
    "expm1", "arctan", "sinh", "cbrt", "exp2", "isnan",
]  # fmt: skip
SMALL, POSITIVE = ("exp", "sinh", "expm1", "exp2"), ("log1p", "sqrt")
OTHERS = {
    "moments": lambda xp, a: a.mean(0) + a.var(0) + a.std(0),
    "stack": lambda xp, a: xp.concatenate([a, xp.stack([a[0], a[1]])]),
    "slices": lambda xp, a: xp.roll(xp.pad(a[::-2, 3:40:5], 2), 3, axis=0),
    "nonzero": lambda xp, a: xp.nonzero(a > 1)[0],
    "bincount": lambda xp, a: xp.bincount((a.ravel() > 0).astype(np.int64)),
    "complex": lambda xp, a: xp.abs(a + 1j * a),
    "clip": lambda xp, a: xp.clip(xp.take(a, xp.asarray([1, 2]), 1), -1, 1).round(2),
    "power": lambda xp, a: a**3 + xp.abs(a) ** 0.3,
}


def same(cupy, operation, a: np.ndarray) -> None:
    rtol, atol = (2e-2, 0.5) if a.dtype == np.float16 else (1e-4, 1e-4)
    got = cupy.asnumpy(operation(cupy, cupy.asarray(a)))
    np.testing.assert_allclose(got, operation(np, a), rtol=rtol, atol=atol)


@pytest.mark.parametrize("dtype", ARRAYS)
@pytest.mark.parametrize("name", ON_ALL)
def test_on_all_dtypes(cupy, name, dtype):
    same(cupy, ON_ALL[name], ARRAYS[dtype])


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", UNARY)
def test_unary(cupy, name, dtype):
    a = ARRAYS[dtype] * (3 if name in SMALL else 30)
    same(cupy, lambda xp, a: getattr(xp, name)(a), abs(a) if name in POSITIVE else a)


@pytest.mark.parametrize("name", OTHERS)
def test_others(cupy, name):
    same(cupy, OTHERS[name], F)
