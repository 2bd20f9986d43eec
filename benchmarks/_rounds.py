"""Races: the same work by several libraries, in turns, in one process.

A machine that is shared, or that changes its clock, makes seconds incomparable; the ratio of two
times that were taken one after the other holds. So contestants take turns, every round gives one
ratio a peer, and the median of the rounds is the result.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import _checkout  # noqa: F401
from threadpoolctl import threadpool_info, threadpool_limits

import cukernels
from estimators.shared.files import write_text

# What makes a BLAS take other kernels or fewer threads than it would choose.
BLAS_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
RESULTS = Path(__file__).parent / "results"
ROUNDS = 5

Contestant = Callable[[], float]  # does the work, returns how good the outcome is


@dataclass
class Race:
    """One line of a table.

    Attributes
    ----------
    work : str
        What is done.
    prepare : callable
        Makes the data; returns contestants by name, ours first.
    aims : dict
        By peer, how many times as fast as it we want to be.
    quality : str
        What the contestants return, such as "accuracy".
    repeats : int
        How often each does the work in its turn; more for what takes milliseconds.
    """

    work: str
    prepare: Callable[[], dict[str, Contestant]]
    aims: dict[str, float] = field(default_factory=dict)
    quality: str = "accuracy"
    repeats: int = 1


@dataclass
class Cores:
    """Our seconds of each turn with one core, and with all that there are."""

    one: list[float]
    all: list[float]

    @property
    def ratio(self) -> float:
        """How many times as fast all cores are; the median of the rounds."""
        return statistics.median(one / many for one, many in zip(self.one, self.all, strict=True))


@dataclass
class Result:
    """What came out: seconds of each turn, and the ratios of the rounds, by peer."""

    work: str
    quality: str
    seconds: dict[str, list[float]]
    outcome: dict[str, float]
    ratios: dict[str, list[float]]
    aims: dict[str, float]
    megabytes: dict[str, float] = field(default_factory=dict)
    cores: Cores | None = None

    def __post_init__(self) -> None:
        if isinstance(self.cores, dict):  # as a file has it
            self.cores = Cores(**self.cores)


def turn(contestant: Contestant, repeats: int) -> tuple[float, float]:
    """Let one contestant do its work; returns seconds a repeat, and the outcome."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # short trainings say that they have not converged
        start = time.perf_counter()
        for _ in range(repeats):
            outcome = contestant()
        return (time.perf_counter() - start) / repeats, outcome


