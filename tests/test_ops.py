"""Every op of the registry, held to its definition. A new op is tested without a new test.

The samples stand beside each op. Here they are run in both precisions, on odd memory layouts, and
against finite differences; every faster body is compared with the reference element by element.
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import cukernels
from cukernels.runtime.registry import OPS, Op

assert cukernels.OPS is OPS
FORWARDS = [op for op in OPS.values() if not op.is_backward]
DTYPES = (np.float32, np.float64)


def samples_of(op: Op) -> list[dict]:
    return list(op.samples(np.random.default_rng(0))) if op.samples else []


def is_float(value) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def cast(arguments: dict, dtype) -> dict:
    return {k: v.astype(dtype) if is_float(v) else v for k, v in arguments.items()}


def copied(arguments: dict) -> dict:
    return {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in arguments.items()}


def results(op: Op, body, arguments: dict) -> list[np.ndarray]:
    """What a call returns, and what it leaves in the arguments that it updates."""
    returned = body(**arguments)
    returned = returned if isinstance(returned, tuple) else (returned,)
    updated = tuple(arguments[name] for name in op.mutates)
    return [np.asarray(r) for r in returned + updated if r is not None]


def bound_to_backward(op: Op, arguments: dict, rng: np.random.Generator) -> dict:
    """Bind the backward's arguments by name: the forward's, its outputs, and a random dy."""
    outputs = op.reference(**copied(arguments))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    dy = rng.standard_normal(outputs[0].shape).astype(outputs[0].dtype)
    defaults = {p.name: p.default for p in inspect.signature(op.reference).parameters.values()}
    known = defaults | arguments | dict(zip(op.outputs, outputs, strict=True)) | {"dy": dy}
    return {name: known[name] for name in op.backward.parameters if name in known}


def all_calls() -> list:
    """Every op with arguments to call it with: the samples, and what follows for the backwards."""
    calls = []
    for op in FORWARDS:
        for i, arguments in enumerate(samples_of(op)):
            calls.append(pytest.param(op, arguments, id=f"{op.name}-{i}"))
            if op.backward:
                bound = bound_to_backward(op, arguments, np.random.default_rng([7, i]))
                calls.append(pytest.param(op.backward, bound, id=f"{op.backward.name}-{i}"))
    return calls


def tolerance(arguments: dict, expected: np.ndarray, dtype) -> np.ndarray:
    """Rounding error to expect of each element: eps x sqrt(number of terms summed)."""
    terms = max((np.prod(v.shape[-3:]) for v in arguments.values() if is_float(v)), default=1)
    scale = np.sqrt(np.mean(np.square(expected))) if expected.size else 0.0
    return 8 * np.finfo(dtype).eps * np.sqrt(max(terms, 1)) * (np.abs(expected) + scale)


def assert_close(got: list, expected: list, arguments: dict, dtype) -> None:
    assert len(got) == len(expected)
    for g, e in zip(got, expected, strict=True):
        assert g.shape == e.shape
        assert np.all(np.isfinite(g) | ~np.isfinite(e))
        if e.dtype.kind != "f":
            np.testing.assert_array_equal(g, e)
            continue
        assert g.dtype == dtype
        exact = g == e  # infinities agree without a difference
        error = np.where(exact, 0, np.abs(g - np.where(exact, 0, e)))
        assert np.all(exact | (error <= tolerance(arguments, e, dtype))), error.max()


@pytest.fixture
def poisoned(monkeypatch):
    """Make np.empty and np.empty_like return NaN, so that an unwritten element shows."""
    empty, empty_like = np.empty, np.empty_like

    def poison(array):
        if array.dtype.kind == "f":
            array.fill(np.nan)
        return array

    monkeypatch.setattr(np, "empty", lambda *a, **k: poison(empty(*a, **k)))
    monkeypatch.setattr(np, "empty_like", lambda *a, **k: poison(empty_like(*a, **k)))


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_is_documented(op):
    assert op.reference.__doc__
    assert op.reference.__doc__.splitlines()[0].rstrip().endswith(".")


@pytest.mark.parametrize("op", FORWARDS, ids=lambda op: op.name)
def test_registry_is_complete(op):
    arguments = samples_of(op)
    assert arguments, "an op needs samples"
    arrays = [[v for v in sample.values() if isinstance(v, np.ndarray)] for sample in arguments]
    assert any(a.size == 0 for sample in arrays for a in sample), "no sample of size 0"
    assert any(sample[0].size == 1 for sample in arrays), "no sample of size 1"
    has_gradient = op.backward is not None or op.gradients
    assert bool(has_gradient) != bool(op.no_backward), "a backward, or the reason for none"


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize(("op", "arguments"), all_calls())
def test_reference(op, arguments, dtype):
    """Dtype kept, inputs untouched, float32 near float64, strides of no consequence."""
    given = cast(arguments, dtype)
    exact = results(op, op.reference, copied(cast(given, np.float64)))
    before = copied(given)
    called = copied(given)
    got = results(op, op.reference, called)
    assert_close(got, exact, arguments, dtype)
    for name in set(given) - set(op.mutates):
        np.testing.assert_array_equal(called[name], before[name], err_msg=f"{name} was modified")
    strided = {
        k: np.repeat(v, 2, axis=-1)[..., ::2] if isinstance(v, np.ndarray) and v.ndim else v
        for k, v in copied(given).items()
    }
    assert_close(results(op, op.reference, strided), exact, arguments, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize(("op", "arguments"), [c for c in all_calls() if c.values[0].numpy])
def test_numpy_body(op, arguments, dtype, poisoned):
    given = cast(arguments, dtype)
    exact = results(op, op.reference, copied(cast(given, np.float64)))
    called = copied(given)
    assert_close(results(op, op.numpy, called), exact, arguments, dtype)
    for name in set(given) - set(op.mutates):
        np.testing.assert_array_equal(called[name], given[name], err_msg=f"{name} was modified")
    reversed_ = {
        k: v[..., ::-1].copy()[..., ::-1] if isinstance(v, np.ndarray) and v.ndim else v
        for k, v in copied(given).items()
    }
    assert_close(results(op, op.numpy, reversed_), exact, arguments, dtype)


def slope(op: Op, arguments: dict, name: str, direction: np.ndarray, dy) -> float:
    """Central difference of sum(dy * y) along a direction of one argument."""
    step = 1e-6

    def value(sign: int) -> float:
        moved = arguments | {name: arguments[name] + sign * step * direction}
        y = op.reference(**copied(moved))
        return float(np.sum(dy * (y[0] if isinstance(y, tuple) else y)))

    return (value(1) - value(-1)) / (2 * step)


def has_slope(op: Op, arguments: dict) -> bool:
    return not (op.is_backward or op.no_backward) and all(
        v.size for v in arguments.values() if is_float(v)
    )


@pytest.mark.parametrize(
    ("op", "arguments"), [call for call in all_calls() if has_slope(*call.values)]
)
def test_gradient(op, arguments):
    """The backward is the slope of the forward, along a random direction, in float64."""
    rng = np.random.default_rng(1)
    if op.backward:
        bound = bound_to_backward(op, arguments, rng)
        dy, gradients = bound["dy"], op.backward.reference(**copied(bound))
        names = op.backward.gradients
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    else:
        dy, names = 1.0, op.gradients
        gradients = op.reference(**copied(arguments))[1:]
    for name, gradient in zip(names, gradients, strict=True):
        if arguments.get(name) is None:
            assert gradient is None, f"a gradient of {name}, which was not given"
            continue
        assert gradient.shape == arguments[name].shape
        direction = rng.standard_normal(gradient.shape)
        expected = slope(op, arguments, name, direction, dy)
        terms = np.abs(gradient * direction)
        assert abs(np.sum(gradient * direction) - expected) <= 1e-7 * (1 + terms.sum()), name


@pytest.mark.parametrize(
    "op", [op for op in OPS.values() if "needs" in op.parameters], ids=lambda op: op.name
)
def test_needs(op):
    """A backward computes what is asked for, to the bit, and nothing else."""
    forward = OPS[op.name.removesuffix("_backward")]
    arguments = samples_of(forward)[0]
    bound = bound_to_backward(forward, arguments, np.random.default_rng(0))
    for body in filter(None, (op.reference, op.numpy)):
        everything = body(**copied(bound))
        for i, name in enumerate(op.gradients):
            alone = body(**copied(bound), needs=(name,))
            assert all((g is None) for j, g in enumerate(alone) if j != i)
            if everything[i] is not None:
                np.testing.assert_array_equal(alone[i], everything[i])
