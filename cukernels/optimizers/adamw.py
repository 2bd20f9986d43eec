"""AdamW: one step of all parameters of all models of a stack, in place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.optimizers.optimizers import (
    adam_steps,
    add_batch,
    check_steps,
    columns,
)
from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.dtypes import INTEGER
from cukernels.runtime.op import op
from cukernels.training.epoch_loss import check_decayed


def _steps(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for case in adam_steps(rng):
        yield {("weight_decay" if name == "l2" else name): value for name, value in case.items()}


@op(
    samples=_steps,
    outputs=(),
    mutates=("params", "first", "second", "total"),
    kinds={"step": INTEGER},
    no_backward="it updates its parameters in place",
)
def adamw(
    params: Array,
    grads: Array,
    first: Array,
    second: Array,
    *,
    step: Array,
    learning_rate: Array,
    beta_1: Array,
    beta_2: Array,
    epsilon: Array,
    weight_decay: Array,
    n_decayed: int,
    total: Array | None = None,
    loss: Array | None = None,
    size: Array | None = None,
) -> None:
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101, algorithm 2).

    The weights shrink directly, by the factor ``1 - learning_rate * weight_decay``. The gradient of
    an L2 penalty would instead be divided by its own running size. As in PyTorch, the decay is
    proportional to the learning rate; in the paper it is proportional to its schedule alone.

    Parameters
    ----------
    params, grads, first, second : arrays of shape (M, P), float32 or float64
        Parameters, their gradients, and the running means of the gradient and of its square; all
        but the gradients are updated.
    step : integer array of shape (M,)
        The number of this step, from 1, which corrects the bias of the running means.
    learning_rate, beta_1, beta_2, epsilon, weight_decay : arrays of shape (M,)
        Step size, decay rates of the two means, term that keeps the division finite (at least the
        smallest normal number of the dtype), and the share of the weights that a step of size 1
        takes away.
    n_decayed : int
        How many parameters of each model, from the first one on, are weights that decay.
    total : array of shape (M, chunks), default=None
        The totals of an epoch, which get the loss of the batch, as from `add_loss` without a
        penalty; `loss_total` makes it.
    loss, size : arrays of shape (M,), default=None
        Mean loss of the batch and its number of samples, with `total`.
    """
    xp = namespace(params)
    check_decayed("adamw", params, n_decayed)
    check_steps("adamw", step, beta_2)
    add_batch("adamw", total, loss, size, params, xp.zeros_like(weight_decay), n_decayed)
    epsilon = xp.maximum(epsilon, np.finfo(params.dtype).tiny)  # the caller's may round to 0
    rate, root, b1, b2, tiny, shrinkage = columns(
        params,
        learning_rate / (1 - beta_1**step),
        1 / xp.sqrt(1 - beta_2**step),
        beta_1,
        beta_2,
        epsilon,
        learning_rate * weight_decay,
    )
    first[...] = b1 * first + (1 - b1) * grads
    second[...] = b2 * second + (1 - b2) * (grads * grads)
    change = rate * first / (xp.sqrt(second) * root + tiny)
    change[:, :n_decayed] += shrinkage * params[:, :n_decayed]
    params -= change
