"""One kernel and shape, by us and by the peer: what `gpu.py` measures, and its table."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

import torch
from _gpu_device import Device
from _gpu_work import Work


@dataclass
class Row:
    """What was measured of one kernel and shape; times in microseconds."""

    family: str
    shape: str
    ours: float
    theirs: float | None
    ours_alone: float | None
    theirs_alone: float | None
    rate: float  # 10^12 operations or 10^9 bytes a second
    unit: str
    share: float | None = None  # of the device's limit
    error: float | None = None  # relative, against float64
    their_error: float | None = None


def measure(work: Work, device: Device, rounds: int) -> Row:
    """Time one piece of work by us and by the peer, in turns, and compare the results."""
    generator = torch.Generator(device.torch_device).manual_seed(0)
    first = work.inputs(generator, device.torch_device)
    size = sum(x.numel() * x.element_size() for x in first)
    sets = 1 if device.dry else max(1, min(64, -(-200_000_000 // max(size, 1))))
    theirs_in = [first] + [work.inputs(generator, device.torch_device) for _ in range(sets - 1)]
    ours_in = [[device.to_cupy(x) for x in inputs] for inputs in theirs_in]

    def ours(i: int) -> Any:
        return work.ours(*ours_in[i % sets])

    def theirs(i: int) -> Any:
        assert work.theirs is not None
        return work.theirs(*theirs_in[i % sets])

    contestants = [ours, theirs] if work.theirs else [ours]
    calls = 1
    if not device.dry:
        for call in contestants:
            device.microseconds(call, 3)
        calls = max(3, min(200, int(20_000 / max(device.microseconds(ours, 3), 1))))
    times: list[list[float]] = [[] for _ in contestants]
    for _ in range(rounds):
        for taken, call in zip(times, contestants, strict=True):
            taken.append(device.microseconds(call, calls))
    medians = [statistics.median(taken) for taken in times]
    alone = [device.alone(call, min(calls, 20)) for call in contestants]
    best = alone[0] or medians[0]
    row = Row(
        work.family, work.shape, medians[0], medians[1] if work.theirs else None,
        alone[0], alone[1] if work.theirs else None, work.amount / best / 1e6 * work.scale,
        work.unit,
    )  # fmt: skip
    if work.exact:
        exact = work.exact(*(x.double() if x.is_floating_point() else x for x in first))
        row.error = error(device.to_torch(work.result(ours(0))), exact)
        if work.theirs:
            row.their_error = error(work.result(theirs(0)), exact)
    return row


def error(y: torch.Tensor, exact: torch.Tensor) -> float:
    """How far a result is from the exact one, relative to its size."""
    return float((y.double() - exact).norm() / exact.norm().clamp(min=1e-300))


def limits(rows: list[Row]) -> dict[str, float]:
    """The device's own rates, as this run has measured them."""
    found: dict[str, float] = {}
    for row in rows:
        if row.family in ("copy", "cuBLAS") and row.unit not in found:
            found[row.unit] = max(r.rate for r in rows if r.family == row.family)
    return found


def table(rows: list[Row]) -> str:
    lines = [
        "| kernel | shape | ours, us | alone | PyTorch, us | alone | times as fast | rate | share |"
        " error | theirs |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        both = (row.ours_alone, row.theirs_alone)
        ratio = both[1] / both[0] if all(both) else (row.theirs or 0) / row.ours
        cells = [
            row.family, row.shape, *map(number, (row.ours, row.ours_alone)),
            *map(number, (row.theirs, row.theirs_alone)), number(ratio or None),
            f"{row.rate:.3g} {row.unit}", "" if row.share is None else f"{row.share:.0%}",
            number(row.error), number(row.their_error),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def number(x: float | None) -> str:
    return "" if x is None else f"{x:.3g}"
