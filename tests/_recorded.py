"""Calls of ops for recordings: each with other numbers in arrays of the same shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.runtime import Recorded
from cukernels.runtime.cases import bound_to_backward, samples_of


def seen(call: dict[str, Any]) -> dict[str, Any]:
    """Return the same arguments with arrays whose use is recorded."""
    return {k: a.view(Recorded) if isinstance(a, np.ndarray) else a for k, a in call.items()}


def pairs_of(op: Any) -> Iterator[tuple[Any, str, dict[str, Any], dict[str, Any]]]:
    """Yield an op and its backward, a name, and two calls; none of images that models choose."""
    others = op.samples(np.random.default_rng(1))
    for i, calls in enumerate(zip(samples_of(op), others, strict=True)):
        if calls[0].get("x_of") is not None:
            continue
        yield op, f"{op.name}-{i}", *calls
        if op.backward is not None:
            rngs = [np.random.default_rng([7, i]), np.random.default_rng([8, i])]
            bound = [bound_to_backward(op, *call) for call in zip(calls, rngs, strict=True)]
            yield op.backward, f"{op.backward.name}-{i}", *bound
