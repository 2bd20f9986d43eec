"""Whether callbacks are fit for a search, in which each of them is called for many fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from estimators.shared.listeners import listed


def check_callbacks(estimator: Any, candidates: Iterable[Mapping[str, Any] | None] = ()) -> None:
    """Raise ValueError if the fits of a search would write over each other's files.

    Callbacks with a method `check_many_fits` say so by it.

    Parameters
    ----------
    estimator : estimator
        Of which the fits have clones. It may be a pipeline.
    candidates : iterable of mappings, or None
        Parameters that the fits set, callbacks among them.
    """
    given = estimator.get_params() if hasattr(estimator, "get_params") else {}
    # one candidate after the other would ask the same callback again and again
    seen: set[int] = set()
    for parameters in (given, *candidates):
        for name, value in (parameters or {}).items():
            if name.rpartition("__")[2] != "callbacks":
                continue
            for callback in listed(value):
                if id(callback) not in seen and hasattr(callback, "check_many_fits"):
                    callback.check_many_fits()
                seen.add(id(callback))
