"""What the works of `gpu.py` should take on an H100, before anything is measured.

    python benchmarks/expected.py

The real fits run on a GPU in software (tests/softgpu) whose kernels do nothing, so that the
launches are those of the program: kernels, grids and arguments. `_launch_costs.py` makes products,
bytes and seconds of them. Results go to benchmarks/results/expected.json and expected.md. None of
these figures is a measurement, and none holds the time of Python.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent / "tests"))

import softgpu  # noqa: E402

softgpu.install(["90"])  # before anything imports CuPy

import _checkout  # noqa: E402, F401
import _launch_costs as model  # noqa: E402
import _networks  # noqa: E402
from _launch_costs import Cost, cost, seconds_of_each  # noqa: E402
from _networks import Network  # noqa: E402

from cukernels.gpu.kernel import Instance  # noqa: E402
from estimators import LogisticRegression, Perceptron  # noqa: E402
from estimators.shared.files import write_text  # noqa: E402

ROWS, PIXELS, STEPS = 60_000, 784, 3
ITERATIONS, EVALUATIONS, EPOCHS = 100, 1.1, 5  # of LogisticRegression and Perceptron
EPOCHS_TO_AIM = 4  # an assumption
FIT = 0.02  # seconds before and after the steps of a fit, without copies: an assumption


@dataclass
class Row:
    """What is expected of one work of ours: `figure` in the unit of `gpu.py`."""

    part: str
    work: str
    contestant: str
    launches: int
    operations: float
    bytes: float
    figure: float
    unit: str
    note: str = ""


@contextmanager
def counted() -> Iterator[list[Cost]]:
    """The costs of the launches of our kernels, while kernels do nothing."""
    costs: list[Cost] = []
    launch = Instance.__call__

    def noted(self: Any, grid: Any, block: int, *arguments: Any, **more: Any) -> None:
        if 0 not in grid:
            costs.append(cost(self, grid, arguments))
        launch(self, grid, block, *arguments, **more)

    Instance.__call__ = noted  # type: ignore[method-assign]
    try:
        with softgpu.settings(null=True), suppress(ValueError):  # weights may be no numbers
            yield costs
    finally:
        Instance.__call__ = launch  # type: ignore[method-assign]


def step_of(fit: Callable[[int], Any]) -> list[Cost]:
    """The launches of one training step: from the first that takes samples to the next such.

    `fit` trains for one epoch of so many steps. That all steps are the same is seen in what the
    driver launched in epochs of two lengths.
    """
    with counted() as costs:
        fit(STEPS)
    begins = [i for i, c in enumerate(costs) if c.kernel.startswith("take_step")]
    step = costs[begins[-2] : begins[-1]]  # the one before may end an epoch
    numbers = []
    for steps in (STEPS, 2 * STEPS):
        with softgpu.settings(null=True), softgpu.launched() as launched, suppress(ValueError):
            fit(steps)
        numbers.append(len(launched))
    assert numbers[1] - numbers[0] == STEPS * len(step), (numbers, len(step))
    return step


def samples(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Anything of MNIST's shape: nothing is computed."""
    return np.zeros((rows, PIXELS), np.float32), np.arange(rows) % 10


def of_step(part: str, name: str, contestant: str, step: list[Cost], models: int = 1) -> Row:
    unit = "us a step and model" if part == "stack" else "us a step"
    return Row(
        part, name, contestant, len(step), sum(c.operations for c in step),
        sum(c.bytes for c in step), 1e6 * sum(seconds_of_each(step)) / models, unit,
    )  # fmt: skip


def networks() -> Iterator[tuple[Row, list[Cost]]]:
    """A step of each network, and the time to an accuracy."""
    aim = Network("ConvNet", (32, 64), 128)
    for network in (*_networks.NETWORKS, aim):
        step = step_of(lambda n, own=network: own.ours(1).fit(*samples(n * own.batch)))
        row = of_step("network", network.name, "cukernels", step)
        if network is aim:
            copied = ROWS * PIXELS * 4 / model.PAGEABLE
            whole = FIT + copied + EPOCHS_TO_AIM * ceil(ROWS / aim.batch) * row.figure / 1e6
            row.part, row.work, row.figure, row.unit = "accuracy", f"{aim.name}, to 99%", whole, "s"
            row.note = f"if {EPOCHS_TO_AIM} epochs are enough"
        yield row, step


def stacks() -> Iterator[tuple[Row, list[Cost]]]:
    network = _networks.OF_STACK
    for models in _networks.STACKS:

        def fit(steps: int, models: int = models) -> None:
            rows = steps * network.batch
            _networks.stack(network, models, 1, rows).fit(*samples(rows))

        step = step_of(fit)
        name = f"{models} x {network.name}"
        yield of_step("stack", name, "cukernels", step, models), step


def streaming() -> Iterator[tuple[Row, list[Cost]]]:
    for network in _networks.STREAMED:
        for name, place in (("resident", nullcontext), ("streamed", _networks.samples_on_the_host)):
            with place():
                step = step_of(lambda n, own=network: own.ours(1).fit(*samples(n * own.batch)))
            row = of_step("streaming", network.name, name, step)
            if name == "streamed":
                moved = 1e6 * network.batch * PIXELS * 4
                copy, gather = moved / model.COPY, moved / model.GATHER
                row.figure = max(row.figure, copy, gather)
                row.note = f"beside it, {copy:.0f} us to copy and {gather:.0f} us to gather"
            yield row, step


