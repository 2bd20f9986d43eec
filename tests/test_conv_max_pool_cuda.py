"""A convolution with pooling on a GPU: the kernels against the NumPy body, places to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from _cuda_calls import device_results, on_device
from _op_cases import assert_close
from cukernels import OPS
from cukernels.runtime.cases import bound_to_backward, cast, copied, results

CASES = {
    "2 x 2, four filters": ((3, 6, 8, 4), 4, {}),
    "2 x 2, eight filters, an odd size": ((2, 5, 7, 3), 8, {"activation": "relu"}),
    "2 x 2, five filters": ((2, 5, 7, 5), 5, {"activation": "tanh"}),
    "3 x 3": ((2, 9, 10, 4), 4, {"pool_size": 3, "activation": "leaky_relu"}),
    "3 x 3, six filters": ((2, 7, 11, 2), 6, {"pool_size": 3, "activation": "elu"}),
    "2 x 4": ((2, 7, 9, 2), 4, {"pool_size": (2, 4), "activation": "softplus"}),
    "whole maps": ((3, 5, 4, 2), 4, {"pool_size": (5, 4), "activation": "logistic"}),
    "one place": ((2, 3, 3, 2), 3, {"pool_size": 1}),
    "no images": ((0, 4, 4, 2), 4, {}),
}
by_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def drawn(case, values="different"):
    (n, h, w, c), k, more = case
    rng = np.random.default_rng(0)

    def draw(*shape):
        equal = values == "often equal"
        return rng.integers(-1, 2, shape) * 1.0 if equal else rng.standard_normal(shape)

    arrays = {"x": draw(3, n, h, w, c), "w": draw(3, k, 3, 3, c), "bias": draw(3, k)}
    return arrays | {"padding": "same"} | more


@by_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("values", ["different", "often equal"])
def test_forward_and_backward(case, dtype, values, cupy):
    op, arguments = OPS["conv2d_max_pool"], drawn(case, values)
    bound = bound_to_backward(op, arguments, np.random.default_rng(1))
    for entry, sample in ((op, arguments), (op.backward, bound)):
        given = cast(sample, dtype)
        exact = results(entry, entry.reference, copied(cast(given, np.float64)))
        assert_close(device_results(entry, cupy, copied(given)), exact, given, dtype)


def test_launches(cupy, softgpu):
    """The way back reads no responses; one launch gives back, and then as a convolution does."""
    op = OPS["conv2d_max_pool"]
    arguments = drawn(((8, 16, 16, 4), 16, {"activation": "identity"}))
    bound = bound_to_backward(op, arguments, np.random.default_rng(1))
    kernels = []
    for entry, given in ((op, arguments), (op.backward, bound)):
        placed = {k: on_device(cupy, v) for k, v in cast(given, np.float32).items()}
        entry.cuda(**placed)  # whatever is done once for each shape
        with softgpu.launched() as launched:
            entry.cuda(**placed)
        kernels.append([kernel.partition("<")[0] for kernel in launched])
    forward, backward = kernels
    assert forward == ["conv2d", "largest_places"]
    assert backward == ["give_back", "conv2d_input_gradient", "conv2d_filter_gradient"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(value, cupy):
    """They stay in their windows, and NaN is larger than all."""
    arguments = drawn(((1, 6, 6, 1), 4, {"activation": "identity"}))
    arguments["x"][0, 0, 2, 2] = value
    with np.errstate(invalid="ignore"):
        expected, _ = OPS["conv2d_max_pool"].numpy(**arguments)
    got, _ = device_results(OPS["conv2d_max_pool"], cupy, arguments)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_allclose(got, expected, rtol=1e-12)
