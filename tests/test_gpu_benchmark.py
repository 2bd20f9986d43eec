"""The benchmark on a GPU runs, in software on tiny shapes, and all its trainings are expected."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from _requirements import require

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
OURS = ("cukernels", "resident", "streamed")

pytestmark = pytest.mark.usefixtures("softgpu")


def run(script, *arguments):
    """What a benchmark prints: the cells of its lines."""
    made = subprocess.run(
        [sys.executable, BENCHMARKS / script, *arguments], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    lines = [line for line in made.stdout.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@functools.cache
def expected():
    """What `expected.py` writes now."""
    with tempfile.TemporaryDirectory() as folder:
        run("expected.py", "--out", folder)
        return json.loads((Path(folder) / "expected.json").read_text())


def test_a_dry_run():
    """Everything of ours that is timed has a figure that is expected, by its name."""
    require("torch", "oracle")
    lines = run("gpu.py", "--dry-run")
    assert {"copy", "matmul", "relu", "adam"} <= {cells[0] for cells in lines}
    titles = {": ".join(cells[:3]) for cells in lines if cells[2] in OURS}
    assert titles == set(expected()["expected"])
    assert {"PyTorch, eager", "PyTorch, graph", "scikit-learn"} <= {cells[2] for cells in lines}


def test_what_is_expected():
    rows = {(row["part"], row["work"], row["contestant"]): row for row in expected()["rows"]}
    step = rows["network", "MLP(100), batch 200", "cukernels"]
    products = 2 * 200 * (2 * 784 * 100 + 3 * 100 * 10)  # no gradient of the samples
    assert step["operations"] == products
    stacked = rows["stack", "64 x MLP(64), batch 200", "cukernels"]
    alone = rows["stack", "1 x MLP(64), batch 200", "cukernels"]
    assert stacked["operations"] == 64 * alone["operations"]
    assert alone["bytes"] < stacked["bytes"] < 64 * alone["bytes"]  # all have the same samples
    assert all(0 < row["figure"] < 1e5 for row in rows.values())
