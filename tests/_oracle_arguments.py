"""Random arguments for the ops, in float64, that `test_oracles.py` compares with PyTorch."""

from __future__ import annotations

import math

import numpy as np

from cukernels.activations.activations import ACTIVATIONS, FUSED_ACTIVATIONS

# Leading axes of data and of parameters: one model, a stack, shared data, shared parameters.
STACKS = [((), ()), ((3,), (3,)), ((1,), (3,)), ((), (2,)), ((3,), ()), ((2, 1), (1, 3))]


def sizes(rng, count, most=6) -> tuple[int, ...]:
    return tuple(int(n) for n in rng.integers(1, most + 1, count))


def stack_of(rng) -> tuple[int, ...]:
    return STACKS[rng.integers(len(STACKS))][1]


def one_or_two(rng, low, high):
    """An int or a pair, as a user may give it."""
    pair = tuple(int(n) for n in rng.integers(low, high + 1, 2))
    return pair if rng.random() < 0.5 else pair[0]


def both(value) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def values(rng) -> dict:
    x = 3 * rng.standard_normal(sizes(rng, rng.integers(1, 5)))
    return {"x": np.where(rng.random(x.shape) < 0.1, 0, x)}  # 0 is where many have their kink


def factors(rng) -> dict:
    (left, right), r = STACKS[rng.integers(len(STACKS))], rng.standard_normal
    n, d, k = sizes(rng, 3, most=70 if rng.random() < 0.2 else 7)
    transpose_a, transpose_b = (bool(flag) for flag in rng.integers(2, size=2))
    return {
        "a": r(left + ((d, n) if transpose_a else (n, d))),
        "b": r(right + ((k, d) if transpose_b else (d, k))),
        "bias": r(right + (k,)) if rng.random() < 0.6 else None,
        "transpose_a": transpose_a,
        "transpose_b": transpose_b,
        "activation": str(rng.choice(["identity", *FUSED_ACTIVATIONS])),
    }


