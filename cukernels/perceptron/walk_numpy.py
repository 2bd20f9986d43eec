"""The mistakes in a block of samples, found in their order by all models of a stack at once.

In each round every model goes on to its own next mistake. So there are as many rounds as the worst
model makes mistakes in the block. No bit of a model depends on the other models of the stack.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

# From problems and places in the block, two numbers or arrays of shape (n,), to a value for each
# pair.
At = Callable[[Any, Any], Any]


class Mistakes(NamedTuple):
    """The mistakes of a walk, as arrays of shape (n,); those of a problem are in their order."""

    problem: np.ndarray
    place: np.ndarray  # index of the sample in the block
    direction: np.ndarray  # 1 where the score should have been higher, -1 where lower
    change: np.ndarray  # the multiple of the sample that is added to the weights
    product: np.ndarray  # of weights and sample, before the change
    score: np.ndarray  # the product plus the bias


def walk(
    products: np.ndarray,
    biases: np.ndarray,
    labels: np.ndarray,
    size: At,
    row: At,
    reach: np.ndarray,
    bias_rate: float,
) -> Mistakes | None:
    """Find the mistakes of models whose K classes compete: each moves right class and winner.

    Parameters
    ----------
    products : array of shape (M, K, B)
        The products of the samples with the weights at the start of the block. They are updated
        to those with the weights that the rule has at each sample.
    biases : array of shape (M, K)
        Updated, in double precision. They are kept apart from the products: if samples are small,
        the sum of both would lose the digits of the products.
    labels : integer array of shape (B,)
        The right classes.
    size : callable
        The size of an update of problem ``m * K + k``, which is class k of model m.
    row : callable
        The row of `reach` that belongs to an update.
    reach : array of shape (R, B)
        What an update of size 1 adds to the products of the block; 0 up to its own sample.
    bias_rate : float
        What an update of size 1 adds to the bias.

    Returns
    -------
    mistakes : Mistakes or None
    """
    found: list[Mistakes] = []
    n_models, n_classes, n_samples = products.shape
    if n_models == 1:
        return _walk_one(products[0], biases[0], labels, size, row, reach, bias_rate)
    by_problem, flat_biases = products.reshape(-1, n_samples), biases.reshape(-1)
    begins = np.arange(n_models) * n_samples
    up_down = np.repeat(np.array([1.0, -1.0]), n_models).reshape(2, -1)
    is_left = np.ones((n_models, n_samples), bool)  # samples that are still to come
    places = np.arange(n_samples)
    scores = np.empty(products.shape)
    while True:
        winner = np.add(products, biases[:, :, None], out=scores).argmax(axis=1)
        wrong = winner != labels
        wrong &= is_left
        first = wrong.argmax(axis=1)
        models = wrong.take(begins + first).nonzero()[0]
        if not len(models):
            break
        place = first[models]
        is_left[models] = places > place[:, None]
        of_model = models * n_classes
        problem = np.concatenate((of_model + labels[place], of_model + winner[models, place]))
        place = np.concatenate((place, place))
        direction = up_down[:, : len(models)].ravel()
        change = direction * size(problem, place)
        product = by_problem[problem, place]
        score = product + flat_biases[problem]
        found.append(Mistakes(problem, place, direction, change, product, score))
        later = reach.take(row(problem, place), axis=0)
        later *= change[:, None]
        by_problem[problem] += later
        flat_biases[problem] += bias_rate * change
    return Mistakes(*map(np.concatenate, zip(*found, strict=True))) if found else None


def _walk_one(
    products: np.ndarray,
    biases: np.ndarray,
    labels: np.ndarray,
    size: At,
    row: At,
    reach: np.ndarray,
    bias_rate: float,
) -> Mistakes | None:
    """`walk` for one model: the same bits in a third of the time, as two classes change at once."""
    found, right, start = [], labels.tolist(), 0
    scores, later = products + biases[:, None], np.empty_like(products[0])
    while start < len(right):
        winner = scores[:, start:].argmax(axis=0)
        wrong = winner != labels[start:]
        first = wrong.argmax()
        if not wrong[first]:
            break
        place = start + int(first)
        for k, direction in ((right[place], 1.0), (int(winner[first]), -1.0)):
            change = direction * size(k, place)
            product = products[k, place]
            found.append((k, place, direction, change, product, product + biases[k]))
            products[k] += np.multiply(reach[row(k, place)], change, out=later)
            biases[k] += bias_rate * change
            np.add(products[k], biases[k], out=scores[k])
        start = place + 1
    return Mistakes(*map(np.array, zip(*found, strict=True))) if found else None
