"""scikit-learn's draws for the perceptron: the order of the samples, and those held out of them."""

from __future__ import annotations

import functools
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.utils import check_random_state

from estimators.shared.labels import check_members
from estimators.shared.samples import Samples


def drawn(
    estimator: Any, samples: Samples, rows: np.ndarray | None, labels: np.ndarray, n_classes: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the rows held out and the seeds of the orders of a fit, drawn as by scikit-learn.

    A generator that the user gave, or NumPy's own, moves on with each draw, those that nobody
    needs included. With two classes the draw that seeds scikit-learn's data set comes before the
    split. With more, each class has a generator of its own, seeded after the split.

    Parameters
    ----------
    estimator, samples, rows, labels
        As `held_out_places` takes them.
    n_classes : int
        How many classes there are.

    Returns
    -------
    held_out : integer ndarray
        As from `held_out_places`.
    seeds : integer ndarray of shape (1 or n_classes,) or None
        What the orders of the samples follow from; None if they do not change. Classes that compete
        share the first one's.
    """
    rng, largest = check_random_state(estimator.random_state), np.iinfo(np.int32).max
    if n_classes > 2:
        held_out = held_out_places(estimator, samples, rows, labels)
        generators = list(map(check_random_state, rng.randint(largest, size=n_classes)))
        for each in generators:
            each.randint(1, largest)
    else:
        rng.randint(1, largest)
        held_out = held_out_places(estimator, samples, rows, labels)
        generators = [rng]
    if estimator.multi_class == "multinomial":
        del generators[1:]
    seeds = np.array([each.randint(largest) for each in generators], np.int64)
    return held_out, seeds if estimator.shuffle else None


def held_out_places(
    estimator: Any, samples: Samples, rows: np.ndarray | None, labels: np.ndarray
) -> np.ndarray:
    """Return which of the rows of a fit early stopping scores on, as places among the rows.

    Parameters
    ----------
    estimator : Perceptron
        Its parameters say how many rows these are.
    samples : Samples
        The samples that its fit shares with others.
    rows : integer ndarray of shape (n_rows,) or None
        The samples that the fit learns from; None for all.
    labels : integer ndarray of shape (n_rows,)
        The classes of the rows.

    Raises
    ------
    ValueError
        If a class has too few members. The error names the label.
    """
    if not estimator.early_stopping:
        return np.arange(0)
    check_members(estimator, labels)
    fraction, seed = estimator.validation_fraction, estimator.random_state
    split = StratifiedShuffleSplit(test_size=fraction, random_state=seed)

    def places() -> np.ndarray:
        return next(split.split(labels, labels))[1]

    if not isinstance(seed, Integral):  # a generator moves on: each fit has a draw of its own
        return places()
    # the fits hold the rows while they share the result, so no other array gets their identity
    return samples.once(("held out", id(rows), fraction, seed), places)


def epoch_permutations(
    samples: Samples, n_rows: int, seeds: np.ndarray | None
) -> np.ndarray | None:
    """Return how each epoch permutes the order of the last, (n_orders, n_rows), or None."""
    if seeds is None:
        return None
    each = tuple(seeds.tolist())
    return samples.once(
        ("permutations", n_rows, each), lambda: np.stack([fisher_yates(n_rows, s) for s in each])
    )


def order_after(permutations: np.ndarray | None, n_rows: int, n_epochs: int) -> np.ndarray:
    """Return the order of some samples after so many epochs, (n_orders, n_rows)."""
    if permutations is None:
        return np.arange(n_rows)[None]
    order, power = np.tile(np.arange(n_rows), (len(permutations), 1)), permutations
    while n_epochs:  # by squares of the permutation
        if n_epochs % 2:
            order = np.take_along_axis(order, power, axis=1)
        n_epochs //= 2
        power = np.take_along_axis(power, power, axis=1) if n_epochs else power
    return order


def fisher_yates(n: int, seed: int) -> np.ndarray:
    """Return a permutation of `n` by the shuffle of Fisher and Yates, as scikit-learn draws it.

    The generator is a 32-bit xorshift (Marsaglia, Journal of Statistical Software 8, 2003, with the
    shifts 13, 17, 5), taken modulo 2**31.
    """
    order, places = list(range(n)), np.arange(n - 1)
    drawn = (_xorshifts(n - 1, seed or 1) & 0x7FFFFFFF).astype(np.int64)
    for i, j in enumerate((places + drawn % (n - places)).tolist()):
        order[i], order[j] = order[j], order[i]
    return np.array(order, dtype=np.intp)


def _xorshifts(n: int, seed: int) -> np.ndarray:
    """Return the first `n` states after a seed.

    A step is linear in the bits of the state. So a table of what k steps make of each byte moves
    the k states that are known on to the next k, all at once.
    """
    known = _step(np.array([seed], np.uint32))
    for tables in _powers(max(n - 1, 0).bit_length()):
        known = np.concatenate((known, _moved(known, tables)))
    return known[: max(n, 0)]


def _step(state: np.ndarray) -> np.ndarray:
    state = state ^ (state << np.uint32(13))
    state = state ^ (state >> np.uint32(17))
    return state ^ (state << np.uint32(5))


def _moved(states: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """Return what some steps make of states, from what they make of each byte, (4, 256)."""
    in_bytes = states.astype("<u4").view(np.uint8).reshape(-1, 4)
    return np.bitwise_xor.reduce([tables[i, in_bytes[:, i]] for i in range(4)])


@functools.cache
def _powers(n: int) -> list[np.ndarray]:
    """Return what 1, 2, 4, ... steps make of each byte of a state, (4, 256) each."""
    every = np.arange(256, dtype=np.uint32)
    powers = [np.stack([_step(every << np.uint32(8 * i)) for i in range(4)])]
    for _ in range(n - 1):
        powers.append(np.stack([_moved(row, powers[-1]) for row in powers[-1]]))
    return powers[:n]
