"""CUDA bodies of batch normalisation, which launch the kernels of `normalization.cu`."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from cukernels.gpu.division import divisor
from cukernels.gpu.kernel import Kernel, contiguous, ctype
from cukernels.gpu.stacks import gradient_out, models_of
from cukernels.runtime.arrays import Array, namespace

_VECTORS = [("float", 4), ("float", 1), ("double", 2), ("double", 1)]  # and channels of a thread
_TYPES = [("float",), ("double",)]
_BATCH_NORM = Kernel("normalization.cu", "batch_norm", _VECTORS)
_MERGE_STATISTICS = Kernel("normalization.cu", "merge_statistics", _TYPES)
_NORMALISE = Kernel("normalization.cu", "normalise", _VECTORS)
_BACKWARD = Kernel(
    "normalization.cu",
    "batch_norm_backward",
    [(*vector, inference) for vector in _VECTORS for inference in ("false", "true")],
)
_MERGE_GRADIENTS = Kernel("normalization.cu", "merge_gradients", _TYPES)
_DX = Kernel("normalization.cu", "batch_norm_dx", _VECTORS)

THREADS = 256
TILE_BYTES = 128  # bytes of a row that a block takes: the width of its tile of channels
MERGED_AT_ONCE = 8  # channels of a block that merges chunks

Shape = tuple[int, ...]


class Blocking(NamedTuple):
    """How a model's matrix of rows by channels is divided among blocks.

    It depends on the shape of the matrix alone, so that a model's sums are the same in any stack.

    Attributes
    ----------
    channels_a_thread, lanes, tiles : int
        Channels of a thread; log2 of the threads along a row of a tile; tiles of channels.
    chunk, chunks : int
        Rows of a block in kernels that sum over rows, and the number of such chunks.
    short, shorts : int
        Rows of a block in kernels that do not, and the number of these shorter chunks.
    """

    channels_a_thread: int
    lanes: int
    tiles: int
    chunk: int
    chunks: int
    short: int
    shorts: int


@functools.cache
def _blocking(rows: int, channels: int, itemsize: int) -> Blocking:
    length = 16 // itemsize  # elements of a vector of 16 bytes
    channels_a_thread = length if channels % length == 0 else 1
    vectors = channels // channels_a_thread
    widest = TILE_BYTES // itemsize // channels_a_thread
    lanes = min((vectors - 1).bit_length(), widest.bit_length() - 1)
    at_once = THREADS >> lanes  # rows that a block reads at a time
    # One block takes all rows of a small batch, so that a single launch does everything. Otherwise
    # a thread has at least 16 rows: enough loads to keep the memory busy.
    chunk = rows
    if rows > 32 * at_once:
        chunk = max(16 * at_once, -(-rows // 512))
    short = max(8 * at_once, -(-rows // 65535))
    return Blocking(
        channels_a_thread=channels_a_thread,
        lanes=lanes,
        tiles=-(-vectors >> lanes),
        chunk=chunk,
        chunks=max(-(-rows // max(chunk, 1)), 1),  # one also if there are no rows: it writes zeros
        short=short,
        shorts=-(-rows // short),
    )


class Batch(NamedTuple):
    """Sizes of the activations of a stack of models.

    Attributes
    ----------
    stack : tuple of int
        The leading axes that those of all arguments broadcast to.
    models, rows, channels : int
        The number of models, and the sizes of the matrix of each.
    pixels : int
        The rows of one sample.
    """

    stack: Shape
    models: int
    rows: int
    channels: int
    pixels: int

    @classmethod
    def of(cls, x: Array, gamma: Array, *others: Array | None) -> Batch:
        """From activations, and arrays that have leading axes and one more."""
        axes = gamma.ndim - 1
        stack = _broadcast(x.shape[:axes], gamma, *others)
        samples, *image, channels = x.shape[axes:]
        pixels = math.prod(image)
        return cls(stack, math.prod(stack), samples * pixels, channels, pixels)


def _broadcast(stack: Shape, *arrays: Array | None) -> Shape:
    """What `stack` and the leading axes of arrays, all but the last, broadcast to."""
    shapes = {stack, *(a.shape[:-1] for a in arrays if a is not None)}
    return np.broadcast_shapes(*shapes) if len(shapes) > 1 else stack


def _weights_of_models(weights: Array | None, x: Array, stack: Shape) -> tuple[Array | None, int]:
    """`models_of` for weights of the samples, which may be None or of another dtype."""
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
    # Statistics depend on x and the weights alone: models that share these share the statistics.
    distinct = _broadcast(x.shape[: x.ndim - own], sample_weight)
    y = xp.empty(stack + x.shape[x.ndim - own :], x.dtype)
    mean = xp.empty((*distinct, channels), x.dtype)
    variance = xp.empty((*distinct, channels), x.dtype)
    if not batch.models * channels:
        return y, mean, variance

    blocking = _blocking(rows, channels, x.itemsize)
    vector = str(blocking.channels_a_thread)
    values, x_model = models_of(x, own, distinct)
    weights, weights_model = _weights_of_models(sample_weight, x, distinct)
    scale, gamma_model = models_of(gamma, 1, stack)
    shift, beta_model = models_of(beta, 1, stack)
    models = math.prod(distinct)
    # One launch does everything if its blocks see all rows of a model and each model is distinct.
    at_once = blocking.chunks == 1 and models == batch.models
    chunks = weight_of_chunks = None
    if blocking.chunks > 1:
        chunks = xp.empty((models, blocking.chunks, 2, channels), x.dtype)
        weight_of_chunks = xp.empty((models, blocking.chunks), x.dtype)
    _BATCH_NORM[type_, vector](
        (models, blocking.tiles, blocking.chunks), THREADS, values, weights, scale, shift, y if
        at_once else None, mean, variance, chunks, weight_of_chunks, epsilon, rows, channels,
        batch.pixels, blocking.chunk, blocking.lanes, x_model, weights_model, gamma_model,
        beta_model, divisor(max(batch.pixels, 1)),
    )  # fmt: skip
    if blocking.chunks > 1:
        grid = (models, -(-channels // MERGED_AT_ONCE), 1)
        _MERGE_STATISTICS[type_](
            grid, THREADS, chunks, weight_of_chunks, mean, variance, blocking.chunks, channels
        )
    if not at_once:
        values, x_model = models_of(x, own, stack)
        middle, mean_model = models_of(mean, 1, stack)
        spread, variance_model = models_of(variance, 1, stack)
        _NORMALISE[type_, vector](
            (batch.models, blocking.tiles, blocking.shorts), THREADS, values, scale, shift, middle,
            spread, y, epsilon, rows, channels, blocking.short, blocking.lanes, x_model,
            gamma_model, beta_model, mean_model, variance_model,
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
    blocking = _blocking(batch.rows, batch.channels, x.itemsize)
    values, x_model = models_of(x, own, batch.stack)
    channels = [models_of(a, 1, batch.stack) for a in (gamma, beta, mean, variance)]
    _NORMALISE[ctype(x), str(blocking.channels_a_thread)](
        (batch.models, blocking.tiles, blocking.shorts), THREADS, values,
        *(a for a, _ in channels), y, epsilon, batch.rows, batch.channels, blocking.short,
        blocking.lanes, x_model, *(model for _, model in channels),
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
    blocking = _blocking(rows, channels, x.itemsize)
    dgamma, dbeta = _places_of_gradients(out, gamma, stack, blocking.channels_a_thread)
    if not models * channels:
        return dx, dgamma, dbeta

    vector = str(blocking.channels_a_thread)
    dy = contiguous(dy)
    values, x_model = models_of(x, own, stack)
    weights, weights_model = _weights_of_models(sample_weight, x, stack)
    parameters = [models_of(a, 1, stack) for a in (gamma, mean, variance)]
    arrays = [a for a, _ in parameters]
    (scale, gradient_model), (shift, _) = (models_of(a, 1, stack) for a in (dgamma, dbeta))
    strides = (gradient_model, x_model, weights_model, *(model for _, model in parameters))
    chunks = weight_of_chunks = totals = None
    if blocking.chunks > 1:
        chunks = xp.empty((models, blocking.chunks, 2, channels), x.dtype)
        if not inference:
            weight_of_chunks = xp.empty((models, blocking.chunks), x.dtype)
            totals = xp.empty(models, x.dtype)
    _BACKWARD[type_, vector, str(inference).lower()](
        (models, blocking.tiles, blocking.chunks), THREADS, dy, values, weights, *arrays, dx,
        scale, shift, chunks, weight_of_chunks, epsilon, rows, channels, blocking.chunk,
        blocking.lanes, *strides, divisor(max(batch.pixels, 1)),
    )  # fmt: skip
    if blocking.chunks > 1:
        grid = (models, -(-channels // MERGED_AT_ONCE), 1)
        _MERGE_GRADIENTS[type_](
            grid, THREADS, chunks, weight_of_chunks, scale, shift, totals, blocking.chunks,
            channels, gradient_model,
        )  # fmt: skip
        if not inference:
            _DX[type_, vector](
                (models, blocking.tiles, blocking.shorts), THREADS, dy, values, weights, *arrays,
                scale, shift, totals, dx, epsilon, rows, channels, blocking.short, blocking.lanes,
                *strides, divisor(max(batch.pixels, 1)),
            )  # fmt: skip
    return dx, dgamma, dbeta


def _places_of_gradients(
    out: Mapping[str, Array] | None, gamma: Array, stack: tuple[int, ...], vector: int
) -> list[Array]:
    """Return where kernels write the gradients of gamma and beta: in `out` if both fit there.

    Both have one stride from model to model, and kernels store vectors of so many elements.
    """
    made = [gradient_out(out, name, gamma, stack, 1) for name in ("gamma", "beta")]
    places = [place for place in made if place is not None]
    apart = {place.strides for place in places}
    aligned = all(
        (place.data.ptr | place.strides[0]) % (vector * place.itemsize) == 0 for place in places
    )
    if len(places) == 2 and len(apart) == 1 and aligned:
        return places
    return [namespace(gamma).empty((*stack, gamma.shape[-1]), gamma.dtype) for _ in made]
