"""The loss of an epoch: what its minibatches add up to, penalty included, without a pause.

The sums stay on the device from batch to batch, one launch each, and are read once an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.optimizers.optimizers import check_decayed
from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.op import op

_PART = 8192  # weights that a block squares: 8 loads of 16 bytes a thread


def _batches(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    shapes = ((1, 1, 1, 1), (1, 1, 37, 30), (3, 1, 50, 0), (2, 4, 50, 37), (2, 3, 8, 2))
    for m, parts, p, decayed in (*shapes, (0, 1, 5, 5), (2, 3, 20_008, 20_001)):
        yield {
            "total": rng.standard_normal((m, parts)),
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
    no_backward="it keeps account of losses whose gradients are taken elsewhere",
)
def add_loss(
    total: Array, loss: Array, params: Array, *, l2: Array, size: Array, n_decayed: int
) -> None:
    """Add the penalised loss of a batch to the totals of an epoch, in place.

    The total of a model is the sum over its parts, and grows by ``size * (loss + l2 / 2 * |w|^2)``.
    The weights w are cut into as many pieces of equal length as there are parts; a part takes the
    penalty of its piece, and the first one the loss.

    Parameters
    ----------
    total : array of shape (M, parts)
        Updated; `loss_total` makes it.
    loss : array of shape (M,)
        Mean loss of the batch for each model.
    params : array of shape (M, P), float32 or float64
        Parameters of the models.
    l2, size : arrays of shape (M,)
        Strength of the penalty, and samples in the batch.
    n_decayed : int
        How many parameters of each model, from the first, are weights that the penalty concerns.
    """
    check_parts(total, params, n_decayed)
    models, parts = total.shape
    length = -(-n_decayed // parts)
    squares = namespace(params).zeros((models, parts * length), params.dtype)
    squares[:, :n_decayed] = params[:, :n_decayed] ** 2
    norms = squares.reshape(models, parts, length).sum(axis=-1)
    total += (0.5 * size * l2)[:, None] * norms
    total[:, 0] += size * loss


def loss_total(params: Array, n_decayed: int) -> Array:
    """Zeros for `add_loss` to add to: one part a model on the CPU, one a block on a GPU."""
    xp = namespace(params)
    parts = 1 if xp is np else max(-(-n_decayed // _PART), 1)
    return xp.zeros((len(params), parts))


def check_parts(total: Array, params: Array, n_decayed: int) -> None:
    """Raise ValueError unless there are parts to add to, and as many weights as are penalised."""
    check_decayed("add_loss", params, n_decayed)
    if total.shape[1] < 1:
        raise ValueError(f"add_loss: total of shape {total.shape} has no part to add to")
