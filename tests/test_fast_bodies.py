"""The fast NumPy bodies on random shapes, and at the sizes where they begin to use threads.

`test_ops.py` holds them to their references on the samples of the registry, which are small. Here
arguments are drawn at random, some so large that a body cuts them into several chunks.
"""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import _oracle_arguments as arguments_of
from _op_cases import assert_close
from cukernels.images import patches
from cukernels.optimizers import optimizers_numpy
from cukernels.pooling import pooling_numpy
from cukernels.runtime import workers
from cukernels.runtime.cases import bound_to_backward, cast, copied, results
from cukernels.runtime.registry import OPS
from cukernels.runtime.workspace import Workspace

DTYPES = (np.float32, np.float64)
DRAWS = 40
FEW = 4  # values, or bytes, of a chunk where the test wants many of them


def activations(rng) -> dict:
    return {"x": 3 * rng.standard_normal(arguments_of.sizes(rng, 3, most=40))}


def batch(rng, models: int) -> dict:
    """What a step adds to the totals of an epoch, or nothing."""
    if rng.random() < 0.5:
        return {}
    return {
        "total": rng.standard_normal((models, int(rng.integers(1, 4)))),
        "loss": rng.standard_normal(models),
        "size": rng.integers(1, 200, models).astype(float),
    }


def adam_steps(rng) -> dict:
    models, size = arguments_of.sizes(rng, 2, most=60)
    r = rng.standard_normal
    return batch(rng, models) | {
        "params": r((models, size)), "grads": r((models, size)), "first": r((models, size)),
        "second": rng.random((models, size)), "step": rng.integers(1, 50, models),
        "learning_rate": rng.random(models), "beta_1": rng.random(models),
        "beta_2": rng.random(models), "epsilon": np.full(models, 1e-8),
        "l2": rng.random(models) * rng.integers(2, size=models),
        "n_decayed": int(rng.integers(size + 1)),
    }  # fmt: skip


def sgd_steps(rng) -> dict:
    case = adam_steps(rng)
    own = ("first", "second", "step", "beta_1", "beta_2", "epsilon")  # of adam alone
    return {name: case[name] for name in case if name not in own} | {
        "velocity": case["first"],
        "momentum": case["beta_1"],
        "nesterov": bool(rng.integers(2)),
    }


def adamw_steps(rng) -> dict:
    case = adam_steps(rng)
    return case | {"weight_decay": case.pop("l2")}


def rmsprop_steps(rng) -> dict:
    case = adam_steps(rng)
    return {name: case[name] for name in case if name not in ("first", "beta_1", "step")}


def epoch_losses(rng) -> dict:
    case = adam_steps(rng)
    models = len(case["params"])
    return {
        "total": rng.standard_normal((models, int(rng.integers(1, 4)))),
        "loss": rng.standard_normal(models),
        "size": rng.integers(1, 200, models).astype(float),
        **{name: case[name] for name in ("params", "l2", "n_decayed")},
    }


def epoch_totals(rng) -> dict:
    case = epoch_losses(rng)
    return {"total": case["total"], "params": case["params"]}


DRAWN = {
    "adam": adam_steps,
    "adamw": adamw_steps,
    "add_loss": epoch_losses,
    "avg_pool2d": arguments_of.pooled,
    "conv2d": arguments_of.convolution,
    "conv2d_max_pool": lambda rng: arguments_of.convolution(rng, pooled=True),
    "csr_matmul": arguments_of.sparse_factors,
    "dropout": arguments_of.masked,
    "gather_rows": arguments_of.picks,
    "layer_norm": arguments_of.normal_rows,
    "local2d": lambda rng: arguments_of.convolution(rng, local=True),
    "logistic": activations,
    "logistic_loss": lambda rng: arguments_of.scores(rng, labels=False),
    "lose_overflowed": epoch_totals,
    "matmul": arguments_of.factors,
    "max_pool2d": arguments_of.pooled,
    "relu": activations,
    "rmsprop": rmsprop_steps,
    "sgd": sgd_steps,
    "softmax_cross_entropy": arguments_of.scores,
}
ELSEWHERE = {"perceptron_sweep", "csr_perceptron_sweep"}  # tests/test_perceptron.py
FAST = [
    op
    for op in OPS.values()
    if not op.is_backward and (op.numpy or op.backward and op.backward.numpy)
]


@pytest.fixture
def many_chunks(monkeypatch):
    """Chunks so small that every call has several."""
    for module in (patches, optimizers_numpy, pooling_numpy):
        monkeypatch.setattr(module, "_CHUNK", FEW)
    optimizers_numpy.chunks.cache_clear()
    yield
    optimizers_numpy.chunks.cache_clear()


def poison_scratch() -> None:
    """What is kept from call to call must not matter."""
    for memory in workers._inside.__dict__.get("scratch", {}).values():
        memory.fill(np.nan if memory.dtype.kind == "f" else 1)


def held_to_reference(op, arguments: dict, dtype) -> None:
    poison_scratch()
    called = cast(arguments, dtype)
    exact = results(op, op.reference, copied(cast(called, np.float64)))
    assert_close(results(op, op.numpy, copied(called)), exact, called, dtype)


def test_every_fast_body_is_drawn_for():
    assert {op.name for op in FAST} - ELSEWHERE == set(DRAWN)


