"""The memory of a device that the stacks of a search need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from estimators.costs.memory import MemoryEstimate
from estimators.scikit_learn import Call, Parallel
from estimators.search.fits import StackedFit
from estimators.search.shared_steps import Shared
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
    found : list of MemoryEstimate
        What stacks need is appended here.
    """

    def __init__(
        self, *args: Any, max_stack_bytes: int | None, found: list[MemoryEstimate], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._max_stack_bytes, self._found = max_stack_bytes, found

    def __call__(self, iterable: Iterable[Call]) -> Any:
        """Return results for the calls, in their order."""
        shared = Shared()
        fits = [StackedFit(call, shared) for call in iterable]
        for stack in _stacks(sorted(fits, key=lambda fit: fit.steps), self._max_stack_bytes):
            self._found.append(type(stack[0]).memory_of(stack))
        return [_RESULT | {"parameters": fit.arguments.get("parameters")} for fit in fits]


# What scikit-learn makes of a fit, as far as a search looks at it.
_RESULT = {
    "fit_error": None, "test_scores": 0.0, "n_test_samples": 1, "fit_time": 0.0, "score_time": 0.0,
}  # fmt: skip


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
