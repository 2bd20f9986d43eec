"""In which order the perceptron sees its samples, and which of them it does not: scikit-learn's."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.utils import check_random_state

from estimators._samples import Samples


def held_out_places(
    estimator: Any, samples: Samples, rows: np.ndarray | None, labels: np.ndarray
) -> np.ndarray:
    """Return the places among some rows of the samples that early stopping scores on.

    Parameters
    ----------
    estimator : Perceptron
        Its parameters say how many they are.
    samples : Samples
        What its fit shares with others.
    rows : integer ndarray of shape (n_rows,) or None
        Those of the samples that it learns from.
    labels : integer ndarray of shape (n_rows,)
        Their classes.
    """
    if not estimator.early_stopping:
        return np.arange(0)
    fraction, seed = estimator.validation_fraction, estimator.random_state
    split = StratifiedShuffleSplit(test_size=fraction, random_state=seed)
    if not isinstance(seed, Integral):
        return next(split.split(labels, labels))[1]
    return samples.once(
        ("held out", id(rows), fraction, seed), lambda: next(split.split(labels, labels))[1]
    )


def epoch_permutation(
    estimator: Any, samples: Samples, n_rows: int, n_classes: int
) -> np.ndarray | None:
    """Return how each epoch permutes the order of the last; None if it does not.

    The seed is from scikit-learn's draws. So two classes are trained in scikit-learn's order. Of
    more classes, which have an order each there, all follow that of the first.
    """
    if not estimator.shuffle:
        return None
    rng = check_random_state(estimator.random_state)
    largest = np.iinfo(np.int32).max
    if n_classes > 2:
        rng = check_random_state(rng.randint(largest, size=n_classes)[0])
    rng.randint(1, largest)  # drawn there for the data set
    seed = int(rng.randint(largest))
    return samples.once(("permutation", n_rows, seed), lambda: fisher_yates(n_rows, seed))


def fisher_yates(n: int, seed: int) -> np.ndarray:
    """Permutation of `n` by the shuffle of Fisher and Yates, with scikit-learn's generator.

    The generator is a 32-bit xorshift (Marsaglia, Journal of Statistical Software 8, 2003, with the
    shifts 13, 17, 5), taken modulo 2**31.
    """
    order = list(range(n))
    state = seed or 1
    for i in range(n - 1):
        state ^= (state << 13) & 0xFFFFFFFF
        state ^= state >> 17
        state ^= (state << 5) & 0xFFFFFFFF
        j = i + (state & 0x7FFFFFFF) % (n - i)
        order[i], order[j] = order[j], order[i]
    return np.array(order, dtype=np.intp)
