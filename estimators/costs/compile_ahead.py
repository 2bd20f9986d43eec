"""The kernels of an epoch on a GPU, compiled side by side before its first step."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from cukernels.gpu import precompile_once


def compile_ahead(
    stack: Any, objective: Any, kinds: tuple[Hashable, ...], take: Callable[[], None]
) -> None:
    """Compile the kernels that the steps of an epoch launch.

    `take` takes one step of each kind as it will be taken, but here nothing is launched. So nothing
    is learned from them. Where such steps have been taken in this process before, nothing is done.

    Parameters
    ----------
    stack, objective
        As `estimators.training.loop` has them, on a GPU.
    kinds : tuple
        What the steps differ in, such as their number of rows.
    take : callable
        Takes a step of each kind.
    """
    network, settings = stack.network, stack.members[0].settings
    key = (
        tuple(network.layers), network.shapes[0], objective, stack.params.shape,
        stack.params.dtype, settings.solver, *sorted(stack.shared.items()), kinds,
    )  # fmt: skip
    precompile_once(key, take)
