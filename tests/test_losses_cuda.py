"""Losses on a GPU: many rows, whose sums the last block of a model adds up in the same launch."""

from __future__ import annotations

import numpy as np
import pytest

from _cuda_calls import device_results, on_device
from _op_cases import assert_close, assert_same_bits
from cukernels import OPS
from cukernels.gpu.kernel import multiprocessors
from cukernels.runtime.cases import cast, copied, results

LOSSES = ["softmax_cross_entropy", "perceptron_loss", "logistic_loss", "squared_loss"]
each_loss = pytest.mark.parametrize("name", LOSSES)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def scores(name: str, stack: tuple[int, ...], n: int, k: int, weights: str) -> dict:
    rng = np.random.default_rng([n, k])
    shape, first = (*stack, n, k), "p" if name == "squared_loss" else "z"
    labelled = name in LOSSES[:2]
    y = rng.integers(k, size=shape[:-1]) if labelled else rng.random(shape)
    rows = {"none": None, "shared": (n,), "own": (*stack, n)}[weights]
    weight = None if rows is None else rng.random(rows).round(1)
    return {first: 3 * rng.standard_normal(shape), "y": y, "sample_weight": weight}


@each_loss
@each_dtype
@pytest.mark.parametrize("weights", ["none", "shared", "own"])
@pytest.mark.parametrize("n", [64, 65, 200, 1501])
def test_rows_of_several_blocks(name, dtype, weights, n, cupy):
    given = cast(scores(name, (2,), n, 10, weights), dtype)
    exact = results(OPS[name], OPS[name].reference, copied(cast(given, np.float64)))
    for _ in range(2):  # the counters are 0 again
        assert_close(device_results(OPS[name], cupy, copied(given)), exact, given, dtype)


@each_loss
@pytest.mark.parametrize("k", [1, 3, 17, 70, 1500])
def test_rows_of_other_lengths(name, k, cupy):
    given = cast(scores(name, (2,), 300 if k < 1000 else 5, k, "own"), np.float32)
    exact = results(OPS[name], OPS[name].reference, copied(cast(given, np.float64)))
    assert_close(device_results(OPS[name], cupy, copied(given)), exact, given, np.float32)


@each_loss
@pytest.mark.parametrize("weights", ["none", "own"])
def test_a_model_is_the_same_in_any_stack(name, weights, cupy):
    """To the bit; with 1501 rows the weights of some models are not aligned."""
    given = cast(scores(name, (3,), 1501, 10, weights), np.float32)
    together = device_results(OPS[name], cupy, given)
    for m in range(3):
        own = {n: None if v is None else v[m] for n, v in given.items()}
        assert_same_bits(device_results(OPS[name], cupy, own), [r[m] for r in together])


@each_loss
@pytest.mark.parametrize("weights", ["none", "shared"])
def test_one_launch(name, weights, softgpu, cupy):
    """A batch of 200 samples of 10 classes is one round of several blocks."""
    most = (
        8 * multiprocessors(cupy.empty(1)) if weights == "none" else multiprocessors(cupy.empty(1))
    )
    for n, blocks in ((64, 1), (200, 4), (60_000, min(938, most))):
        given = cast(scores(name, (1,), n, 10, weights), np.float32)
        placed = {name: on_device(cupy, value) for name, value in given.items()}
        with softgpu.settings(null=True), softgpu.launched() as kernels:
            OPS[name].cuda(**placed)
        assert [(kernel.partition("<")[0], kernel.grid) for kernel in kernels] == [
            ("loss", (blocks, 1, 1))
        ]


@each_loss
def test_a_sum_of_weights_is_that_of_all(name, cupy):
    """Whatever their number leaves over of whole vectors; all of them are read by each block."""
    for n in (1, 2, 3, 4, 5, 1023, 1024, 1025, 1027):
        given = cast(scores(name, (), n, 2, "shared"), np.float64)
        given["sample_weight"] = np.arange(1.0, n + 1)
        exact = results(OPS[name], OPS[name].reference, copied(given))
        for got, right in zip(device_results(OPS[name], cupy, given), exact, strict=True):
            np.testing.assert_allclose(got, right, rtol=1e-12, atol=1e-13)
