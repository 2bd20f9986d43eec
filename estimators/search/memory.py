"""The memory of a device that the stacks of a search need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from estimators.costs.memory import MemoryEstimate
from estimators.scikit_learn import Call, Parallel
from estimators.search.fits import StackedFit
from estimators.search.shared_steps import Shared, can_stack, last_step
from estimators.shared.memory import free_memory

_FRACTION_OF_FREE_MEMORY = 0.25


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
            queue = sorted(fits, key=lambda fit: fit.steps)
            stacks = _stacks(queue, self._max_stack_bytes)
            self._found += [type(stack[0]).memory_of(stack) for stack in stacks]
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


def _stacks(fits: Sequence[StackedFit], max_stack_bytes: int | None) -> Iterator[list[Any]]:
    """Yield prepared fits that run together: of those that memory allows at once, as `run_fits`."""
    stacks: dict[Any, list[Any]] = {}
    n_bytes = 0
    for fit in fits:
        fit.prepare()
        if fit.prepared is None:
            continue
        limit = max_stack_bytes or int(_FRACTION_OF_FREE_MEMORY * free_memory(fit.device))
        if stacks and n_bytes + fit.n_bytes > limit:
            yield from stacks.values()
            stacks, n_bytes = {}, 0
        stacks.setdefault(fit.key, []).append(fit.prepared)
        n_bytes += fit.n_bytes
    yield from stacks.values()
