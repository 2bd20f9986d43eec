"""Every op of the registry, held to its definition. A new op is tested without a new test.

The samples stand beside each op. Here they are run in both precisions, on odd memory layouts, and
against finite differences; every faster body is compared with the reference element by element.
"""

from __future__ import annotations

import numpy as np
import pytest

from _op_cases import assert_right, each_case, each_dtype
from cukernels.activations import ACTIVATIONS
from cukernels.runtime.cases import (
    LAYOUTS,
    Case,
    bound_to_backward,
    cases,
    copied,
    is_float,
    samples_of,
)
from cukernels.runtime.registry import OPS, Op

FORWARDS = [op for op in OPS.values() if not op.is_backward]


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


@each_dtype
@each_case()
def test_reference(case, dtype):
    """Dtype kept, inputs untouched, float32 near float64, layouts of no consequence."""
    assert_right(case, case.op.reference, dtype)


@each_dtype
@each_case(lambda case: case.op.numpy)
def test_numpy_body(case, dtype, poisoned):
    assert_right(case, case.op.numpy, dtype)


def test_layouts_are_what_they_are_called():
    x = np.arange(24.0).reshape(2, 3, 4)
    strides = {"contiguous": 8, "gapped": 16, "backwards": -8, "unaligned": 8}
    assert [layout.__name__ for layout in LAYOUTS] == list(strides)
    for layout in LAYOUTS:
        made: list[np.ndarray] = []  # what goes to the device
        stored = layout(x, lambda values, made=made: made.append(values) or values)
        np.testing.assert_array_equal(stored, x)
        assert stored.strides[-1] == strides[layout.__name__]
        offset = stored.ctypes.data - made[0].ctypes.data
        assert (offset == 8) == (layout.__name__ == "unaligned")
        assert made[0].flags.c_contiguous and not np.shares_memory(made[0], x)
        assert layout(np.zeros(()), np.asarray).shape == ()


def slope(op: Op, arguments: dict, name: str, direction: np.ndarray, dy) -> float:
    """Central difference of sum(dy * y) along a direction of one argument."""
    step = 1e-6

    def value(sign: int) -> float:
        moved = arguments | {name: arguments[name] + sign * step * direction}
        y = op.reference(**copied(moved))
        return float(np.sum(dy * (y[0] if isinstance(y, tuple) else y)))

    return (value(1) - value(-1)) / (2 * step)


def has_slope(case: Case) -> bool:
    return not (case.op.is_backward or case.op.no_backward) and all(
        value.size for value in case.arguments.values() if is_float(value)
    )


@each_case(has_slope)
def test_gradient(case):
    """The backward is the slope of the forward, along a random direction, in float64."""
    op, arguments = case.op, case.arguments
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
        direction = along = rng.standard_normal(gradient.shape)
        if before := arguments.get(f"{name}_activation"):  # the gradient is that before it
            along = ACTIVATIONS[before].backward(direction, arguments[name])
        expected = slope(op, arguments, name, along, dy)
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


def test_no_array_of_a_case_can_be_written_to():
    """All who walk the cases share them: what one test wrote there, another would compare with."""
    arrays = [v for c in cases() for v in c.arguments.values() if isinstance(v, np.ndarray)]
    assert len(arrays) > 500
    assert not any(array.flags.writeable for array in arrays)
