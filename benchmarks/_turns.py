"""Whole works on a GPU, timed in turns, and their table."""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SECONDS_OF_WORK = 20.0  # after which no more rounds begin

# Does so many epochs or calls, waits for the device, and returns what tells how good the outcome
# is; None: nothing does.
Contestant = Callable[[int], Callable[[], float] | None]


@dataclass
class Work:
    """What several do in turns.

    Attributes
    ----------
    part, name, data : str
        Where it belongs, what it is, and what is learned from.
    prepare : callable
        Returns contestants by name, ours first.
    unit : str
        Of the figure: "us a step", "s".
    many, few : int
        Epochs, or calls, of a turn; with `few` it has two, and the figure is their difference. So
        it holds neither the copies of the data nor captures.
    of : float
        Steps, or whatever there is a figure of, in an epoch.
    """

    part: str
    name: str
    data: str
    prepare: Callable[[], dict[str, Contestant]]
    unit: str
    many: int = 1
    few: int = 0
    of: float = 1.0

    @property
    def title(self) -> str:
        """What `--only` searches."""
        return f"trainings: {self.part}: {self.name}"


@dataclass
class Figure:
    """What one contestant took: the figure of each round, and seconds of the whole turns."""

    rounds: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    first: float = 0.0  # seconds of the first turn, which compiles
    outcome: float | None = None
    failure: str = ""


@dataclass
class Row:
    """What came out of a work."""

    part: str
    work: str
    data: str
    unit: str
    figures: dict[str, Figure]


def measure(work: Work, rounds: int, *, strict: bool = False) -> Row:
    """Time a work; a contestant that fails is out, unless `strict` says that it must not.

    Parameters
    ----------
    work : Work
    rounds : int
        Turns of each, at most.
    strict : bool, default=False
        Whether a failure is an error.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # short trainings say that they have not converged
        return _measured(work, rounds, strict)


def _measured(work: Work, rounds: int, strict: bool) -> Row:
    begin = time.perf_counter()
    contestants = work.prepare()
    row = Row(work.part, work.name, work.data, work.unit, {name: Figure() for name in contestants})
    scale = (1e6 if work.unit.startswith("us") else 1.0) / (work.of * (work.many - work.few))
    for i in range(-1, rounds):
        if i > 0 and time.perf_counter() - begin > SECONDS_OF_WORK:
            break
        for name, contestant in contestants.items():
            figure = row.figures[name]
            if figure.failure:
                continue
            try:
                if i < 0:  # the first one compiles
                    figure.first, _ = _turn(contestant, work.few or work.many)
                    continue
                little = _turn(contestant, work.few)[0] if work.few else 0.0
                whole, outcome = _turn(contestant, work.many)
                figure.seconds.append(whole)
                figure.rounds.append((whole - little) * scale)
                if figure.outcome is None and outcome is not None:
                    figure.outcome = outcome()
            except Exception as failure:
                if strict:
                    raise
                figure.failure = f"{type(failure).__name__}: {str(failure)[:200]}"
                print(f"FAILED {work.title}, {name}: {figure.failure}", file=sys.stderr, flush=True)
    return row


def _turn(contestant: Contestant, amount: int) -> tuple[float, Callable[[], float] | None]:
    begin = time.perf_counter()
    outcome = contestant(amount)
    return time.perf_counter() - begin, outcome


def table(rows: list[Row], expected: dict[str, float] | None = None) -> str:
    """One line a work and contestant.

    Parameters
    ----------
    rows : list of Row
    expected : dict, default=None
        What `expected.py` expects of ours, by work.
    """
    lines = [
        "| part | work | contestant | median (spread) | unit | expected | times ours | whole, s |"
        " first, s | outcome |",
        "|---|---|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        ours: float | None = None
        for i, (name, figure) in enumerate(row.figures.items()):
            if not figure.rounds:
                lines.append(f"| {row.part} | {row.work} | {name} | {figure.failure} |||||||")
                continue
            median = statistics.median(figure.rounds)
            ours = median if i == 0 else ours
            wanted = (expected or {}).get(f"{row.part}: {row.work}: {name}")
            cells = [
                row.part, row.work, name,
                f"{median:.3g} ({min(figure.rounds):.3g} to {max(figure.rounds):.3g})", row.unit,
                number(wanted), number(median / ours if i and ours else None),
                number(statistics.median(figure.seconds)), number(figure.first),
                number(figure.outcome),
            ]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    data = dict.fromkeys(f"{row.part}: {row.data}" for row in rows)
    return "\n".join([*lines, "", "Data: " + "; ".join(data) + "."])


def number(x: Any) -> str:
    """Three digits, or nothing."""
    return "" if x is None else f"{x:.3g}"
