"""Running means of batch statistics, which a trained network uses at prediction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.runtime.arrays import Array
from cukernels.runtime.op import op


def _means(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for shape in ((1, 1), (2, 0), (1, 7), (3, 300)):
        drawn = rng.standard_normal((2, *shape))
        yield {"mean": drawn[0], "new": drawn[1], "share": 0.1}


@op(
    samples=_means,
    outputs=(),
    mutates=("mean",),
    no_backward="it updates its argument in place",
)
def running_mean(mean: Array, new: Array, *, share: float) -> None:
    """Move a running mean towards a new value: ``mean += share * (new - mean)``.

    Parameters
    ----------
    mean : array of shape (M, C), float32 or float64
        The running means; updated.
    new : array of shape (M, C)
        The new values.
    share : float
        Weight of the new value.
    """
    mean += share * (new - mean)
