"""What scikit-learn's searches take for `joblib.Parallel`, and which runs their fits in stacks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sklearn.utils.parallel import delayed

from estimators.scikit_learn import Call, Parallel, effective_n_jobs, function_of, is_fit
from estimators.search.fits import arguments_of, candidate
from estimators.search.progress import SearchProgress
from estimators.search.run import run_fits
from estimators.search.shared_steps import can_stack

_SHARE_OF_FREE_MEMORY = 0.25


class Group(list):
    """Calls for one worker; weakly referable, so that Dask hands it over as data, not as a task."""


class StackedParallel(Parallel):
    """Runs calls with joblib, those that fit our estimators together.

    With ``n_jobs=1`` all fits make one group, in this process; else as many groups as there are
    jobs go to joblib's workers, each with all candidates of some folds.

    Parameters
    ----------
    *args, **kwargs
        As `joblib.Parallel` takes them.
    max_stack_bytes : int or None, default=None
        What the models of a stack may take while they train; None is a quarter of the memory that
        is free.
    progress : bool, default=False
        Whether to show a bar.
    """

    def __init__(
        self, *args: Any, max_stack_bytes: int | None, progress: bool, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._max_stack_bytes, self._progress = max_stack_bytes, progress

    def __call__(self, iterable: Iterable[Call]) -> Any:
        """Return the results of the calls, in their order."""
        calls = list(iterable)
        if not any(_is_ours(call) for call in calls):
            return super().__call__(calls)
        n_jobs = min(effective_n_jobs(self), len(calls))  # as the backend takes n_jobs
        share = _SHARE_OF_FREE_MEMORY / n_jobs
        if n_jobs == 1:
            with SearchProgress(len(calls) if self._progress else 0) as progress:
                return run_fits(calls, self._max_stack_bytes, share, progress)
        groups = _of_equal_size(_by_fold(calls), n_jobs)
        results: list[Any] = [None] * len(calls)
        done = super().__call__(
            delayed(run_fits)(Group(calls[i] for i in group), self._max_stack_bytes, share)
            for group in groups
        )
        for group, outcomes in zip(groups, done, strict=True):
            for i, outcome in zip(group, outcomes, strict=True):
                results[i] = outcome
        return results


def _is_ours(call: Call) -> bool:
    if not is_fit(function_of(call)):
        return False
    arguments = arguments_of(call)
    estimator = candidate(arguments)
    return estimator is not None and can_stack(estimator, arguments.get("fit_params"))


def _by_fold(calls: Sequence[Call]) -> list[int]:
    """Places of the calls, those that train on the same rows one after the other."""
    folds: dict[int, int] = {}
    of_calls = [folds.setdefault(id(arguments_of(c)["train"]), len(folds)) for c in calls]
    return sorted(range(len(calls)), key=of_calls.__getitem__)


def _of_equal_size(places: list[int], n: int) -> list[list[int]]:
    bounds = [len(places) * i // n for i in range(n + 1)]
    return [places[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]
