"""The memory that a stack of fits needs on a GPU, checked before it starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from estimators.costs.memory import MemoryEstimate, check_memory, present_bytes, samples_bytes
from estimators.shared.device_arrays import device_of
from estimators.shared.samples import make_room


class Way(NamedTuple):
    """Where the samples of a stack lie; the fields are those of `NeuralFit`."""

    streamed: bool = False
    is_kept: bool = True
    held_out_streamed: bool = False


def check_stack_memory(fits: Sequence[Any]) -> None:
    """Raise MemoryError if a GPU cannot hold the data and the models of a stack.

    The samples lie in the first way that it has room for, or else in the one that takes least. What
    it keeps of them for other stacks goes where this one needs the room.

    Parameters
    ----------
    fits : sequence of NeuralFit
        The fits. Told where their samples lie.
    """
    first = fits[0]
    if first.device == "cpu":
        return
    sets = {id(fit.samples): fit for fit in fits}.values()
    on_device = sum(present_bytes(fit.X, fit.device) for fit in sets)  # those of users
    present = sum(present_bytes(fit.X, fit.device, is_placed=fit.is_placed) for fit in sets)
    users = {fit.samples for fit in fits}
    way, estimate = Way(), stack_memory(fits)
    free = present + make_room(estimate.total - present, first.device, users)
    if estimate.total > free:
        others = [(way, stack_memory(fits, **way._asdict())) for way in _ways(fits)]
        fitting = [other for other in others if other[1].total <= free]
        way, estimate = fitting[0] if fitting else min(others, key=lambda other: other[1].total)
    for fit in fits:
        fit.streamed, fit.is_kept, fit.held_out_streamed = way
    if not way.is_kept:
        for samples in users:
            samples.let_go(first.device)
    present = present if way.is_kept else on_device
    batch_size = first.member.settings.batch_size if first.solver.goes_by_steps else 0

    def of_batch(rows: int) -> MemoryEstimate:
        return stack_memory(fits, **way._asdict(), batch_size=rows)

    check_memory(estimate, present=present, batch_size=batch_size, of_batch=of_batch)


def _ways(fits: Sequence[Any]) -> Iterator[Way]:
    """Yield the ways in which the samples may lie, those that take less time first."""
    streams = all(fit.can_stream for fit in fits)
    held_out = fits[0].held_out_data
    held_out_streams = held_out is not None and isinstance(held_out.X, np.ndarray)
    ways = [Way()]
    if _parts(fits) > 1 and not sp.issparse(fits[0].X):
        ways.append(Way(is_kept=False))
    if streams:
        ways.append(Way(streamed=True, is_kept=False))
    for way in ways:
        yield way
        if held_out_streams:
            yield way._replace(held_out_streamed=True)


def _parts(fits: Sequence[Any]) -> int:
    """Return of how many pairs of samples and targets the data of a stack are."""
    return len({(id(fit.samples), id(fit.targets)) for fit in fits})


def stack_memory(
    fits: Sequence[Any], *, streamed: bool = False, is_kept: bool = True,
    held_out_streamed: bool = False, **more: Any,
) -> MemoryEstimate:  # fmt: skip
    """Return what a stack of fits needs; `more` are fields of `Training`."""
    first = fits[0]
    longest = max(fits, key=lambda fit: len(fit.member.rows))
    members = [fit.member for fit in fits]
    augmented = any(member.augment is not None for member in members)
    shares = first.network.layers[0].shares_input and not augmented
    orders = {(id(fit.samples), fit.member.order.key) for fit in fits} if shares else fits
    scored = [len(member.held_out.rows) for member in members if member.held_out is not None]
    held_out = first.held_out_data
    differ = len({len(member.rows) for member in members}) > 1  # short ones are filled up
    known = {
        "models": len(fits),
        "groups": len(orders) if len(fits) > 1 else 1,
        "n_scored": max(scored, default=0) if first.solver.goes_by_steps else 0,
        "scores_alone": streamed,
        "target_bytes": first.targets.nbytes // max(len(first.targets), 1),
        "weighted": differ or any(member.sample_weight is not None for member in members),
        "augmented": augmented,
        "streamed": streamed,
    }
    if held_out is not None:
        is_sparse = sp.issparse(held_out.X)
        known["scores_alone"] = held_out_streamed or is_sparse
        known["scored_values"] = held_out.X.nnz if is_sparse else None
    estimate = longest.estimator._fit_memory(
        first.network, first.X, len(longest.member.rows), first.device, **(known | more)
    )
    n_sets, parts = len({id(fit.samples) for fit in fits}), _parts(fits)
    of_X, of_y = samples_bytes(first.X, first.X.dtype.itemsize), first.targets.nbytes
    data = estimate.data + (parts - 1) * of_y
    if parts > 1:  # samples are joined, as often as there are targets for them
        data += parts * of_y
        if sp.issparse(first.X) or not (streamed or is_kept):
            data += (parts - 1) * of_X  # their values come to the device only so
        elif not streamed:
            data += (n_sets - 1 + parts) * of_X  # beside each of them
    if held_out is not None:
        data += held_out.y.nbytes
        if not held_out_streamed and device_of(held_out.X) is None:  # else they are there
            data += samples_bytes(held_out.X, held_out.X.dtype.itemsize)
    return replace(estimate, data=data)
