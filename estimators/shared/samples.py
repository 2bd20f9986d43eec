"""Samples that several fits share, validated once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from sklearn.utils.validation import validate_data

T = TypeVar("T")


class Samples:
    """X and y of one fit, or of many that learn from different rows of them.

    Parameters
    ----------
    X, y
        As the user gave them.
    """

    def __init__(self, X: Any, y: Any) -> None:
        self.X, self.y = X, y
        self._made: dict[Hashable, Any] = {}

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` returned when it was first asked for under this key."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def checked(self, estimator: Any, *settings: Hashable) -> tuple[Any, Any]:
        """Return X and y as ``estimator._check_X_y`` makes them, for equal settings only once.

        Sets `n_features_in_` and `feature_names_in_` of each estimator that asks.
        """
        key: tuple[Any, ...] = ("checked", type(estimator), *settings)
        if key in self._made:
            X = estimator._as_rows(self.X)
            validate_data(estimator, X, reset=True, skip_check_array=True)
        return self.once(key, lambda: estimator._check_X_y(self.X, self.y, reset=True))
