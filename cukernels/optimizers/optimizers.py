"""Optimizers: one step of all parameters of all models of a stack, in place.

The parameters of M models are the rows of one array of shape (M, P). Hyper-parameters are vectors
of length M, with one value for each model. The first `n_decayed` parameters of each model are its
weights (biases come after them). An L2 penalty of strength `l2` pulls these towards 0; its gradient
``l2 * w`` is added here, so that it needs no pass of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.dtypes import INTEGER
from cukernels.runtime.op import op
from cukernels.runtime.recording import of_now
from cukernels.training.epoch_loss import add_loss, check_decayed


def _sgd_steps(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    shapes = ((1, 1, 1), (1, 37, 30), (3, 50, 0), (2, 0, 0), (2, 20_001, 17_000))
    for (m, p, decayed), chunks in zip(shapes, (1, 4, 2, 2, 3), strict=True):
        for nesterov in (False, True):
            yield {
                "params": rng.standard_normal((m, p)),
                "grads": rng.standard_normal((m, p)),
                "velocity": rng.standard_normal((m, p)),
                "learning_rate": rng.random(m),
                "momentum": rng.random(m),
                "l2": rng.random(m),
                "n_decayed": decayed,
                "nesterov": nesterov,
                **(_batch(rng, m, chunks) if nesterov else {}),
            }


def _batch(rng: np.random.Generator, models: int, chunks: int) -> dict[str, Any]:
    """What a step adds to the totals of an epoch."""
    return {
        "total": rng.standard_normal((models, chunks)),
        "loss": rng.standard_normal(models),
        "size": rng.integers(1, 200, models).astype(float),
    }


def adam_steps(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Arguments of `adam`, from which the samples of the similar ops are derived."""
    for case in _sgd_steps(rng):
        if case.pop("nesterov"):
            shape = case["params"].shape
            del case["momentum"], case["velocity"]
            yield case | {
                "first": rng.standard_normal(shape),
                "second": rng.random(shape),
                "step": rng.integers(1, 100, shape[0]),
                "beta_1": rng.random(shape[0]),
                "beta_2": rng.random(shape[0]),
                "epsilon": np.full(shape[0], 1e-8),
            }
    idle = np.zeros((2, 5))  # no gradient yet, and an epsilon that is 0 in float32
    one = np.ones(2)
    yield {
        "params": np.ones((2, 5)),
        "grads": idle,
        "first": idle.copy(),
        "second": idle.copy(),
        "step": np.ones(2, int),
        "learning_rate": one,
        "beta_1": one / 2,
        "beta_2": one / 2,
        "epsilon": np.full(2, 1e-60),
        "l2": one * 0,
        "n_decayed": 5,
    }


@op(
    samples=_sgd_steps,
    outputs=(),
    mutates=("params", "velocity", "total"),
    no_backward="it updates its parameters in place",
)
def sgd(
    params: Array,
    grads: Array,
    velocity: Array,
    *,
    learning_rate: Array,
    momentum: Array,
    l2: Array,
    n_decayed: int,
    nesterov: bool = True,
    total: Array | None = None,
    loss: Array | None = None,
    size: Array | None = None,
) -> None:
    """Stochastic gradient descent with momentum, in the formulation of Sutskever et al. 2013.

    ``v = momentum * v - learning_rate * g``, then ``params += v``, or with Nesterov's look-ahead
    ``params += momentum * v - learning_rate * g``.

    Parameters
    ----------
    params, grads, velocity : arrays of shape (M, P), float32 or float64
        Parameters, their gradients and their running update; the first and the last are updated.
    learning_rate, momentum, l2 : arrays of shape (M,)
        Step size, share of the last update that is kept, and strength of the L2 penalty.
    n_decayed : int
        How many parameters of each model, from the first one on, the L2 penalty concerns.
    nesterov : bool, default=True
        Whether to use Nesterov's look-ahead.
    total : array of shape (M, chunks), default=None
        The totals of an epoch, which get the penalised loss of the batch before the step, as from
        `add_loss`; `loss_total` makes it.
    loss, size : arrays of shape (M,), default=None
        Mean loss of the batch and its number of samples, with `total`.
    """
    check_decayed("sgd", params, n_decayed)
    add_batch("sgd", total, loss, size, params, l2, n_decayed)
    g = penalised(grads, params, l2, n_decayed)
    rate, keep = columns(params, learning_rate, momentum)
    velocity[...] = keep * velocity - rate * g
    params += keep * velocity - rate * g if nesterov else velocity


