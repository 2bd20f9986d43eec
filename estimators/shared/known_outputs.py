"""Outputs of models that a search has computed together, known while the search scores the models.

The models of a stack predict for the samples of a fold in one pass. scikit-learn's scorers then ask
one model after the other. Within the search each model finds its own outputs here and does not
compute them again. Nothing is stored on the models, and no other thread sees what a search knows.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

import numpy as np

from cukernels.runtime import while_set

P = ParamSpec("P")
Result = TypeVar("Result")

_OF_THIS_SEARCH: ContextVar[KnownOutputs | None] = ContextVar("_OF_THIS_SEARCH", default=None)


class KnownOutputs:
    """The outputs that one search knows while its fits are scored."""

    def __init__(self) -> None:
        self._of_models: dict[int, tuple[Any, Any, np.ndarray]] = {}

    def add(self, estimator: Any, X: Any, outputs: np.ndarray) -> None:
        """Remember what an estimator computes for these samples."""
        # The entry holds the estimator, so that no other object can have its identity.
        self._of_models[id(estimator)] = (estimator, X, outputs)

    def forget(self, estimator: Any) -> None:
        """Forget the outputs of an estimator, whether any are known or not."""
        self._of_models.pop(id(estimator), None)

    def of(self, estimator: Any, X: Any) -> np.ndarray | None:
        """Return a copy of the outputs of an estimator for this very object, or None."""
        _, known_X, outputs = self._of_models.get(id(estimator), (None, None, None))
        return outputs.copy() if outputs is not None and known_X is X else None

    def during(self, function: Callable[P, Result], /, *args: P.args, **kwargs: P.kwargs) -> Result:
        """Call a function of this search, in which these outputs are known."""
        return while_set(_OF_THIS_SEARCH, self, function, *args, **kwargs)


def known_outputs(estimator: Any, X: Any) -> np.ndarray | None:
    """Return the outputs of an estimator for X where a search knows them, or else None."""
    search = _OF_THIS_SEARCH.get()
    return None if search is None else search.of(estimator, X)
