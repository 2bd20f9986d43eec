"""CUDA bodies of batch normalisation, which launch the kernels of `normalization.cu`."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from cukernels.gpu.division import divisor
from cukernels.gpu.kernel import Kernel, contiguous, ctype
from cukernels.gpu.stacks import models_of, place_for
from cukernels.runtime.arrays import Array, namespace

_RUNS = [("float", 4), ("float", 1), ("double", 2), ("double", 1)]  # channels that a thread takes
_TYPES = [("float",), ("double",)]
_BATCH_NORM = Kernel("normalization.cu", "batch_norm", _RUNS)
_MERGE_STATISTICS = Kernel("normalization.cu", "merge_statistics", _TYPES)
_NORMALISE = Kernel("normalization.cu", "normalise", _RUNS)
_BACKWARD = Kernel(
    "normalization.cu",
    "batch_norm_backward",
    [(*run, inference) for run in _RUNS for inference in ("false", "true")],
)
_MERGE_GRADIENTS = Kernel("normalization.cu", "merge_gradients", _TYPES)
_DX = Kernel("normalization.cu", "batch_norm_dx", _RUNS)

THREADS = 256
TILE_BYTES = 128  # of a row, for a block
MERGED_AT_ONCE = 8  # channels of a block that merges

Shape = tuple[int, ...]


class Plan(NamedTuple):
    """How a model's matrix of rows by channels is cut into blocks.

    It depends on the matrix alone, so that a model's sums are the same in any stack.

    Attributes
    ----------
    run, lanes, tiles : int
        Channels that a thread takes; log2 of the threads side by side; tiles of channels.
    chunk, chunks : int
        Rows of a block where sums over the rows are wanted, and how many blocks that makes.
    few, fews : int
        Rows of a block where they are not.
    """

    run: int
    lanes: int
    tiles: int
    chunk: int
    chunks: int
    few: int
    fews: int


@functools.cache
def _plan(rows: int, channels: int, itemsize: int) -> Plan:
    run = 16 // itemsize if channels % (16 // itemsize) == 0 else 1
    runs = channels // run
    lanes = min((runs - 1).bit_length(), (TILE_BYTES // itemsize // run).bit_length() - 1)
    below = THREADS >> lanes
    # One block has the rows of a small batch: one launch. 16 rows a thread keep memory busy.
    chunk = rows
    if rows > 32 * below:
        chunk = max(16 * below, -(-rows // 512))
    few = max(8 * below, -(-rows // 65535))
    return Plan(
        run=run,
        lanes=lanes,
        tiles=-(-runs >> lanes),
        chunk=chunk,
        chunks=max(-(-rows // max(chunk, 1)), 1),  # also of no rows, whose sums are 0
        few=few,
        fews=-(-rows // few),
    )


class Batch(NamedTuple):
    """Sizes of the activations of a stack of models.

    Attributes
    ----------
    stack : tuple of int
        Leading axes of all arguments together.
    models, rows, channels : int
        How many models, and the sizes of the matrix of each.
    places : int
        Rows of a sample.
    """

    stack: Shape
    models: int
    rows: int
    channels: int
    places: int

    @classmethod
    def of(cls, x: Array, gamma: Array, *others: Array | None) -> Batch:
        """From activations, and arrays that have the leading axes and one of their own."""
        axes = gamma.ndim - 1
        stack = _broadcast(x.shape[:axes], gamma, *others)
        samples, *image, channels = x.shape[axes:]
        places = math.prod(image)
        return cls(stack, math.prod(stack), samples * places, channels, places)


def _broadcast(stack: Shape, *arrays: Array | None) -> Shape:
    """The leading axes of arrays that have one of their own, and `stack`, together."""
    shapes = {stack, *(a.shape[:-1] for a in arrays if a is not None)}
    return np.broadcast_shapes(*shapes) if len(shapes) > 1 else stack


def _weights_of_models(weights: Array | None, x: Array, stack: Shape) -> tuple[Array | None, int]:
    """Do the same with the weights of the samples, which may be of another dtype."""
    if weights is None:
        return None, 0
    return models_of(weights.astype(x.dtype, copy=False), 1, stack)


def batch_norm(
    x: Array,
    gamma: Array,
    beta: Array,
    sample_weight: Array | None = None,
    *,
    epsilon: float = 1e-5,
) -> tuple[Array, Array, Array]:
    xp, type_ = namespace(x), ctype(x)
    batch = Batch.of(x, gamma, beta, sample_weight)
    stack, rows, channels = batch.stack, batch.rows, batch.channels
    own = x.ndim - gamma.ndim + 1
    seen = _broadcast(x.shape[: x.ndim - own], sample_weight)  # models that differ in statistics
    y = xp.empty(stack + x.shape[x.ndim - own :], x.dtype)
    mean = xp.empty((*seen, channels), x.dtype)
    variance = xp.empty((*seen, channels), x.dtype)
    if not batch.models * channels:
        return y, mean, variance

    plan = _plan(rows, channels, x.itemsize)
    run = str(plan.run)
    values, x_model = models_of(x, own, seen)
    weights, weights_model = _weights_of_models(sample_weight, x, seen)
    scale, gamma_model = models_of(gamma, 1, stack)
    shift, beta_model = models_of(beta, 1, stack)
    models = math.prod(seen)
    at_once = plan.chunks == 1 and models == batch.models
    chunks = weight_of_chunks = None
    if plan.chunks > 1:
        chunks = xp.empty((models, plan.chunks, 2, channels), x.dtype)
        weight_of_chunks = xp.empty((models, plan.chunks), x.dtype)
    _BATCH_NORM[type_, run](
        (models, plan.tiles, plan.chunks), THREADS, values, weights, scale, shift,
        y if at_once else None, mean, variance, chunks, weight_of_chunks, epsilon, rows, channels,
        batch.places, plan.chunk, plan.lanes, x_model, weights_model, gamma_model, beta_model,
        divisor(max(batch.places, 1)),
    )  # fmt: skip
    if plan.chunks > 1:
        grid = (models, -(-channels // MERGED_AT_ONCE), 1)
        _MERGE_STATISTICS[type_](
            grid, THREADS, chunks, weight_of_chunks, mean, variance, plan.chunks, channels
        )
    if not at_once:
        values, x_model = models_of(x, own, stack)
        middle, mean_model = models_of(mean, 1, stack)
        spread, variance_model = models_of(variance, 1, stack)
        _NORMALISE[type_, run](
            (batch.models, plan.tiles, plan.fews), THREADS, values, scale, shift, middle, spread,
            y, epsilon, rows, channels, plan.few, plan.lanes, x_model, gamma_model, beta_model,
            mean_model, variance_model,
        )  # fmt: skip
    return y, mean, variance


def batch_norm_inference(
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
) -> Array:
    batch = Batch.of(x, gamma, beta, mean, variance)
    own = x.ndim - gamma.ndim + 1
    y = namespace(x).empty(batch.stack + x.shape[x.ndim - own :], x.dtype)
    if not y.size:
        return y
    plan = _plan(batch.rows, batch.channels, x.itemsize)
    values, x_model = models_of(x, own, batch.stack)
    channels = [models_of(a, 1, batch.stack) for a in (gamma, beta, mean, variance)]
    _NORMALISE[ctype(x), str(plan.run)](
        (batch.models, plan.tiles, plan.fews), THREADS, values, *(a for a, _ in channels), y,
        epsilon, batch.rows, batch.channels, plan.few, plan.lanes, x_model,
        *(model for _, model in channels),
    )  # fmt: skip
    return y


def batch_norm_backward(
    dy: Array,
    x: Array,
    gamma: Array,
    sample_weight: Array | None,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    out: Mapping[str, Array] | None = None,
) -> tuple[Array, Array, Array]:
    return _backward(dy, x, gamma, sample_weight, mean, variance, epsilon, out, inference=False)


def batch_norm_inference_backward(
    dy: Array,
    x: Array,
    gamma: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    out: Mapping[str, Array] | None = None,
) -> tuple[Array, Array, Array]:
    return _backward(dy, x, gamma, None, mean, variance, epsilon, out, inference=True)


def _backward(
    dy: Array,
    x: Array,
    gamma: Array,
    sample_weight: Array | None,
    mean: Array,
    variance: Array,
    epsilon: float,
    out: Mapping[str, Array] | None,
    inference: bool,
) -> tuple[Array, Array, Array]:
    xp, type_ = namespace(x), ctype(x)
    batch = Batch.of(x, gamma, mean, variance, sample_weight)
    stack, models, rows, channels = batch.stack, batch.models, batch.rows, batch.channels
    own = x.ndim - gamma.ndim + 1
    dx = xp.empty(stack + x.shape[x.ndim - own :], x.dtype)
    dgamma, dbeta = (place_for(out, name, gamma, stack, 1) for name in ("gamma", "beta"))
    dgamma = xp.empty((*stack, channels), x.dtype) if dgamma is None else dgamma
    dbeta = xp.empty((*stack, channels), x.dtype) if dbeta is None else dbeta
    if not models * channels:
        return dx, dgamma, dbeta

    plan = _plan(rows, channels, x.itemsize)
    run = str(plan.run)
    dy = contiguous(dy)
    values, x_model = models_of(x, own, stack)
    weights, weights_model = _weights_of_models(sample_weight, x, stack)
    parameters = [models_of(a, 1, stack) for a in (gamma, mean, variance)]
    arrays = [a for a, _ in parameters]
    strides = (x_model, weights_model, *(model for _, model in parameters))
    chunks = weight_of_chunks = totals = None
    if plan.chunks > 1:
        chunks = xp.empty((models, plan.chunks, 2, channels), x.dtype)
        if not inference:
            weight_of_chunks = xp.empty((models, plan.chunks), x.dtype)
            totals = xp.empty(models, x.dtype)
    _BACKWARD[type_, run, str(inference).lower()](
        (models, plan.tiles, plan.chunks), THREADS, dy, values, weights, *arrays, dx, dgamma,
        dbeta, chunks, weight_of_chunks, epsilon, rows, channels, plan.chunk, plan.lanes,
        *strides, divisor(max(batch.places, 1)),
    )  # fmt: skip
    if plan.chunks > 1:
        grid = (models, -(-channels // MERGED_AT_ONCE), 1)
        _MERGE_GRADIENTS[type_](
            grid, THREADS, chunks, weight_of_chunks, dgamma, dbeta, totals, plan.chunks, channels
        )
        if not inference:
            _DX[type_, run](
                (models, plan.tiles, plan.fews), THREADS, dy, values, weights, *arrays, dgamma,
                dbeta, totals, dx, epsilon, rows, channels, plan.few, plan.lanes, *strides,
                divisor(max(batch.places, 1)),
            )  # fmt: skip
    return dx, dgamma, dbeta