def windows(rng, pooling=False) -> tuple[list[int], tuple[int, int], dict, list[int]]:
    """Sizes of an image, taps of windows that fit it, how they slide, and over how many places."""
    taps, stride = one_or_two(rng, 1, 4), one_or_two(rng, 1, 3)
    dilation = 1 if pooling else one_or_two(rng, 1, 3)
    pads = tuple(int(rng.integers(t // 2 + 1 if pooling else 4)) for t in both(taps))
    padding = [pads, min(pads), "same", "valid"][rng.choice(4, p=[0.3, 0.2, 0.3, 0.2])]
    image, places = [], []
    for axis in range(2):
        step, extent = both(stride)[axis], (both(taps)[axis] - 1) * both(dilation)[axis] + 1
        pad = 0 if isinstance(padding, str) else both(padding)[axis]
        least = 1 if padding == "same" else max(1, extent - 2 * pad)
        size = int(least + rng.integers(30 if rng.random() < 0.15 else 7))
        image.append(size)
        places.append(
            math.ceil(size / step) if padding == "same" else (size + 2 * pad - extent) // step + 1
        )
    return image, taps, {"stride": stride, "padding": padding, "dilation": dilation}, places


def convolution(rng, local=False, pooled=False) -> dict:
    """Arguments of `conv2d`, of `local2d`, whose filters have places, or of `conv2d_max_pool`."""
    image, taps, options, places = windows(rng)
    (data, models), (n, c, k) = STACKS[rng.integers(len(STACKS))], sizes(rng, 3, most=4)
    c *= 4 if rng.random() < 0.3 else 1
    filters = (*models, *places, k) if local else (*models, k)
    arguments = {
        "x": rng.standard_normal((*data, n, *image, c)),
        "w": rng.standard_normal((*filters, *both(taps), c)),
        "bias": rng.standard_normal(filters) if rng.random() < 0.6 else None,
        "activation": str(rng.choice(FUSED_ACTIVATIONS)) if rng.random() < 0.5 else "identity",
    }
    if pooled:
        height, width = (int(rng.integers(1, min(n, 3) + 1)) for n in places)
        activation = str(rng.choice([name for name, a in ACTIVATIONS.items() if a.never_decreases]))
        options |= {"pool_size": (height, width), "activation": activation}
    return arguments | options


def pooled(rng) -> dict:
    image, taps, options, _ = windows(rng, pooling=True)
    shape = (*sizes(rng, rng.integers(3), most=3), *image, sizes(rng, 1)[0])
    ties = rng.random() < 0.5
    x = rng.integers(-2, 3, shape).astype(float) if ties else rng.standard_normal(shape)
    if isinstance(options["padding"], str) or rng.random() < 0.7:
        del options["dilation"]
        return {"x": x, "pool_size": taps} | options
    return {"x": x, "pool_size": taps, "stride": None, "padding": options["padding"]}


def scores(rng, name="z", labels=True) -> dict:
    shape = stack_of(rng) + sizes(rng, 2, most=9)
    ties = rng.random() < 0.3
    z = rng.integers(-1, 2, shape).astype(float) if ties else 3 * rng.standard_normal(shape)
    weight = rng.random(shape[:-1]) * rng.integers(2, size=shape[:-1])
    weight[..., 0] += 0.5
    return {
        name: z,
        "y": rng.integers(shape[-1], size=shape[:-1]) if labels else rng.random(shape),
        "sample_weight": weight if rng.random() < 0.5 else None,
    }


def batches(rng) -> dict:
    stack, (n, c) = stack_of(rng), sizes(rng, 2)
    shape = (*stack, n + 3, *[(), (4,), (3, 5)][rng.integers(3)], c)
    return {
        "x": 2 + 3 * rng.standard_normal(shape),
        "gamma": rng.standard_normal((*stack, c)),
        "beta": rng.standard_normal((*stack, c)),
        "epsilon": float(rng.choice([1e-5, 1e-2])),
    }


def normal_rows(rng) -> dict:
    """Arguments of `layer_norm`, of which some models may share the rows, others the units."""
    stacks = [pair for pair in STACKS if len(pair[0]) == len(pair[1])]
    left, right = stacks[rng.integers(len(stacks))]
    *batch, k = sizes(rng, rng.integers(2, 5), most=40 if rng.random() < 0.3 else 6)
    k += 2  # of one or two units the gradient in x cancels to nearly 0
    r, share = rng.standard_normal, rng.random() < 0.3
    units = (*[1 if share else n for n in right], k)
    return {
        "x": 2 + 3 * r((*left, *batch, k)),
        "gamma": r(units),
        "beta": r(units),
        "epsilon": float(rng.choice([1e-5, 1e-2])),
    }


def weighted_batches(rng) -> dict:
    case = batches(rng)
    shape = case["x"].shape[: case["gamma"].ndim]
    weight = rng.integers(4, size=shape).astype(float)
    weight[..., 0] += 1
    return case | {"sample_weight": weight if rng.random() < 0.6 else None}


def inferences(rng) -> dict:
    case = batches(rng)
    shape = case["gamma"].shape
    return case | {"mean": rng.standard_normal(shape), "variance": rng.random(shape)}


def sparse_factors(rng) -> dict:
    stack = [(), (1,), (3,)][rng.integers(3)]
    rows, d, k = sizes(rng, 3, most=12)
    stored = rng.integers(6, size=rows * (stack or (1,))[0] + 2)
    indptr = np.concatenate([[0], np.cumsum(stored)]).astype(np.int32)
    first = int(rng.integers(3))  # of the rows; the others are of a longer matrix
    return {
        "data": rng.standard_normal(indptr[-1]),
        "indices": rng.integers(d, size=indptr[-1], dtype=np.int32),  # in any order, some twice
        "indptr": indptr[first : len(indptr) - 2 + first],
        "b": rng.standard_normal((*stack, d, k)),
        "bias": rng.standard_normal((*stack, k)) if rng.random() < 0.6 else None,
        "activation": str(rng.choice(FUSED_ACTIVATIONS)),
    }


def picks(rng) -> dict:
    x = rng.standard_normal(sizes(rng, rng.integers(1, 5)))
    return {"x": x, "rows": rng.integers(len(x), size=sizes(rng, rng.integers(1, 3), most=9))}


def masked(rng) -> dict:
    stack = stack_of(rng)
    return {
        "x": rng.standard_normal(stack + sizes(rng, 2, most=20)),
        "rate": np.asarray(rng.random(stack)),
        "seed": np.asarray(rng.integers(2**64, size=stack, dtype=np.uint64)),
        "step": np.asarray(rng.integers(10_000, size=stack)),
    }
