"""The kernels of an epoch on a GPU, compiled side by side before its first step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from cukernels.gpu import precompile_once
from cukernels.runtime import Array


def compiled_ahead(stack: Any, objective: Any, steps: Iterable[Any], total: Array) -> Iterable[Any]:
    """Return the steps of an epoch, once the kernels that they launch are compiled.

    The arguments are those of `estimators.neural.loop`: its stack of networks, their objective,
    the steps, and the totals of the losses.

    The first step and the last one, which may have fewer rows, are taken as they will be, but for
    the launches. So nothing is learned from them. On the CPU, and where such steps have been taken
    in this process before, nothing is done.
    """
    if isinstance(stack.params, np.ndarray):
        return steps
    steps = list(steps)
    ends = (steps[0], steps[-1])

    def take() -> None:
        for step in ends:
            for group in stack.groups:
                group.learn(objective, step, total)

    network, settings = stack.network, stack.members[0].settings
    shapes = tuple((step.n_rows, step.weight is None, step.batch.x is None) for step in ends)
    key = (
        tuple(network.layers), network.shapes[0], objective, stack.params.shape,
        stack.params.dtype, settings.solver, *sorted(stack.shared.items()), shapes,
    )  # fmt: skip
    precompile_once(key, take)
    return steps
