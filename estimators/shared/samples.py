"""Samples that several fits learn from, validated once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from threading import Lock
from typing import Any, TypeVar
from weakref import WeakSet

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import validate_data

from cukernels.runtime import device_memory
from estimators.shared.device_arrays import on_host, received

T = TypeVar("T")


class Samples:
    """X and y of one fit, or of many that learn from different rows of them.

    Parameters
    ----------
    X, y
        As the user gave them. X on a GPU stays there, and y comes to the host.
    """

    def __init__(self, X: Any, y: Any) -> None:
        self.X, self.y = received(X), on_host(y)
        self._made: dict[Hashable, Any] = {}
        self._kept: dict[str, dict[Hashable, Any]] = {}

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` returned when this method was first called with this key.

        The second entry of a key may be ``id(rows)``, of the row numbers that a fit was prepared
        with. Identities are unique only among objects that are alive, and these are: a search keeps
        the row numbers of all its folds, and this object, in one `search.shared_steps.Shared` to
        its end. A fit outside of a search has no row numbers, and its key contains ``id(None)``.
        """
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def forget(self, rows: int) -> None:
        """Drop what was made of some rows, by their identity as it is in the keys."""
        kept = (key for key in self._made if not (isinstance(key, tuple) and key[1] == rows))
        self._made = {key: self._made[key] for key in kept}

    def has(self, key: Hashable) -> bool:
        """Return whether something was made for this key."""
        return key in self._made

    def keep(self, device: str, key: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` returned first, as `once` does, for arrays on a device.

        They are there until `let_go`: others may need the room.
        """
        with _lock:
            _keepers.add(self)
        kept = self._kept.setdefault(device, {})
        if key not in kept:
            kept[key] = make()
        return kept[key]

    def kept(self, device: str, key: Hashable) -> Any:
        """Return what a device keeps for this key, or None."""
        return self._kept.get(device, {}).get(key)

    def let_go(self, device: str) -> None:
        """Let a device drop what it keeps; who uses it now still holds it."""
        self._kept.pop(device, None)

    def checked(self, estimator: Any, *settings: Hashable) -> tuple[Any, Any]:
        """Return X and y as ``estimator._check_X_y`` returns them.

        X and y are validated once for all estimators of one class with equal settings; each of
        them gets its `n_features_in_` and `feature_names_in_`.
        """
        key: tuple[Any, ...] = ("checked", type(estimator), *settings)
        if key in self._made:
            X = estimator._as_rows(self.X)
            validate_data(estimator, X, reset=True, skip_check_array=True)
        return self.once(key, lambda: estimator._check_X_y(self.X, self.y, reset=True))


_keepers: WeakSet[Samples] = WeakSet()
_lock = Lock()  # jobs of a search run on threads


def make_room(n_bytes: int, device: str, users: Iterable[Samples]) -> int:
    """Return how many bytes of a GPU are free; others than `users` let go if they are too few."""
    free, _ = device_memory(device)
    if free >= n_bytes:
        return free
    with _lock:
        others = set(_keepers) - set(users)
    for samples in others:
        samples.let_go(device)
    return device_memory(device)[0]


def n_bytes_of(X: Any) -> int:
    """Return the bytes of samples: an array, a sparse matrix, or something else that knows them."""
    if sp.issparse(X):
        return int(
            sum(getattr(X, n).nbytes for n in ("data", "indices", "indptr") if hasattr(X, n))
        )
    return int(getattr(X, "nbytes", 0))


def scattered(
    values: np.ndarray, rows: np.ndarray | None, n_samples: int, axis: int = 0
) -> np.ndarray:
    """Return values of some samples among those of all, with zeros for the others.

    Parameters
    ----------
    values : ndarray with an axis of length n_rows
    rows : integer ndarray of shape (n_rows,) or None
        The samples that the values belong to; None for all, in their order.
    n_samples : int
        How many samples there are.
    axis : int, default=0
        The axis of the samples.
    """
    if rows is None:
        return values
    shape = list(values.shape)
    shape[axis] = n_samples
    every = np.zeros(shape, values.dtype)
    np.moveaxis(every, axis, 0)[rows] = np.moveaxis(values, axis, 0)
    return every
