"""What a training step on a GPU costs the host: with kernels that do nothing.

    python benchmarks/host.py            networks, stacks and sparse rows, with and without graphs
    python benchmarks/host.py --quick    two of them, one round

CuPy, its argument checks, its memory pool and its launches are the real ones, and the devices are
those in software (tests/softgpu), whose kernels are told to do nothing. So what remains is the time
of Python and of the launches; on a GPU the driver's own part of a launch comes on top. Fits of two
lengths are timed in turns with graphs and without; the difference is that of the steps in between.
Results go to benchmarks/results/host.json and host.md.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent / "tests"))

import softgpu  # noqa: E402

softgpu.install(["90"])  # before anything imports CuPy

import cupy  # noqa: E402

cupy.cuda.set_allocator(
    cupy.cuda.MemoryPool().malloc
)  # CuPy's own, and not one that looks for faults

import _checkout  # noqa: E402, F401

from estimators import ConvNetClassifier, MLPClassifier  # noqa: E402
from estimators.model_selection import GridSearchCV  # noqa: E402
from estimators.shared.files import write_text  # noqa: E402
from estimators.training import replay  # noqa: E402

# Samples, and the epochs of the two fits, both long enough for graphs
ROWS, FEW, MANY = 12_000, 10, 60


@dataclass
class Row:
    """What a step of one work costs; times in microseconds."""

    work: str
    kernels: float
    replayed: float
    launched: float


def works() -> Iterator[tuple[str, Callable[[int], Any], Any, int]]:
    """Yield a name, what makes an estimator for a number of epochs, samples, and their batches."""
    X = np.random.default_rng(0).random((ROWS, 784), np.float32)
    sparse = sp.random(ROWS, 784, 0.05, "csr", np.float32, np.random.default_rng(0))
    plain = {"tol": 0, "n_iter_no_change": 10**6, "random_state": 0, "device": "cuda"}

    def network(kind: Any, sizes: tuple[int, ...], size: int, **options: Any) -> Any:
        return lambda epochs: kind(sizes, batch_size=size, max_iter=epochs, **plain | options)

    def stack(models: int, size: int) -> Any:
        one = network(MLPClassifier, (64,), size)
        grid = {"learning_rate_init": list(np.logspace(-4, -2, models))}
        folds = [(np.arange(ROWS), np.arange(20))]
        return lambda epochs: GridSearchCV(one(epochs), grid, cv=folds, refit=False)

    for size, name, model, data in (
        (200, "MLP(100), batch 200", network(MLPClassifier, (100,), 200), X),
        (128, "ConvNet(16, 32), batch 128",
         network(ConvNetClassifier, (16, 32), 128, hidden_layer_sizes=()), X),
        (256, "MLP(512, 512), batch 256", network(MLPClassifier, (512, 512), 256), X),
        (128, "ConvNet(32, 64), batch norm, dropout, batch 128",
         network(ConvNetClassifier, (32, 64), 128, batch_norm=True, dropout=0.25), X),
        (200, "64 x MLP(64), batch 200", stack(64, 200), X),
        (200, "MLP(100) of sparse rows, batch 200", network(MLPClassifier, (100,), 200), sparse),
    ):  # fmt: skip
        yield name, model, data, -(-ROWS // size)


@contextmanager
def without_graphs() -> Iterator[None]:
    """Launch each step by itself."""
    before = replay.can_replay
    replay.can_replay = lambda *_: False
    try:
        yield
    finally:
        replay.can_replay = before


def seconds(make: Callable[[int], Any], epochs: int, X: Any, y: np.ndarray) -> float:
    """How long a fit takes."""
    model = make(epochs)
    gc.collect()  # what the fit before has left is not of this one
    begin = time.perf_counter()
    with suppress(ValueError):  # nothing is computed, so weights may be no numbers
        model.fit(X, y)
    return time.perf_counter() - begin


def kernels(make: Callable[[int], Any], X: Any, y: np.ndarray) -> int:
    """How many kernels the epochs between the two fits have."""
    counts = []
    for epochs in (FEW, MANY):
        with softgpu.launched() as launched:
            seconds(make, epochs, X, y)
        counts.append(len(launched))
    return counts[1] - counts[0]


def measured(rounds: int, quick: bool) -> Iterator[Row]:
    """Yield what each work costs."""
    y = np.arange(ROWS) % 10
    for name, make, X, batches in list(works())[: 2 if quick else None]:
        steps = batches * (MANY - FEW)
        count = kernels(make, X, y)  # compiles them, too
        times: dict[tuple[bool, int], list[float]] = {}
        for _ in range(rounds):
            for replayed in (True, False):
                with nullcontext() if replayed else without_graphs():
                    seconds(make, FEW, X, y)  # finds the memory as the other kind has left it
                    for epochs in (FEW, MANY):
                        took = seconds(make, epochs, X, y)
                        times.setdefault((replayed, epochs), []).append(took)
        middle = {key: statistics.median(values) for key, values in times.items()}
        of_step = {
            replayed: 1e6 * (middle[replayed, MANY] - middle[replayed, FEW]) / steps
            for replayed in (True, False)
        }
        yield Row(name, count / steps, of_step[True], of_step[False])


def main() -> None:
    """Measure, print a table and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two works, one round")
    quick = parser.parse_args().quick
    lines = ["| work | kernels a step | host, us | without graphs, us |", "|---|---:|---:|---:|"]
    rows = []
    with warnings.catch_warnings(), softgpu.settings(null=True):
        warnings.simplefilter("ignore")
        for row in measured(1 if quick else 5, quick):
            rows.append(row)
            lines.append(
                f"| {row.work} | {row.kernels:.1f} | {row.replayed:.0f} | {row.launched:.0f} |"
            )
            print(lines[-1])  # noqa: T201
    if quick:
        return
    machine = f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}"
    about = f"Kernels that do nothing; {machine}; {time.strftime('%Y-%m-%d')}. Medians of 5 fits."
    write_text(
        FOLDER / "results" / "host.json", json.dumps([asdict(row) for row in rows], indent=1) + "\n"
    )
    write_text(FOLDER / "results" / "host.md", "\n".join([about, "", *lines]) + "\n")


if __name__ == "__main__":
    main()
