"""The loss of an epoch: the sum over its minibatches, with the penalty.

The sums stay on the device, so that the host need not wait for any batch. A batch adds to them by
one launch, and the host reads them once an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.op import op


def _batches(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    shapes = ((1, 1, 1, 1), (1, 1, 37, 30), (3, 1, 50, 0), (2, 4, 50, 37), (2, 3, 8, 2))
    for m, chunks, p, decayed in (*shapes, (0, 1, 5, 5), (2, 3, 20_008, 20_001)):
        yield {
            "total": rng.standard_normal((m, chunks)),
            "loss": rng.standard_normal(m),
            "params": rng.standard_normal((m, p)),
            "l2": rng.random(m),
            "size": rng.integers(1, 200, m).astype(float),
            "n_decayed": decayed,
        }


@op(
    samples=_batches,
    outputs=(),
    mutates=("total",),
    no_backward="it adds up losses whose gradients are computed elsewhere",
)
def add_loss(
    total: Array, loss: Array, params: Array, *, l2: Array, size: Array, n_decayed: int
) -> None:
    """Add the penalised loss of a batch to the totals of an epoch, in place.

    The total of a model is the sum of its row in `total`, and grows by
    ``size * (loss + l2 / 2 * |w|^2)``. The parameters are split into chunks of `chunk_length`, one
    for each column: the weights w of a chunk add their penalty to its column, and the loss goes to
    the first. So on a GPU each block has a number of its own to add to.

    Parameters
    ----------
    total : array of shape (M, chunks)
        Updated; `loss_total` makes it.
    loss : array of shape (M,)
        Mean loss of the batch for each model.
    params : array of shape (M, P), float32 or float64
        Parameters of the models.
    l2, size : arrays of shape (M,)
        Strength of the penalty, and number of samples in the batch.
    n_decayed : int
        How many parameters of each model, from the first one on, the penalty concerns.
    """
    check_total(total, params, n_decayed)
    models, chunks = total.shape
    length = chunk_length(params.shape[1], chunks)
    squares = namespace(params).zeros((models, chunks * length), params.dtype)
    squares[:, :n_decayed] = params[:, :n_decayed] ** 2
    norms = squares.reshape(models, chunks, length).sum(axis=-1)
    total += (0.5 * size * l2)[:, None] * norms
    total[:, 0] += size * loss


def _ends(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for m, chunks, p in ((1, 1, 1), (3, 4, 50), (2, 3, 20_008), (2, 2, 0), (0, 1, 5), (4, 2, 37)):
        params = rng.standard_normal((m, p))
        for model, value in zip(range(1, m), (np.nan, np.inf, -np.inf), strict=False):
            params[model, rng.integers(p) if p else ()] = value
        yield {"total": rng.standard_normal((m, chunks)), "params": params}


@op(
    samples=_ends,
    outputs=(),
    mutates=("total",),
    no_backward="it says only whether an epoch went well",
)
def lose_overflowed(total: Array, params: Array) -> None:
    """Set totals of an epoch to infinity, in place, where parameters of the chunk are not finite.

    The losses of an epoch come from before its last step. So this is what tells that this step has
    made weights that are no numbers, by the same numbers that the host reads anyway.

    Parameters
    ----------
    total : array of shape (M, chunks)
        Updated; `loss_total` makes it.
    params : array of shape (M, P), float32 or float64
        Parameters of the models after the epoch, in chunks as `add_loss` has them.
    """
    check_total(total, params, 0, "lose_overflowed")
    xp, (models, chunks) = namespace(params), total.shape
    length = chunk_length(params.shape[1], chunks)
    is_lost = xp.zeros((models, chunks * length), bool)
    is_lost[:, : params.shape[1]] = ~xp.isfinite(params)
    total[is_lost.reshape(models, chunks, length).any(axis=-1)] = np.inf


def chunk_length(p: int, chunks: int) -> int:
    """Return how many of the `p` parameters of a model a column of `total` stands for.

    It is a multiple of 4, so that a GPU can load 16 bytes at once from where a chunk begins.
    """
    return -(-p // (4 * chunks)) * 4


def loss_total(params: Array, n_decayed: int) -> Array:
    """Return zeros for `add_loss` or an optimizer to add to: one column, on a GPU one a block.

    The blocks are those that an optimizer has for a model: they follow from the number of
    parameters, their dtype and the device.
    """
    check_decayed("loss_total", params, n_decayed)
    xp, chunks = namespace(params), 1
    if xp is not np:
        from cukernels.gpu import elementwise

        chunks = max(elementwise.blocks(params, params.shape[1]), 1)
    return xp.zeros((len(params), chunks))


def check_total(total: Array, params: Array, n_decayed: int, op: str = "add_loss") -> None:
    """Raise ValueError if `total` has no columns, or a model fewer than `n_decayed` parameters."""
    check_decayed(op, params, n_decayed)
    if total.shape[1] < 1:
        raise ValueError(f"{op}: total of shape {total.shape} has no column to add to")


def check_decayed(op: str, params: Array, n_decayed: int) -> None:
    """Raise ValueError unless each model has at least `n_decayed` parameters."""
    if not 0 <= n_decayed <= params.shape[-1]:
        raise ValueError(
            f"{op}: n_decayed must be from 0 to the {params.shape[-1]} parameters of a model, got "
            f"{n_decayed!r}"
        )
