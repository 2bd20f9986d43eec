"""Fits of a search that run as stacks of models, each with the outcome that it would have alone.

scikit-learn describes a fit of a search as a call of a function of its own, as in
``_fit_and_score(estimator, X, y, train=train, parameters=...)``. Here the estimators of many such
calls are trained together first. Then each call runs as it stands, with an estimator whose `fit`
only hands over what was learned: messages, scores, times and errors are scikit-learn's.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from inspect import signature
from types import SimpleNamespace
from typing import Any

import numpy as np
from sklearn.base import clone

from estimators.scikit_learn import (
    BaseScorer,
    Call,
    PassthroughScorer,
    check_method_params,
    function_of,
    is_fit,
    rebound,
    safe_split,
    scorers_of,
    warn_or_raise_about_fit_failures,
)
from estimators.search.progress import SearchProgress
from estimators.search.shared_steps import (
    Shared,
    can_stack,
    device_of,
    first_steps,
    last_step,
    own_parameters,
    steps_key,
)
from estimators.shared.fit_protocol import Fit, NotTrainedError, raise_error_of
from estimators.shared.memory import free_memory
from estimators.shared.warnings import warn


class StackedFit:
    """One fit of a search.

    Parameters
    ----------
    call : (function, args, kwargs)
        What scikit-learn would call.
    shared : Shared
        What this fit has in common with others.
    """

    def __init__(self, call: Call, shared: Shared) -> None:
        self.function = function_of(call)
        self.is_fit = is_fit(self.function)
        self.arguments = arguments_of(call)
        for name in {"train", "test"} & set(self.arguments):
            self.arguments[name] = shared.rows(self.arguments[name])
        self.shared = shared
        self.training: Fit | None = None
        self.error: Exception | None = None
        self.seconds = 0.0
        self.is_prepared = self.is_under_way = self.is_interrupted = False
        self.estimator = candidate(self.arguments)
        self.steps = steps_key(self.estimator)

    @property
    def key(self) -> Any:
        """What the fits of a stack have in common."""
        return None if self.training is None else (type(self.training), self.training.key)

    @property
    def n_bytes(self) -> int:
        """What it takes while it trains."""
        return 0 if self.training is None else self.training.n_bytes

    @property
    def has_begun(self) -> bool:
        """Whether there is something that an interrupt leaves."""
        return self.is_under_way and self.training is not None and self.training.has_begun

    def prepare(self) -> None:
        """Bring the estimator to its first step; where that fails, it is to be fitted alone."""
        a, begun = self.arguments, time.perf_counter()
        self.is_prepared = True
        if not (self.is_fit and can_stack(self.estimator, a.get("fit_params"))):
            return
        try:
            last = last_step(self.estimator)
            last._validate_params()
            given = own_parameters(self.estimator, a.get("fit_params"))
            weights = check_method_params(a["X"], params=given, indices=a["train"])
            samples, rows = self.shared.samples(
                self.estimator, self.steps, a["X"], a["y"], a["train"]
            )
            self.training = last._prepare(samples, rows=rows, **weights)
        except Exception:  # alone it fails in the same way, and scikit-learn reports it
            self.training = None
        self.seconds = time.perf_counter() - begun

    def result(self) -> Any:
        """What scikit-learn's function returns for this fit, which is done."""
        a, learned, training = self.arguments, self.estimator, self.training
        if isinstance(self.error, NotTrainedError) and "error_score" in a:
            a = {**a, "error_score": np.nan}
        if training is None and self.error is None:
            return self.function(**a)
        spent = 0.0

        def finish(*args: Any, **kwargs: Any) -> Any:
            nonlocal spent
            del learned.fit, learned.set_params
            spent = self.seconds
            raise_error_of(self)
            assert training is not None
            try:
                training.finish()
            except Exception as error:
                if self.is_interrupted:
                    raise
                self._fit_alone(learned, error, kwargs)
            return learned

        learned.set_params = lambda **parameters: learned
        learned.fit = finish
        function = rebound(
            self.function,
            split=self._split,
            time=SimpleNamespace(time=lambda: time.time() + spent),
        )
        try:
            return function(**{**a, "estimator": learned})
        finally:
            for name in ("_foreseen", "fit", "set_params"):
                vars(learned).pop(name, None)

    def release(self) -> None:
        """Let go of what was learned, of the samples and of errors, once nobody asks for them."""
        if self.training is not None:
            self.training.error = None  # its traceback refers to all trainings of the stack
        self.estimator = self.training = None

    def _fit_alone(self, learned: Any, error: Exception, fit_params: dict[str, Any]) -> None:
        """Fit once more what failed in a stack: a defect of ours is no misconfigured model.

        Where it fails alone too, scikit-learn reports it.
        """
        a = self.arguments
        alone = candidate(a)
        alone.fit(*self.shared.part(alone, a["X"], a["y"], a["train"]), **fit_params)
        vars(learned).update(vars(alone))
        warn(
            f"A fit of {type(last_step(learned)).__name__} failed in a stack of models and not "
            f"alone; its results are those of the fit alone. Please report this defect: "
            f"{type(error).__name__}: {error}",
        )

    def _split(self, estimator: Any, X: Any, y: Any, rows: Any, train: Any = None) -> tuple:
        """A part of the samples, as scikit-learn's `_safe_split`; that to train on if needed."""
        a = self.arguments
        if train is None and not (a.get("return_train_score") or a.get("callback_ctx")):
            return None, None
        if not keeps_its_samples(a.get("scorer")):
            return safe_split(estimator, X, y, rows, train)
        return self.shared.part(estimator, X, y, a["train"] if train is None else a["test"])


def arguments_of(call: Call) -> dict[str, Any]:
    """The arguments of a call by their names."""
    return _signature(function_of(call)).bind(*call[1], **call[2]).arguments


_signature = cache(signature)  # scikit-learn's have many parameters


def keeps_its_samples(scorer: Any) -> bool:
    """Whether a scorer is one of scikit-learn's; a function of the user's may change X in place."""
    theirs = (BaseScorer, PassthroughScorer)
    return all(one is None or isinstance(one, theirs) for one in scorers_of(scorer))


def candidate(arguments: dict[str, Any]) -> Any:
    """The estimator of a fit with its parameters; without them where it does not know them."""
    estimator = clone(arguments["estimator"])
    try:
        return estimator.set_params(**clone(arguments.get("parameters") or {}, safe=False))
    except (ValueError, TypeError):
        return None


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


def report_failures(results: list[dict[str, Any]], error_score: Any) -> None:
    """Report fits that failed as scikit-learn does; those that Ctrl-C came before did not fail."""
    begun = [r for r in results if NotTrainedError.__name__ not in (r["fit_error"] or "")]
    warn_or_raise_about_fit_failures(begun, error_score)


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
                _foresee(fold)
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


def _foresee(fold: list[StackedFit]) -> None:
    """Predict with all of them in one pass; those in pipelines see their samples elsewhere."""
    if first_steps(fold[0].estimator) is None:
        a, trainings = fold[0].arguments, [fit.training for fit in fold if fit.training]
        with suppress(Exception):  # each fails alone in the same way, and scikit-learn reports it
            X, _ = fold[0].shared.part(fold[0].estimator, a["X"], a["y"], a["test"])
            trainings[0].foresee(trainings, X)