@op(
    samples=adam_steps,
    outputs=(),
    mutates=("params", "first", "second", "total"),
    kinds={"step": INTEGER},
    no_backward="it updates its parameters in place",
)
def adam(
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
    l2: Array,
    n_decayed: int,
    total: Array | None = None,
    loss: Array | None = None,
    size: Array | None = None,
) -> None:
    """Adam (Kingma and Ba, arXiv:1412.6980, the efficient form at the end of section 2).

    Parameters
    ----------
    params, grads, first, second : arrays of shape (M, P), float32 or float64
        Parameters, their gradients, and the running means of the gradient and of its square; all
        but the gradients are updated.
    step : integer array of shape (M,)
        The number of this step, from 1, which corrects the bias of the running means.
    learning_rate, beta_1, beta_2, epsilon, l2 : arrays of shape (M,)
        Step size, decay rates of the two means, term that keeps the division finite (at least the
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
    check_decayed("adam", params, n_decayed)
    check_steps("adam", step, beta_2)
    add_batch("adam", total, loss, size, params, l2, n_decayed)
    g = penalised(grads, params, l2, n_decayed)
    corrected = learning_rate * xp.sqrt(1 - beta_2**step) / (1 - beta_1**step)
    epsilon = xp.maximum(epsilon, np.finfo(params.dtype).tiny)  # the caller's may round to 0
    rate, b1, b2, tiny = columns(params, corrected, beta_1, beta_2, epsilon)
    first[...] = b1 * first + (1 - b1) * g
    second[...] = b2 * second + (1 - b2) * (g * g)
    params -= rate * first / (xp.sqrt(second) + tiny)


def add_batch(
    op: str,
    total: Array | None,
    loss: Array | None,
    size: Array | None,
    params: Array,
    l2: Array,
    n_decayed: int,
) -> None:
    """Add the penalised loss of a batch to the totals of an epoch, if there are any.

    Raises
    ------
    ValueError
        If some of `total`, `loss` and `size` are given and others are not.
    """
    if all_or_none(op, total, loss, size):
        add_loss(total, loss, params, l2=l2, size=size, n_decayed=n_decayed)


def all_or_none(op: str, total: Array | None, loss: Array | None, size: Array | None) -> bool:
    """Whether a step adds to the totals of an epoch; it raises ValueError if a part is missing."""
    if total is loss is size is None:
        return False
    missing = [n for n, a in (("total", total), ("loss", loss), ("size", size)) if a is None]
    if missing:
        raise ValueError(f"{op}: total, loss and size go together, but {missing[0]} is None")
    return True


def check_steps(op: str, step: Array, beta_2: Array) -> None:
    """Raise ValueError unless the bias of the running means can be corrected."""
    if any(number < 1 for number in of_now(step).tolist()):
        raise ValueError(f"{op}: steps are counted from 1, got {step}")
    check_decay(op, beta_2)


def check_decay(op: str, beta_2: Array) -> None:
    """Raise ValueError unless the decay rate of the running mean of the squares is valid."""
    if not all(0 <= decay < 1 for decay in of_now(beta_2).tolist()):
        raise ValueError(f"{op}: beta_2 must be in [0, 1), got {beta_2}")


def penalised(grads: Array, params: Array, l2: Array, n_decayed: int) -> Array:
    """Return the gradient plus that of the penalty."""
    g = grads.copy()
    (strength,) = columns(params, l2)
    g[:, :n_decayed] += strength * params[:, :n_decayed]
    return g


def columns(params: Array, *vectors: Array) -> tuple[Array, ...]:
    """Return vectors of one value for each model as columns, in the dtype of the parameters."""
    return tuple(vector.astype(params.dtype)[:, None] for vector in vectors)
