"""The L2 penalty of a function whose value and gradient are known without it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.optimizers.optimizers import check_decayed
from cukernels.runtime.arrays import Array
from cukernels.runtime.op import op


def _models(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    r = rng.standard_normal
    for m, p, decayed in ((1, 1, 1), (1, 5, 0), (3, 40, 37), (0, 4, 2), (2, 9000, 8500), (2, 6, 6)):
        yield {
            "loss": r(m),
            "gradient": r((m, p)),
            "params": r((m, p)),
            "l2": rng.random(m),
            "n_decayed": decayed,
        }


@op(
    samples=_models,
    outputs=("value",),
    mutates=("gradient",),
    no_backward="its own gradient is what it adds",
)
def l2_penalty(loss: Array, gradient: Array, params: Array, l2: Array, *, n_decayed: int) -> Array:
    """Add ``l2 / 2 * |w|^2`` to losses, and its gradient ``l2 w`` to theirs, in place.

    Parameters
    ----------
    loss : array of shape (M,), float32 or float64
        The loss of each model.
    gradient : array of shape (M, P)
        Its gradients; updated.
    params : array of shape (M, P)
        The parameters, of which the first `n_decayed` are the weights w.
    l2 : array of shape (M,)
        Strength of the penalty.
    n_decayed : int
        How many parameters of each model the penalty concerns.

    Returns
    -------
    value : array of shape (M,)
    """
    check_decayed("l2_penalty", params, n_decayed)
    w, strength = params[:, :n_decayed], l2[:, None]
    gradient[:, :n_decayed] += strength * w
    return loss + 0.5 * strength[:, 0] * (w * w).sum(axis=1)
