"""Run the fits of a search, those with equal keys as one stack."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Any

from cukernels.runtime import current
from estimators.scikit_learn import Call
from estimators.search.batches import FRACTION_OF_FREE_MEMORY, batches
from estimators.search.fits import StackedFit
from estimators.search.kept import KeptFit
from estimators.search.progress import SearchProgress
from estimators.search.shared_steps import Shared, device_named, device_of_fit, first_steps
from estimators.search.turns import current_turn
from estimators.shared.device_arrays import device_of
from estimators.shared.fit_protocol import NotTrainedError
from estimators.shared.interrupts import has_to_raise
from estimators.shared.memory import free_memory
from estimators.shared.warnings import one_of_each, warn


def run_fits(
    calls: Sequence[Call],
    max_stack_bytes: int | None = None,
    progress: SearchProgress | None = None,
    kept: Sequence[KeptFit | None] | None = None,
) -> list[Any]:
    """Run calls of scikit-learn's functions, and those that fit models of equal shapes in stacks.

    Parameters
    ----------
    calls : sequence of (function, args, kwargs)
        The calls, as `sklearn.utils.parallel.delayed` makes them.
    max_stack_bytes : int, default=None
        How much memory the models of a stack may take while they train. None is a quarter of what
        is free on their device, divided by the number of jobs there.
    progress : SearchProgress, default=None
        Shows how the search goes; None shows nothing.
    kept : sequence of KeptFit or None, default=None
        The files of the fits. Those that are done are not run again.

    Returns
    -------
    results : list
        What the functions returned, in the order of the calls.

    Warns
    -----
    UserWarning
        After Ctrl-C. Fits under way are then scored as they are, and the scores of those that had
        not started are NaN.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C if no fit has begun, if the results must be complete (`cross_val_predict`), or
        if a search could choose no best candidate, as none has a fit that is done or under way in
        each of the folds.
    """
    shared = Shared()
    progress = progress or SearchProgress()
    fits = [
        StackedFit(call, shared, files)
        for call, files in zip(calls, kept or [None] * len(calls), strict=True)
    ]
    limit = _limits(fits, max_stack_bytes)
    return one_of_each(shared.outputs.during, _run, fits, limit, progress)


def _run(
    fits: list[StackedFit], limit: Callable[[str], int], progress: SearchProgress
) -> list[Any]:
    # where samples on a GPU are split and scored, that GPU has to be the current one
    with current(device_of(fits[0].arguments["X"]) or "cpu"):
        try:
            return _results(fits, limit, progress)
        finally:
            for fit in fits:
                fit.release()


def _limits(fits: list[StackedFit], max_stack_bytes: int | None) -> Callable[[str], int]:
    """Return a function that tells how many bytes a stack may take on a device."""
    turn, X = current_turn(), fits[0].arguments["X"]
    devices = {
        named: device_of_fit(named, X) for named in {device_named(fit.estimator) for fit in fits}
    }

    @cache
    def limit(device: str) -> int:
        if max_stack_bytes:
            return max_stack_bytes
        names = [named for named, own in devices.items() if own == device] or ["cuda"]
        jobs = max(turn.jobs_beside(partial(device_of_fit, named, X)) for named in names)
        return int(FRACTION_OF_FREE_MEMORY * free_memory(device) / jobs)

    for device in devices.values():  # before anything is on it; "auto" tells its device only later
        limit(device)
    return limit


def _results(
    fits: list[StackedFit], limit: Callable[[str], int], progress: SearchProgress
) -> list[Any]:
    results: dict[StackedFit, Any] = {}
    for fit in fits:  # of this group, which another worker may have begun
        if fit.kept is not None and (found := fit.kept.read()) is not None:
            results[fit] = found
    try:
        for fit in _trained([fit for fit in fits if fit not in results], limit, progress):
            results[fit] = fit.result()
            if fit.kept is not None:
                fit.kept.write(results[fit])
            fit.release()
            progress.scored(results[fit])
    except KeyboardInterrupt:
        missing = [fit for fit in fits if not (fit in results or fit.has_begun)]
        # only functions with an error_score have something to return for a fit that was not run
        must_be_complete = any("error_score" not in fit.arguments for fit in missing)
        is_of_use = not (has_to_raise() or must_be_complete) and len(missing) < len(fits)
        if not is_of_use or not _has_a_candidate(fits, results):
            raise
    left = [fit for fit in fits if fit not in results]
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
        results[fit] = fit.result()
    # a fit that was under way may have failed, and with it the last candidate
    if left and not _has_a_candidate(fits, results):
        raise KeyboardInterrupt
    return [results[fit] for fit in fits]


def _has_a_candidate(fits: list[StackedFit], results: dict[StackedFit, Any]) -> bool:
    """Return whether a candidate of a search has, in every fold, a score or a fit under way.

    If none has, the search would choose its best candidate among scores that are all NaN. The
    other functions of scikit-learn choose no candidate, so that for them this is always True.
    """
    candidates: dict[Any, list[bool]] = {}
    for fit in fits:
        if "candidate_progress" not in fit.arguments:
            return True
        result = results.get(fit)
        has_score = fit.has_begun if result is None else result["fit_error"] is None
        candidates.setdefault(fit.arguments["candidate_progress"], []).append(has_score)
    return any(map(all, candidates.values()))


def _trained(
    fits: list[StackedFit], limit: Callable[[str], int], progress: SearchProgress
) -> Iterator[StackedFit]:
    """Run the fits, as many at once as the memory allows, and yield each that is done.

    `limit` returns how many bytes they may take on a device.
    """
    steps = Counter(_steps_on(fit) for fit in fits)  # may have cost much
    for batch in batches(fits, limit):
        splits = Counter(split for fit in batch for split in _splits_of(fit))
        stacks: dict[Any, list[StackedFit]] = {}
        for fit in batch:
            stacks.setdefault(fit.key, []).append(fit)
        for key, stack in stacks.items():
            if key is not None:
                _train(stack, progress)
            for fold in _by_test_samples(stack):
                if key is not None:
                    _predict_together(fold)
                for fit in fold:
                    yield fit
                    _drop(fit, steps, [_steps_on(fit)])
                    _drop(fit, splits, _splits_of(fit))


def _steps_on(fit: StackedFit) -> tuple[str, int]:
    """Return under which name `Shared` holds what steps of a pipeline have made for a fit."""
    return fit.steps, id(fit.arguments.get("train"))


def _splits_of(fit: StackedFit) -> list[tuple[str, int]]:
    """Return under which names `Shared` holds samples for a fit."""
    return [("split", id(fit.arguments.get(name))) for name in ("train", "test")]


def _drop(fit: StackedFit, counts: Counter, names: list[tuple[str, int]]) -> None:
    """Drop what no other fit needs."""
    for name in names:
        counts[name] -= 1
        if not counts[name]:
            fit.shared.forget(*name)


def _train(stack: list[StackedFit], progress: SearchProgress) -> None:
    prepared = [fit.prepared for fit in stack if fit.prepared is not None]
    begun = time.perf_counter()
    for fit in stack:
        fit.is_under_way = True
    try:
        type(prepared[0]).run(prepared, progress.epoch)
    finally:
        for fit in stack:
            fit.seconds += (time.perf_counter() - begun) / len(stack)


def _by_test_samples(stack: list[StackedFit]) -> Iterator[list[StackedFit]]:
    """Yield the fits of a stack in groups that are scored on the same samples."""
    # keyed by the identity of row numbers, which the arguments of the fits hold
    folds: dict[int, list[StackedFit]] = {}
    for fit in stack:
        folds.setdefault(id(fit.arguments["test"]), []).append(fit)
    yield from folds.values()


def _predict_together(fold: list[StackedFit]) -> None:
    """Predict the test samples of a fold with all its fits in one pass.

    The scorer of each fit then asks its estimator about the same X, which `Shared.split` holds, and
    the estimator finds the outputs in `Shared.outputs`. In a pipeline the estimator is asked about
    what the steps make of X, which is a new object for each fit, so nothing can be predicted ahead.
    """
    if first_steps(fold[0].estimator) is not None:
        return
    sound = [fit.prepared for fit in fold if fit.prepared and fit.prepared.error is None]
    if not sound:
        return
    a, shared = fold[0].arguments, fold[0].shared
    with suppress(Exception):  # each fails alone in the same way, and scikit-learn reports it
        X, _ = shared.split(fold[0].estimator, a["X"], a["y"], a["test"])
        for fit, outputs in zip(sound, sound[0].outputs_of(sound, X), strict=False):
            shared.outputs.add(fit.estimator, X, outputs)
