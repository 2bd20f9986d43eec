"""The memory of a device that the stacks of a search need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from estimators.costs.memory import MemoryEstimate
from estimators.scikit_learn import Call, Parallel
from estimators.search.batches import FRACTION_OF_FREE_MEMORY, batches
from estimators.search.fits import StackedFit
from estimators.search.shared_steps import Shared, can_stack, last_step
from estimators.shared.memory import free_memory
from estimators.shared.samples import n_bytes_of


class MeasuredParallel(Parallel):
    """Takes the place of `StackedParallel`: it trains nothing, and every fit has the score 0.

    Parameters
    ----------
    *args, **kwargs
        The parameters of `joblib.Parallel`.
    max_stack_bytes : int or None
        As `run_fits` takes it.
    fused : bool
        Whether fits train together. Those that do not have copies of their rows.
    found : list of MemoryEstimate
        What stacks need is appended here.
    refused : list of str
        Why fits cannot be prepared is appended here.
    """

    def __init__(
        self, *args: Any, max_stack_bytes: int | None, fused: bool, found: list[MemoryEstimate],
        refused: list[str], **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(*args, **kwargs)
        self._max_stack_bytes, self._fused = max_stack_bytes, fused
        self._found, self._refused = found, refused

    def __call__(self, iterable: Iterable[Call]) -> Any:
        """Return results for the calls, in their order."""
        shared = Shared()
        fits = [StackedFit(call, shared) for call in iterable]
        if self._fused:
            self._found += [_of_stack(s) for s in _stacks(fits, self._max_stack_bytes)]
            self._refused += [fit.refusal for fit in fits if fit.refusal]
        else:
            self._found += [_alone(fit) for fit in fits if _is_ours(fit)]
        return [_RESULT | {"parameters": fit.arguments.get("parameters")} for fit in fits]


# What scikit-learn makes of a fit, as far as a search looks at it.
_RESULT = {
    "fit_error": None, "test_scores": 0.0, "n_test_samples": 1, "fit_time": 0.0, "score_time": 0.0,
}  # fmt: skip


def _is_ours(fit: StackedFit) -> bool:
    return fit.is_fit and can_stack(fit.estimator, fit.arguments.get("fit_params"))


def _alone(fit: StackedFit) -> MemoryEstimate:
    """Return what a fit needs that scikit-learn runs."""
    a = fit.arguments
    samples, rows = fit.shared.samples(fit.estimator, fit.steps, a["X"], a["y"], a["train"])
    X, y = samples.X, samples.y
    if rows is not None:
        X, y = fit.shared.split(fit.estimator, X, y, rows)
    return last_step(fit.estimator).estimate_memory(X, y)


def _of_stack(stack: list[StackedFit]) -> MemoryEstimate:
    """Return what fits need that run together; in main memory with what is held of folds."""
    prepared: list[Any] = [fit.prepared for fit in stack]
    estimate, first = type(prepared[0]).memory_of(prepared), stack[0]
    if estimate.device != "cpu":
        return estimate
    X, n_test = first.arguments["X"], len(first.arguments["test"])
    of_X, n_rows = n_bytes_of(X), X.shape[0] if hasattr(X, "shape") else len(X)
    held = of_X * n_test // max(n_rows, 1)  # what a fold is scored on
    if first.own_samples is not None:  # X itself, and what steps make of what is scored
        held += of_X + first.samples_bytes * n_test // max(first.own_samples.X.shape[0], 1)
        if len({id(fit.own_samples) for fit in stack}) == 1:  # else more is taken after the steps
            held += of_X * len(first.arguments["train"]) // max(n_rows, 1)
    return replace(estimate, data=estimate.data + held)


def _stacks(fits: Sequence[StackedFit], max_stack_bytes: int | None) -> Iterator[list[StackedFit]]:
    """Yield fits that run together, as `run_fits` runs them."""

    def limit(device: str) -> int:
        return max_stack_bytes or int(FRACTION_OF_FREE_MEMORY * free_memory(device))

    for batch in batches(fits, limit):
        stacks: dict[Any, list[StackedFit]] = {}
        for fit in batch:
            if fit.prepared is not None:
                stacks.setdefault(fit.key, []).append(fit)
        yield from stacks.values()