def predictions() -> Iterator[tuple[Row, list[Cost]]]:
    for network in (_networks.NETWORKS[0], _networks.NETWORKS[2]):
        fitted = network.ours(1)
        with counted():
            fitted.fit(*samples(network.batch))
        kind = network.name.partition(", batch")[0]
        for rows in (1, ROWS):
            with counted() as costs:
                fitted.predict(samples(rows)[0])
            # launched one by one: short kernels wait for the host
            alone = sum(max(model.LAUNCH, t) for t in seconds_of_each(costs, gap=0.0))
            copy = 2e-5 + rows * PIXELS * 4 / model.PAGEABLE
            for place, more in (("on the host", copy), ("on the device", 0.0)):
                name = f"{kind}, {rows:,} row{'s' * (rows > 1)}, {place}"
                yield Row(
                    "prediction", name, "cukernels", len(costs), sum(c.operations for c in costs),
                    sum(c.bytes for c in costs), 1e6 * (alone + more), "us a call",
                    "without Python, which is most of it" if rows == 1 else "",
                ), costs  # fmt: skip


def linear() -> Iterator[tuple[Row, list[Cost]]]:
    X, y = samples(ROWS)
    copied = X.nbytes / model.PAGEABLE
    with counted() as costs:
        LogisticRegression(max_iter=1, device="cuda").fit(X, y)
    # one evaluation: from the scores to their gradient
    begins = [i for i, c in enumerate(costs) if c.kernel.startswith("matmul")]
    evaluation = costs[: begins[1] + 1]
    of_evaluation = (
        sum(seconds_of_each(evaluation, gap=model.LAUNCH)) + 5e-5
    )  # reads and copies, with CuPy's
    yield Row(
        "linear", f"LogisticRegression, {ITERATIONS} iterations", "cukernels", len(evaluation),
        sum(c.operations for c in evaluation), sum(c.bytes for c in evaluation),
        FIT + copied + EVALUATIONS * ITERATIONS * of_evaluation, "s",
        f"{EVALUATIONS:g} evaluations an iteration; amounts of one",
    ), evaluation  # fmt: skip
    with counted() as costs:
        Perceptron(max_iter=1, tol=None, device="cuda").fit(X, y)
    # a sample waits for the one before: its scores and a sum over a block
    chain = ROWS * (2 * model.TRIP + 200 / model.CLOCK)
    yield Row(
        "linear", f"Perceptron, {EPOCHS} epochs", "cukernels", len(costs),
        2.0 * 10 * ROWS * PIXELS, 10.0 * X.nbytes, FIT + copied + EPOCHS * chain, "s",
        "at most: a chain of samples, each of two trips to memory and a sum; amounts of an epoch",
    ), costs  # fmt: skip


def table(rows: list[Row]) -> str:
    lines = [
        "| part | work | of ours | launches | GFLOP | MB | expected | unit | |",
        "|---|---|---|---:|---:|---:|---:|---|---|",
    ]
    for row in rows:
        cells = [
            row.part, row.work, row.contestant, row.launches, f"{row.operations / 1e9:.3g}",
            f"{row.bytes / 1e6:.3g}", f"**{row.figure:.3g}**", row.unit, row.note,
        ]  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def by_kernel(name: str, step: list[Cost]) -> str:
    """Where the time of a step should go."""
    lines = [f"## {name}", "", "| kernel | blocks | GFLOP | MB | us |", "|---|---:|---:|---:|---:|"]
    for c, taken in zip(step, seconds_of_each(step), strict=True):
        lines.append(
            f"| `{c.kernel}` | {c.blocks:,} | {c.operations / 1e9:.3g} | {c.bytes / 1e6:.3g} | "
            f"{1e6 * taken:.3g} |"
        )
    return "\n".join(lines)


FLOPS = 2e-12 * model.MULTIPROCESSORS * model.CLOCK * model.RATES["Tf32<3>"]
ABOUT = f"""# Expected, not measured

What `benchmarks/gpu.py` should find on an H100, from the launches of the program and the constants
of `_launch_costs.py`: {1e6 * model.NODE:g} us from one kernel of a graph to the next,
{1e6 * model.LAUNCH:g} us without a graph, {1e-12 * model.MEMORY:.3g} TB/s of HBM,
{1e-12 * model.L2:.3g} TB/s of L2 where a step fits into it,
{FLOPS:.0f} TFLOP/s of float32 by three terms of TF32. GFLOP and MB are those of a step,
of a call, or of what the last column says.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default=str(FOLDER / "results"), help="folder of the results")
    folder = Path(parser.parse_args().out)
    rows: list[Row] = []
    details: list[str] = []
    print(table([]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for part in (networks, stacks, streaming, predictions, linear):
            for row, step in part():
                rows.append(row)
                print(table([row]).splitlines()[-1], flush=True)
                if row.part in ("network", "stack"):
                    details.append(by_kernel(row.work, step))
    figures = {f"{row.part}: {row.work}: {row.contestant}": row.figure for row in rows}
    document = {"expected": figures, "rows": [asdict(row) for row in rows]}
    write_text(folder / "expected.json", json.dumps(document, indent=1) + "\n")
    write_text(folder / "expected.md", "\n\n".join([ABOUT.strip(), table(rows), *details]) + "\n")


if __name__ == "__main__":
    main()
