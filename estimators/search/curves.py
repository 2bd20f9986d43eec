"""What a search keeps of how its fits went: the loss and the validation score of each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from estimators.scikit_learn import Call, function_of
from estimators.shared.pipelines import steps_and_model

CURVES = "curves"
"""What `return_estimator` is, where of the estimator only its curves are to come back."""

KEPT = {"loss_curves_": "loss_curve_", "validation_curves_": "validation_scores_"}
"""The attributes of a search, and of the estimators that they are taken from."""


def asking_for_curves(call: Call) -> Call:
    """Return a call of a fit whose result is to have the curves."""
    return call[0], call[1], {**call[2], "return_estimator": CURVES}


def wants_curves(call: Call) -> bool:
    """Return whether the result of a call is to have the curves."""
    return _is_asked(call[2].get("return_estimator"))


def _is_asked(asked: Any) -> bool:
    return isinstance(asked, str) and asked == CURVES


def with_curves(result: Any, asked: Any) -> Any:
    """Return the result of a fit with its curves in place of its estimator.

    An estimator has its weights and the state of its solver, which for all fits of a search are
    more than the memory holds. The curves are two numbers an epoch.

    Parameters
    ----------
    result : dict
        What scikit-learn's function has returned.
    asked : object
        Its argument `return_estimator`.
    """
    if _is_asked(asked) and isinstance(result, dict):
        _, model = steps_and_model(result.pop("estimator", None))
        curves = [getattr(model, name, None) for name in KEPT.values()]
        result[CURVES] = [None if c is None else [float(value) for value in c] for c in curves]
    return result


def run_with_curves(call: Call) -> Any:
    """Run a call of scikit-learn's, and return its result with its curves if they are wanted."""
    result = function_of(call)(*call[1], **call[2])
    return with_curves(result, call[2].get("return_estimator"))


def taken_out(results: Sequence[Any], found: list[Any] | None) -> None:
    """Take the curves out of results, for which scikit-learn has no use.

    Parameters
    ----------
    results : list of dict
        The results of fits. One that was kept by another search may have curves, or none.
    found : list or None
        Where to add them; None drops them.
    """
    for result in results:
        curves = result.pop(CURVES, None) if isinstance(result, dict) else None
        if found is not None:
            found.append(curves or [None] * len(KEPT))


def curves_of_search(found: Sequence[Any], n_splits: int) -> dict[str, list[list[Any]]]:
    """Return the attributes of a search from the curves of its fits, candidate after candidate."""
    arrays = [[None if c is None else np.array(c) for c in curves] for curves in found]
    return {
        name: [
            [curves[k] for curves in arrays[i : i + n_splits]]
            for i in range(0, len(arrays), n_splits)
        ]
        for k, name in enumerate(KEPT)
    }
