"""The mistakes of a block of samples, found in their order by all problems of a stack at once.

Each problem walks from a mistake of its own to its next. So there are as many rounds as the worst
of them makes mistakes in the block, and a round computes only for those that still make some.
Nothing here depends on what other problems are in the stack, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# From problems and places in the block, both of shape (n,), to one value for each pair.
At = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Mistakes(NamedTuple):
    """What a walk found: arrays of shape (n,), for each problem in the order of its samples."""

    problem: np.ndarray
    place: np.ndarray  # of the sample, in the block
    direction: np.ndarray  # 1 where the score should have been higher, -1 where lower
    change: np.ndarray  # the multiple of the sample that is added to the weights
    score: np.ndarray  # that was the mistake


def joined(rounds: list[Mistakes]) -> Mistakes:
    """All mistakes of a block."""
    return Mistakes(*map(np.concatenate, zip(*rounds, strict=True)))


def walk_apart(
    scores: np.ndarray, signs: np.ndarray, size: At, row: At, reach: np.ndarray
) -> list[Mistakes]:
    """Walk problems that each tell a class from the rest.

    Parameters
    ----------
    scores : array of shape (P, B)
        Scores under the weights of the block's start.
    signs : array of shape (P, B)
        1 or -1, what the scores should have.
    size : callable
        The size of a step.
    row : callable
        Which row of `reach` a step is about.
    reach : array of shape (R, B)
        What a unit step adds to the scores of the block; 0 up to its own sample.

    Returns
    -------
    mistakes : list of Mistakes
        By rounds.
    """
    found: list[Mistakes] = []
    begins = np.arange(0, scores.size, scores.shape[1])
    wrong = signs * scores <= 0
    first = wrong.argmax(axis=1)
    left = wrong.take(begins + first).nonzero()[0]
    problem = left
    while len(left):
        scores, signs, place = scores.take(left, axis=0), signs.take(left, axis=0), first[left]
        begins = begins[: len(left)]
        at = begins + place
        direction = signs.take(at)
        change = direction * size(problem, place)
        found.append(Mistakes(problem, place, direction, change, scores.take(at)))
        steps = reach.take(row(problem, place), axis=0)
        steps *= change[:, None]
        scores += steps
        signs.put(at, np.nan)  # seen; what comes before it has been right and stays so
        np.less_equal(np.multiply(signs, scores, out=steps), 0, out=(wrong := wrong[: len(left)]))
        first = wrong.argmax(axis=1)
        left = wrong.take(begins + first).nonzero()[0]
        problem = problem[left]
    return found


def walk_competing(
    scores: np.ndarray, labels: np.ndarray, size: At, row: At, reach: np.ndarray
) -> list[Mistakes]:
    """Walk models whose K classes compete: a mistake moves the right class and the winner.

    Parameters
    ----------
    scores : array of shape (M, K, B)
        Scores under the weights of the block's start; become those that the rule sees.
    labels : integer array of shape (B,)
        The right classes.
    size, row, reach
        As for `walk_apart`, with problem ``m * K + k`` for class k of model m.

    Returns
    -------
    mistakes : list of Mistakes
        By rounds.
    """
    found: list[Mistakes] = []
    n_models, n_classes, n_samples = scores.shape
    by_problem, begins = scores.reshape(-1, n_samples), np.arange(n_models) * n_samples
    up_down = np.repeat(np.array([1, -1], scores.dtype), n_models).reshape(2, -1)
    is_left = np.ones((n_models, n_samples), bool)  # yet to come
    places = np.arange(n_samples)
    while True:
        winner = scores.argmax(axis=1)
        wrong = (winner != labels) & is_left
        first = wrong.argmax(axis=1)
        models = wrong.take(begins + first).nonzero()[0]
        if not len(models):
            return found
        place = first[models]
        is_left[models] = places > place[:, None]
        classes = np.concatenate((labels[place], winner[models, place]))
        problem = np.tile(models * n_classes, 2) + classes
        place = np.tile(place, 2)
        direction = up_down[:, : len(models)].ravel()
        change = direction * size(problem, place)
        found.append(Mistakes(problem, place, direction, change, by_problem[problem, place]))
        steps = reach.take(row(problem, place), axis=0)
        steps *= change[:, None]
        by_problem[problem] += steps
