"""Dropout from a counter-based generator, so that the CPU and the GPU drop the same units.

Whether an element of a model is dropped depends on the model's seed, the step and the index of the
element only. It does not depend on how many other models are trained, nor on the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.dtypes import BOOLEAN, INTEGER, UNSIGNED
from cukernels.runtime.op import op

_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)


def _masked(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for stack, shape in (((), (5, 7)), ((3,), (4, 9)), ((1,), (1,)), ((2,), (0, 3)), ((2,), (8,))):
        yield {
            "x": rng.standard_normal(stack + shape),
            "rate": rng.random(stack) if stack else np.asarray(0.25),
            "seed": rng.integers(2**63, size=stack or None, dtype=np.uint64)
            if stack
            else np.asarray(2**64 - 7, np.uint64),
            "step": np.asarray(rng.integers(1000, size=stack)),
        }


@op(samples=_masked, outputs=("y", "keep"), kinds={"seed": UNSIGNED, "step": INTEGER})
def dropout(x: Array, rate: Array, seed: Array, step: Array) -> tuple[Array, Array]:
    """Zero a random part of the elements and scale up the rest (Srivastava et al., JMLR 2014).

    Element i of a model is dropped where the i-th 32-bit word of its Philox4x64-10 stream (Salmon
    et al., SC 2011), of key ``(seed, 0)`` and counters ``(1, step, 0, 0)``, ``(2, step, 0, 0)``
    and so on, is below ``rate * 2**32``.

    Parameters
    ----------
    x : array of shape (*stack, ...), float32 or float64
        Activations; the shape of `rate` is the stack of models.
    rate : array of shape stack
        The share of elements to drop, in [0, 1).
    seed : uint64 array of shape stack
        The seed of each model's stream; the layers of a model need different seeds.
    step : integer array of shape stack
        The number of the training step.

    Returns
    -------
    y : array of the shape of `x`
        ``x / (1 - rate)`` where kept, else 0.
    keep : bool array of the shape of `x`
    """
    check_stack(x, rate)
    size = int(np.prod(x.shape[rate.ndim :]))
    bits = _philox(namespace(x), seed[..., None], step[..., None], size)
    keep = (bits >= threshold(rate)[..., None]).reshape(x.shape)
    return dropout_backward(x, rate, keep), keep


@op(gradients=("x",), kinds={"keep": BOOLEAN})
def dropout_backward(dy: Array, rate: Array, keep: Array) -> Array:
    """Gradient of `dropout` in its input: `dy` is dropped and scaled as `x` was."""
    check_stack(dy, rate)
    scale = (1 / (1 - rate)).astype(dy.dtype)
    return dy * keep * scale.reshape(rate.shape + (1,) * (dy.ndim - rate.ndim))


def check_stack(x: Array, rate: Array) -> None:
    """Raise ValueError unless the shape of `x` begins with that of `rate`."""
    if x.shape[: rate.ndim] != rate.shape:
        raise ValueError(
            f"dropout: activations of shape {x.shape} do not fit rates of shape {rate.shape}: "
            "expected (*stack, ...) and stack"
        )


def threshold(rate: Array) -> Array:
    """Return the 32-bit word below which an element is dropped."""
    return (rate.astype(np.float64) * 2.0**32).astype(np.uint64)


def _philox(xp: Any, seed: Array, step: Array, size: int) -> Array:
    """The first `size` 32-bit words of each stream, as uint64 of shape (*stack, size)."""
    # NumPy's Philox counts up before it makes a block, so the first block has counter 1.
    block = xp.arange(1, -(-size // 8) + 1, dtype=np.uint64)
    zero = xp.zeros_like(block)
    word = [block + xp.zeros_like(seed), step.astype(np.uint64) + zero, zero, zero]
    key = [seed.astype(np.uint64) + zero, zero]
    for _ in range(10):
        high0, low0 = _multiply(xp, word[0], _MULTIPLIERS[0])
        high1, low1 = _multiply(xp, word[2], _MULTIPLIERS[1])
        word = [high1 ^ word[1] ^ key[0], low1, high0 ^ word[3] ^ key[1], low0]
        key = [k + np.uint64(w) for k, w in zip(key, _WEYL, strict=True)]
    words = xp.stack(xp.broadcast_arrays(*word), axis=-1)
    halves = xp.stack([words & np.uint64(0xFFFFFFFF), words >> np.uint64(32)], axis=-1)
    return halves.reshape(*halves.shape[:-3], -1)[..., :size]


def _multiply(xp: Any, a: Array, b: int) -> tuple[Array, Array]:
    """High and low 64 bits of a product of 64-bit numbers, computed by their 32-bit halves."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    b_low, b_high = np.uint64(b & 0xFFFFFFFF), np.uint64(b >> 32)
    a_low, a_high = a & low, a >> half
    middle = a_high * b_low + (a_low * b_low >> half)
    carry = (middle & low) + a_low * b_high
    return a_high * b_high + (middle >> half) + (carry >> half), a * np.uint64(b)
