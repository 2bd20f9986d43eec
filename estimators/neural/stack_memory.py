"""The memory that a stack of fits needs on a GPU, checked before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cukernels.runtime import device_memory
from estimators.costs.memory import MemoryEstimate, check_memory, present_bytes, samples_bytes


def check_stack_memory(fits: Sequence[Any]) -> None:
    """Raise MemoryError if a GPU cannot hold the data and the models of a stack.

    Samples that it has no room for stay on the host, if that takes less.

    Parameters
    ----------
    fits : sequence of NeuralFit
        The fits. Their `streamed` is set.
    """
    first = fits[0]
    if first.device == "cpu":
        return
    present, placed = 0, []
    for fit in {id(fit.samples): fit for fit in fits}.values():
        placed.append(fit.placed)
        on_device = fit.placed is not None and not _is_streamed(fit)
        present += present_bytes(fit.X, fit.device, is_placed=on_device)
    streamed = any(map(_is_streamed, fits))
    estimate = stack_memory(fits, streamed=streamed)
    if first.can_stream and all(samples is None for samples in placed):
        less, (free, _) = stack_memory(fits, streamed=True), device_memory(first.device)
        if less.total < estimate.total > free:
            estimate, streamed = less, True
    for fit in fits:
        fit.streamed = streamed
    batch_size = first.member.settings.batch_size if first.solver.goes_by_steps else 0

    def of_batch(rows: int) -> MemoryEstimate:
        return stack_memory(fits, streamed=streamed, batch_size=rows)

    check_memory(estimate, present=present, batch_size=batch_size, of_batch=of_batch)


def _is_streamed(fit: Any) -> bool:
    """Whether another fit has left the samples on the host."""
    return fit.can_stream and isinstance(fit.placed, np.ndarray)


def stack_memory(fits: Sequence[Any], **more: Any) -> MemoryEstimate:
    """Return what a stack of fits needs; `more` are fields of `Training`."""
    first = fits[0]
    longest = max(fits, key=lambda fit: len(fit.member.rows))
    members = [fit.member for fit in fits]
    augmented = any(member.augment is not None for member in members)
    shares = first.network.layers[0].shares_input and not augmented
    orders = {(id(fit.samples), fit.member.order.key) for fit in fits} if shares else fits
    scored = [len(member.held_out.rows) for member in members if member.held_out is not None]
    differ = len({len(member.rows) for member in members}) > 1  # short ones are filled up
    known = {
        "models": len(fits),
        "groups": len(orders) if len(fits) > 1 else 1,
        "n_scored": max(scored, default=0),
        "target_bytes": first.targets.nbytes // max(len(first.targets), 1),
        "weighted": differ or any(member.sample_weight is not None for member in members),
        "augmented": augmented,
    }
    estimate = longest.estimator._fit_memory(
        first.network, first.X, len(longest.member.rows), first.device, **(known | more)
    )
    n_sets = len({id(fit.samples) for fit in fits})
    parts = len({(id(fit.samples), id(fit.targets)) for fit in fits})
    of_X, of_y = 0, first.targets.nbytes
    if not more.get("streamed"):
        of_X = samples_bytes(first.X, first.X.dtype.itemsize)
    data = estimate.data + (n_sets - 1) * of_X + (parts - 1) * of_y
    if parts > 1:  # samples are joined, beside each of them, as often as there are targets for them
        data += parts * (of_X + of_y)
    return replace(estimate, data=data)