def run(race: Race, rounds: int = ROUNDS) -> Result:
    """Run a race: one warm-up each, then rounds in which everybody has a turn."""
    contestants = race.prepare()
    outcome = {name: turn(work, 1)[1] for name, work in contestants.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:  # nobody is always first
            spent, outcome[name] = turn(contestants[name], race.repeats)
            seconds[name].append(spent)
    ours = seconds[names[0]]
    ratios = {
        peer: [theirs / own for theirs, own in zip(seconds[peer], ours, strict=True)]
        for peer in names[1:]
    }
    return Result(race.work, race.quality, seconds, outcome, ratios, race.aims)


def on_one_core_and_all(race: Race, script: str, place: int, rounds: int = ROUNDS) -> Cores:
    """Run our side of a race in two processes in turns: one has one core, the other has all."""
    command = [sys.executable, script, "--turns-of", str(place)]
    workers = [
        subprocess.Popen(
            [*command, *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for more in (["--one-core"], [])
    ]
    seconds: tuple[list[float], list[float]] = ([], [])
    try:
        for i in range(rounds + 1):
            for own, worker in zip(seconds, workers, strict=True):
                assert worker.stdin and worker.stdout
                worker.stdin.write("\n")
                worker.stdin.flush()
                spent = float(worker.stdout.readline())
                own += [spent] if i else []  # the first turn warms up
    finally:
        for worker in workers:
            worker.communicate()
    return Cores(*seconds)


def take_turns(race: Race, one_core: bool) -> None:
    """The other end of `on_one_core_and_all`: a turn for each line of the input."""
    if one_core:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        threadpool_limits(1)
    ours = next(iter(race.prepare().values()))
    for _ in sys.stdin:
        print(turn(ours, race.repeats)[0], flush=True)


def cores_markdown(results: list[Result]) -> str:
    """One row a race: what more cores bring."""
    lines = ["| work | one core, s | all cores, s | times as fast |", "|---|---:|---:|---:|"]
    for result in results:
        if result.cores:
            one, many = short(result.cores.one), short(result.cores.all)
            lines.append(f"| {result.work} | {one} | {many} | {result.cores.ratio:.2f} |")
    return "\n".join(lines)


def peak_megabytes(script: str, place: int, name: str) -> float:
    """Run one contestant in a process of its own; returns how much memory its work added."""
    command = [sys.executable, script, "--memory-of", str(place), name]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(run.stdout.split()[-1])


def print_added_megabytes(race: Race, name: str) -> None:
    """The other end of `peak_megabytes`: what the work adds here, and all that its workers take."""
    work = race.prepare()[name]
    before = peak_kilobytes("self")
    turn(work, 1)
    added = peak_kilobytes("self") - before
    print((added + sum(map(peak_kilobytes, children()))) / 1024)


def children() -> list[str]:
    """Numbers of the processes under this one, as Linux tells; others see none of them."""
    found = []
    for path in Path("/proc/self/task").glob("*/children"):
        found += path.read_text().split()
    for child in list(found):
        for path in Path(f"/proc/{child}/task").glob("*/children"):
            found += path.read_text().split()
    return found


def peak_kilobytes(process: str) -> int:
    """The most memory that a process has taken so far, as Linux tells.

    Not `getrusage`, which begins with what the process that started this one had taken.
    """
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next((int(x.split()[1]) for x in lines if x.startswith("VmHWM:")), 0)


def markdown(results: list[Result]) -> str:
    """One row a race and peer."""
    lines = [
        "| work | ours, s | peer | theirs, s | times as fast (spread) | aim | ours | theirs |",
        "|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for result in results:
        ours = next(iter(result.seconds))
        for peer, ratios in result.ratios.items():
            aim = f"{result.aims[peer]:g}" if peer in result.aims else ""
            quality = [f"{result.outcome[name]:.4g}" for name in (ours, peer)]
            if result.megabytes:
                quality = [
                    f"{q}, {result.megabytes[name]:.0f} MB"
                    for q, name in zip(quality, (ours, peer), strict=True)
                ]
            lines.append(
                f"| {result.work} | {short(result.seconds[ours])} | {peer} | "
                f"{short(result.seconds[peer])} | **{statistics.median(ratios):.2f}** "
                f"({min(ratios):.2f} to {max(ratios):.2f}) | {aim} | "
                f"{result.quality} {quality[0]} | {quality[1]} |"
            )
    return "\n".join(lines)


def short(seconds: list[float]) -> str:
    """The median of some seconds with three digits."""
    return f"{statistics.median(seconds):.3g}"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    packages = ("numpy", "scipy", "scikit-learn", "torch", "skorch")
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "blas": sorted({blas_kernels(blas) for blas in threadpool_info()} - {""}),
        "variables": {name: os.environ[name] for name in BLAS_VARIABLES if name in os.environ},
        "packages": {name: installed for name in packages if (installed := release(name))}
        | {"cukernels": cukernels.__version__},
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
    }


def blas_kernels(library: dict[str, Any]) -> str:
    """A BLAS and the processor that its kernels were written for, which may be an older one."""
    if library["user_api"] != "blas":
        return ""
    kernels = library.get("architecture", "?")
    return f"{library['internal_api']} {library['version']}, {kernels} kernels"


def processor() -> str:
    """The name of the processor, as Linux knows it."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    facts = dict(
        (part.strip() for part in line.split(":", 1)) for line in text.splitlines() if ":" in line
    )
    return f"{facts.get('model name', '?')}, family {facts.get('cpu family', '?')}"


def release(package: str) -> str:
    """The installed release of a package, or nothing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def commit() -> str:
    """The commit of the checkout, with a + if something is changed in it."""
    folder = Path(__file__).parent
    try:
        describe = ["git", "-C", str(folder), "describe", "--always", "--dirty=+"]
        return subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def slug(name: str) -> str:
    """The name of a processor as a part of a file's name, such as "amd-epyc-family-26"."""
    words = re.sub(r"\((r|tm)\)|@.*?(?=,|$)|\b(processor|cpu)\b", " ", name.lower())
    return "-".join(re.findall(r"[a-z0-9]+", words))


def newest(name: str) -> str:
    """The name of the newest results of a benchmark, among those of several processors."""
    found = sorted(RESULTS.glob(f"{name}-on-*.json"))
    dates = {path.stem: json.loads(path.read_text())["machine"]["date"] for path in found}
    return max(dates, key=dates.__getitem__)


def save(
    name: str, results: list[Result], *tables: str, rounds: int = ROUNDS,
    by_processor: bool = False, **more: Any,
) -> None:  # fmt: skip
    """Write `results/NAME.json`, and `results/NAME.md` with the races and further tables.

    `by_processor` puts the name of the processor into theirs, so that results of others stay.
    """
    facts = machine()
    if by_processor:
        name = f"{name}-on-{slug(facts['processor'])}"
    document = {"machine": facts, "races": [asdict(result) for result in results]} | more
    RESULTS.mkdir(exist_ok=True)
    write_text(RESULTS / f"{name}.json", json.dumps(document, indent=1) + "\n")
    packages = ", ".join(f"{package} {number}" for package, number in facts["packages"].items())
    variables = "".join(f"{name}={value}; " for name, value in facts["variables"].items())
    head = (
        f"{facts['processor']}, {facts['cores']} cores; {'; '.join(facts['blas'])}; {variables}"
        f"Python {facts['python']}, {packages}; "
        f"{facts['date']}. Medians of {rounds} rounds in turns."
    )
    races = [markdown(results)] if results else []
    write_text(RESULTS / f"{name}.md", "\n\n".join([head, *races, *tables]) + "\n")
