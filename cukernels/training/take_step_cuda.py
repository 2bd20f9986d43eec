"""CUDA body of `take_step`, which launches the kernel of `take_step.cu`."""

from __future__ import annotations

import math

import numpy as np

from cukernels.gpu import elementwise
from cukernels.gpu.counters import counters
from cukernels.gpu.division import divisor
from cukernels.gpu.kernel import Kernel, contiguous, ctype, multiprocessors
from cukernels.gpu.words import WORDS, row_bytes, word_of
from cukernels.runtime.arrays import Array
from cukernels.training.take_step import check_shapes

_KERNEL = Kernel(
    "take_step.cu",
    "take_step",
    [
        *((word, word) for word in WORDS.values()),
        *((number, to) for to in ("float", "double") for number in ("byte", "float", "double")),
    ],
)
_MOST = 2**31 - 2**24  # words of a launch: a thread's index and its next one have to fit an int


def take_step(
    step: Array,
    rows: Array,
    x: Array,
    y: Array,
    batch: Array,
    targets: Array,
    *,
    of: Array | None = None,
    places: Array | None = None,
    settings: Array | None = None,
    own_settings: Array | None = None,
    weight: Array | None = None,
    own_weight: Array | None = None,
    changes: Array | None = None,
    own_changes: Array | None = None,
) -> None:
    check_shapes(rows, x, y, batch, targets, of)
    x, y = contiguous(x), contiguous(y)
    number, samples, labels = contiguous(step, np.int32), contiguous(batch), contiguous(targets)
    given = (own_settings, own_weight, own_changes)
    own = [None if place is None else contiguous(place) for place in given]
    if x.dtype == batch.dtype:
        size = word_of(x, samples[0])
        instance, words = _KERNEL[WORDS[size], WORDS[size]], row_bytes(x) // size
    else:
        x = x.astype(batch.dtype, copy=False) if x.dtype.char not in "Bfd" else x
        instance, words = _KERNEL[ctype(x), ctype(batch)], math.prod(x.shape[1:])
    n, y_words = samples.size // max(math.prod(x.shape[1:]), 1) * words, row_bytes(y) // 4
    if max(n, labels.size * y.itemsize // 4) > _MOST:
        raise ValueError(
            f"take_step: a batch of shape {batch.shape} is too large for one launch, which counts "
            "its words up to 2**31"
        )
    if y.itemsize % 4:
        raise TypeError(f"take_step: y must have items of 4 or 8 bytes on a GPU, got {y.dtype}")
    tables: list = []
    for table, place in zip((settings, weight, changes), own, strict=True):
        if table is None or place is None:
            tables += [None, None, 0]
        else:
            table = contiguous(table, place.dtype)
            tables += [_words(table), _words(place), row_bytes(table) // 4]
    blocks = max(1, min(-(-n // elementwise.THREADS), 8 * multiprocessors(x)))
    instance(
        (blocks, 1, 1), elementwise.THREADS,
        number, len(rows), counters(x, 1), contiguous(rows, np.int32),
        rows.shape[1], rows.shape[2], None if places is None else contiguous(places, np.int32),
        len(x), _bytes(x), _bytes(samples), n, words,
        divisor(max(words, 1)), len(y), _words(y), _words(labels), labels.nbytes // 4, y_words,
        divisor(max(y_words, 1)), divisor(rows.shape[2]),
        None if of is None else contiguous(of, np.int32), *tables,
    )  # fmt: skip
    for new, old in zip(
        (number, samples, labels, *own), (step, batch, targets, *given), strict=True
    ):
        if old is not None and new is not old:
            old[...] = new


def _bytes(x: Array) -> Array:
    return x.reshape(-1).view(np.uint8)


def _words(x: Array) -> Array:
    return x.reshape(-1).view(np.uint32)
