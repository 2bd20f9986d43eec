"""Run the fits of a search: those with equal keys as one stack."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from estimators.scikit_learn import (
    Call,
)
from estimators.search.fits import StackedFit
from estimators.search.progress import SearchProgress
from estimators.search.shared_steps import (
    Shared,
    device_of,
    first_steps,
)
from estimators.shared.fit_protocol import NotTrainedError
from estimators.shared.memory import free_memory
from estimators.shared.warnings import warn


def run_fits(
    calls: Sequence[Call],
    max_stack_bytes: int | None = None,
    share: float = 0.25,
    progress: SearchProgress | None = None,
) -> list[Any]:
    """Run calls of scikit-learn's functions, the fits of equal shapes as stacks.

    Parameters
    ----------
    calls : sequence of (function, args, kwargs)
        As `sklearn.utils.parallel.delayed` makes them.
    max_stack_bytes : int, default=None
        What the models of a stack may take while they train.
    share : float, default=0.25
        The part of the free memory that they may take where `max_stack_bytes` is None.
    progress : SearchProgress, default=None
        Told how it goes.

    Returns
    -------
    results : list
        What the functions returned.

    Warns
    -----
    UserWarning
        After Ctrl-C. Fits under way are then taken as they are; the scores of those that did not
        begin are NaN.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C before any fit began, where results must be complete (`cross_val_predict`), or
        where a search has no candidate to prefer: none has a result or a fit under way in each of
        its folds.
    """
    shared = Shared()
    progress = progress or SearchProgress()
    fits = [StackedFit(call, shared) for call in calls]
    devices = {device_of(fit.estimator) for fit in fits}
    max_bytes = max_stack_bytes or int(share * min(map(free_memory, devices)))
    with shared.outputs:
        try:
            return _results(fits, max_bytes, progress)
        finally:
            for fit in fits:
                fit.release()


def _results(fits: list[StackedFit], max_bytes: int, progress: SearchProgress) -> list[Any]:
    results: dict[int, Any] = {}
    try:
        for fit in _trained(fits, max_bytes, progress):
            results[id(fit)] = fit.result()
            fit.release()
            progress.scored(results[id(fit)])
    except KeyboardInterrupt:
        missing = [fit for fit in fits if not (id(fit) in results or fit.has_begun)]
        complete = any("error_score" not in fit.arguments for fit in missing)
        if len(missing) == len(fits) or complete or not _has_a_candidate(fits, results):
            raise
    left = [fit for fit in fits if id(fit) not in results]
    if left:
        under_way = sum(fit.has_begun for fit in left)
        warn(
            f"Search interrupted by user: of {len(fits)} fits {len(fits) - len(left)} are done, "
            f"{under_way} are taken as far as they got, and {len(left) - under_way} did not begin: "
            "their scores are NaN.",
        )
    for fit in left:
        fit.is_interrupted = True
        if not fit.has_begun:
            fit.error = NotTrainedError("the search was interrupted before this fit")
        results[id(fit)] = fit.result()
    if left and not _has_a_candidate(fits, results):  # those under way were of no use
        raise KeyboardInterrupt
    return [results[id(fit)] for fit in fits]


def _has_a_candidate(fits: list[StackedFit], results: dict[int, Any]) -> bool:
    """Whether some candidate of a search has all its scores, or fits under way for those it lacks.

    Without one the best would be any. Calls of other functions have no best.
    """
    candidates: dict[Any, list[bool]] = {}
    for fit in fits:
        if "candidate_progress" not in fit.arguments:
            return True
        result = results.get(id(fit))
        has_score = fit.has_begun if result is None else result["fit_error"] is None
        candidates.setdefault(fit.arguments["candidate_progress"], []).append(has_score)
    return any(map(all, candidates.values()))


def _trained(
    fits: list[StackedFit], max_bytes: int, progress: SearchProgress
) -> Iterator[StackedFit]:
    """Train the fits, as many at once as the memory allows, and give each that is done."""
    remaining = Counter(fit.steps for fit in fits)
    queue = sorted(fits, key=lambda fit: fit.steps)  # those that share steps one after the other
    while queue:
        stacks: dict[Any, list[StackedFit]] = {}
        n_bytes = n_fits = 0
        for fit in queue:
            if not fit.is_prepared:
                fit.prepare()
            if n_fits and n_bytes + fit.n_bytes > max_bytes:
                break
            stacks.setdefault(fit.key, []).append(fit)
            n_bytes, n_fits = n_bytes + fit.n_bytes, n_fits + 1
        for key, stack in stacks.items():
            if key is None:
                yield from stack
                continue
            _train(stack, progress)
            for fold in _of_equal_folds(stack):
                _predict_together(fold)
                yield from fold
        stacks.clear()
        remaining.subtract(fit.steps for fit in queue[:n_fits])
        del queue[:n_fits]
        fits[0].shared.forget({steps for steps, n in remaining.items() if n == 0})


def _train(stack: list[StackedFit], progress: SearchProgress) -> None:
    trainings = [fit.training for fit in stack if fit.training is not None]
    begun = time.perf_counter()
    for fit in stack:
        fit.is_under_way = True
    try:
        type(trainings[0]).run(trainings, progress.epoch)
    finally:
        for fit in stack:
            fit.seconds += (time.perf_counter() - begun) / len(stack)


def _of_equal_folds(stack: list[StackedFit]) -> Iterator[list[StackedFit]]:
    """The fits of a stack that are scored on the same samples."""
    folds: dict[int, list[StackedFit]] = {}
    for fit in stack:
        folds.setdefault(id(fit.arguments["test"]), []).append(fit)
    yield from folds.values()


def _predict_together(fold: list[StackedFit]) -> None:
    """Compute the outputs of all models of a fold in one pass, for when they are scored.

    Models at the end of a pipeline are left out: each sees what its own first steps make.
    """
    if first_steps(fold[0].estimator) is not None:
        return
    sound = [fit.training for fit in fold if fit.training and fit.training.error is None]
    if not sound:
        return
    a, shared = fold[0].arguments, fold[0].shared
    with suppress(Exception):  # each fails alone in the same way, and scikit-learn reports it
        X, _ = shared.part(fold[0].estimator, a["X"], a["y"], a["test"])
        for fit, outputs in zip(sound, sound[0].outputs_of(sound, X), strict=False):
            shared.outputs.add(fit.estimator, X, outputs)
