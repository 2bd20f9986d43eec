"""Which rows a classifier predicts right, from its probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.dtypes import INTEGER
from cukernels.runtime.op import op

WRONG, RIGHT, NOT_FINITE = 0, 1, 2  # what the op says of a row


def _predictions(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    shapes = ((1, 6, 4), (1, 1, 1), (3, 300, 10), (2, 5, 3), (1, 1, 2), (2, 0, 3), (2, 33, 40))
    for m, n, k in shapes:
        p = rng.random((m, n, k))
        p[rng.random((m, n)) < 0.3] = 0.25  # the first of equal ones is predicted
        yield {"p": p, "y": rng.integers(-1, k, size=(m, n))}
    p = rng.random((2, 7, 3))
    p[0, 1, 2], p[1, 3, 0] = np.nan, np.inf
    yield {"p": p, "y": p.argmax(axis=-1)}
    yield {"p": p[..., :1].copy(), "y": (p[..., 0] > 0.4).astype(int)}
    yield {"p": p, "y": (p > 0.4).astype(int)}


@op(
    samples=_predictions,
    outputs=("right",),
    kinds={"y": INTEGER},
    no_backward="a prediction has no slope",
)
def right_rows(p: Array, y: Array) -> Array:
    """Return for each row whether it is predicted right.

    Parameters
    ----------
    p : array of shape (M, N, K), float32 or float64
        Probabilities. Of several classes the first with the highest one is predicted; a single
        output, or one of several labels, is predicted where its probability is above 1/2.
    y : integer array of shape (M, N) or (M, N, K)
        The class of each row, or for each output whether it is right to predict it. A class that is
        none of them, such as -1, is never predicted.

    Returns
    -------
    right : uint8 array of shape (M, N)
        1 if it is, 0 if not, and 2 if a probability is not finite.
    """
    xp = namespace(p)
    if y.ndim == 3:
        right = ((p > 0.5) == (y != 0)).all(axis=-1)
    elif p.shape[-1] == 1:
        right = (p[..., 0] > 0.5) == y
    else:
        right = p.argmax(axis=-1) == y
    return xp.where(xp.isfinite(p).all(axis=-1), right, NOT_FINITE).astype(np.uint8)
