"""The scores of a finished search as an array with an axis for each of its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np


def scores_over(
    results: dict[str, Any], params: Sequence[str] | None, metric: str
) -> tuple[dict[str, list[Any]], np.ndarray, np.ndarray, np.ndarray | None]:
    """Read the scores over one parameter or two from the results of a search.

    Where candidates differ only in other parameters, the best score is taken. Where a search by
    halving has several scores of a candidate, the last is taken.

    Parameters
    ----------
    results : dict
        The `cv_results_` of a search.
    params : sequence of one or two str, or None
        The parameters; None: all that the search varies.
    metric : str
        Which metric.

    Returns
    -------
    values : dict of str to list
        For each parameter its values, sorted if they are numbers.
    mean, error : ndarray of shape (n_x,) or (n_y, n_x)
        Mean and standard deviation over the folds; NaN where the search tried no candidate.
    train : ndarray of that shape, or None
        Mean scores on the training folds; None if the search did not compute them.

    Raises
    ------
    ValueError
        If there are not one or two parameters, or the search has no such metric.
    """
    varied = {name for candidate in results["params"] for name in candidate}
    if params is None:
        params = varied_parameters(results)
    if not 1 <= len(params) <= 2 or not set(params) <= varied:
        raise ValueError(
            f"the search varies {sorted(varied)}: give one or two of them, as "
            f"params={sorted(varied)[:2]}; got {list(params)}"
        )
    means = mean_scores(results, metric)
    # a search by halving tries candidates again on more samples: the last row of each is kept
    rows = list({str(candidate): i for i, candidate in enumerate(results["params"])}.values())
    columns = {name: [results["params"][i].get(name) for i in rows] for name in params}
    values = {name: _ordered(column) for name, column in columns.items()}
    shape = tuple(len(values[name]) for name in reversed(params))
    mean = np.full(shape, np.nan)
    error, train = mean.copy(), mean.copy()
    has_train = f"mean_train_{metric}" in results
    for k, i in enumerate(rows):
        score = means[i]
        at = tuple(_position(values[name], columns[name][k]) for name in reversed(params))
        if not np.isnan(score) and not mean[at] >= score:  # also where mean[at] is still NaN
            mean[at], error[at] = score, results[f"std_test_{metric}"][i]
            if has_train:
                train[at] = results[f"mean_train_{metric}"][i]
    return values, mean, error, train if has_train else None


def varied_parameters(results: dict[str, Any]) -> list[str]:
    """Return the names of the parameters that have more than one value."""
    candidates = results["params"]
    names = sorted({name for candidate in candidates for name in candidate})
    return [name for name in names if len({str(p.get(name)) for p in candidates}) > 1]


def mean_scores(results: dict[str, Any], metric: str) -> Any:
    """Return the mean scores of all candidates.

    Raises
    ------
    ValueError
        If the search has no such metric.
    """
    if f"mean_test_{metric}" not in results:
        raise ValueError(
            f"the search has no score {metric!r}: give one of {_metrics(results)} as metric="
        )
    return results[f"mean_test_{metric}"]


def metric_of(search: Any, metric: str | None) -> str:
    """Return which score of a search is meant by None: the only one, or that of its `refit`.

    Raises
    ------
    ValueError
        If it is None, and the search has several and chooses by none of them.
    """
    known = _metrics(search.cv_results_)
    refit = getattr(search, "refit", None)
    if metric is not None or len(known) == 1 or refit in known:
        return metric or (known[0] if len(known) == 1 else str(refit))
    raise ValueError(f"the search has several scores: give one of {known} as metric=")


def _metrics(results: dict[str, Any]) -> list[str]:
    return sorted(n.removeprefix("mean_test_") for n in results if n.startswith("mean_test_"))


def _ordered(values: list[Any]) -> list[Any]:
    """Return the values without repetitions, sorted if they are numbers."""
    kept: list[Any] = []
    for value in values:
        if not any(_same(value, other) for other in kept):
            kept.append(value)
    return sorted(kept) if all(map(is_number, kept)) else kept


def _position(values: list[Any], value: Any) -> int:
    return next(k for k, other in enumerate(values) if _same(value, other))


def _same(a: Any, b: Any) -> bool:
    # by their text: values may be arrays, which have no single answer to ==, or estimators
    return type(a) is type(b) and str(a) == str(b)


def is_number(value: Any) -> bool:
    """Return whether a value is a number that an axis can show, which a bool is not."""
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)
