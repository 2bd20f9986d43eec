"""RMSprop: one step of all parameters of all models of a stack, in place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.optimizers.optimizers import (
    adam_steps,
    add_batch,
    check_decay,
    columns,
    penalised,
)
from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.op import op
from cukernels.training.epoch_loss import check_decayed


def _steps(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for case in adam_steps(rng):
        yield {n: v for n, v in case.items() if n not in ("first", "beta_1", "step")}


@op(
    samples=_steps,
    outputs=(),
    mutates=("params", "second", "total"),
    no_backward="it updates its parameters in place",
)
def rmsprop(
    params: Array,
    grads: Array,
    second: Array,
    *,
    learning_rate: Array,
    beta_2: Array,
    epsilon: Array,
    l2: Array,
    n_decayed: int,
    total: Array | None = None,
    loss: Array | None = None,
    size: Array | None = None,
) -> None:
    """RMSprop (Tieleman and Hinton, Neural Networks for Machine Learning, lecture 6e, 2012).

    ``second = beta_2 * second + (1 - beta_2) * g**2``, then
    ``params -= learning_rate * g / (sqrt(second) + epsilon)``. This is PyTorch's RMSprop without
    momentum: epsilon is added outside the root.

    Parameters
    ----------
    params, grads, second : arrays of shape (M, P), float32 or float64
        Parameters, their gradients, and the running mean of the gradient's square; all but the
        gradients are updated.
    learning_rate, beta_2, epsilon, l2 : arrays of shape (M,)
        Step size, decay rate of the mean, term that keeps the division finite (at least the
        smallest normal number of the dtype), and strength of the L2 penalty.
    n_decayed : int
        How many parameters of each model, from the first one on, the L2 penalty concerns.
    total : array of shape (M, chunks), default=None
        The totals of an epoch, which get the penalised loss of the batch before the step, as from
        `add_loss`; `loss_total` makes it.
    loss, size : arrays of shape (M,), default=None
        Mean loss of the batch and its number of samples, with `total`.
    """
    xp = namespace(params)
    check_decayed("rmsprop", params, n_decayed)
    check_decay("rmsprop", beta_2)
    add_batch("rmsprop", total, loss, size, params, l2, n_decayed)
    g = penalised(grads, params, l2, n_decayed)
    epsilon = xp.maximum(epsilon, np.finfo(params.dtype).tiny)  # the caller's may round to 0
    rate, b2, tiny = columns(params, learning_rate, beta_2, epsilon)
    second[...] = b2 * second + (1 - b2) * (g * g)
    params -= rate * g / (xp.sqrt(second) + tiny)