@pytest.mark.parametrize("chunks", ["whole", "many"])
@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.usefixtures("poisoned")
def test_random_shapes(name, dtype, chunks, request):
    if chunks == "many":
        request.getfixturevalue("many_chunks")
    op, rng = OPS[name], np.random.default_rng([len(name), DTYPES.index(dtype)])
    for _ in range(DRAWS):
        arguments = DRAWN[name](rng)
        if op.numpy:
            held_to_reference(op, arguments, dtype)
        if op.backward and op.backward.numpy:
            held_to_reference(op.backward, bound_to_backward(op, arguments, rng), dtype)


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.usefixtures("poisoned")
def test_in_a_workspace(name):
    """The same bits from memory that is used again, in which others' results have been."""
    op, rng = OPS[name], np.random.default_rng(0)
    workspace = Workspace()
    for _ in range(10):
        arguments = cast(DRAWN[name](rng), np.float32)
        calls = [(op, arguments)]
        if op.backward:
            bound = bound_to_backward(op, arguments, rng)
            calls.append((op.backward, bound))
        expected = [results(op, op.numpy or op.reference, copied(a)) for op, a in calls]
        for _ in range(3):
            workspace._memory.fill(255)  # NaN, if read as floats
            with workspace:
                got = [results(op, op.numpy or op.reference, copied(a)) for op, a in calls]
            for own, others in zip(got, expected, strict=True):
                for x, y in zip(own, others, strict=True):
                    np.testing.assert_array_equal(x, y)


def normal(*shape):
    return (
        np.random.default_rng(0).standard_normal(shape).round(1)
    )  # rounded, so that some are equal


# Around the sizes of a chunk, and with more images than fill one
LARGE = {
    "pooling": ("max_pool2d", {"x": normal(2, 90, 28, 28, 16)}),
    "odd images": ("max_pool2d", {"x": normal(101, 27, 29, 8)}),
    "pooling that overlaps": (
        "max_pool2d",
        {"x": normal(70, 28, 28, 16), "pool_size": 3, "stride": 2},
    ),
    "pooling with padding": ("avg_pool2d", {"x": normal(90, 28, 28, 16), "padding": 1}),
    "last row and column in no window": (
        "max_pool2d",
        {"x": normal(90, 27, 27, 16), "pool_size": 3, "padding": 1},
    ),
    "one channel": (
        "conv2d",
        {
            "x": normal(130, 28, 28, 1),
            "w": normal(5, 3, 3, 1),
            "bias": normal(5),
            "padding": "same",
        },
    ),
    "few values of a gradient": (
        "conv2d",
        {"x": normal(150, 29, 31, 1), "w": normal(3, 2, 3, 1), "activation": "relu"},
    ),
    "images that fill several chunks each": (
        "conv2d",
        {"x": normal(2, 150, 130, 3), "w": normal(4, 5, 5, 3), "bias": normal(4), "padding": 2},
    ),
    "a stack of models on the same images": (
        "conv2d",
        {
            "x": normal(1, 40, 14, 14, 8),
            "w": normal(3, 8, 3, 3, 8),
            "bias": normal(3, 8),
            "padding": 1,
        },
    ),
    "more padding than the filter turned round can take": (
        "conv2d",
        {"x": normal(60, 14, 14, 8), "w": normal(8, 3, 3, 8), "padding": 4, "dilation": (1, 2)},
    ),
    "strides": (
        "conv2d",
        {"x": normal(90, 28, 28, 4), "w": normal(8, 3, 3, 4), "bias": normal(8), "stride": 2},
    ),
}


def outcomes(name: str, arguments: dict) -> list[np.ndarray]:
    op = OPS[name]
    bound = bound_to_backward(op, arguments, np.random.default_rng(1))
    return [
        *results(op, op.numpy or op.reference, copied(arguments)),
        *results(op.backward, op.backward.numpy, copied(bound)),
    ]


@pytest.mark.parametrize(("name", "arguments"), LARGE.values(), ids=LARGE)
@pytest.mark.usefixtures("poisoned")
def test_large_arrays(name, arguments):
    op = OPS[name]
    held_to_reference(op, arguments, np.float32)
    bound = bound_to_backward(op, arguments, np.random.default_rng(1))
    held_to_reference(op.backward, bound, np.float32)


@pytest.mark.parametrize(("name", "arguments"), LARGE.values(), ids=LARGE)
def test_threads_do_not_change_a_bit(name, arguments, monkeypatch):
    """One, two or three threads, with BLAS on one: what the chunks are is a matter of shapes."""
    took_part = []
    in_parallel = workers.Job.work

    def work(job) -> None:
        took_part.append(len(job.results))
        in_parallel(job)

    monkeypatch.setattr(workers.Job, "work", work)
    arguments = cast(arguments, np.float32)
    made = []
    with threadpool_limits(1, user_api="blas"):
        for threads in (1, 2, 3):
            monkeypatch.setattr(workers, "threads", lambda threads=threads: threads)
            made.append(outcomes(name, arguments))
    assert took_part and min(took_part) > 1, "nothing was shared out"
    for other in made[1:]:
        for got, expected in zip(other, made[0], strict=True):
            np.testing.assert_array_equal(got, expected)
