"""A short run of `endurance.py`: fifty kills of each kind of fit, and a hundred fits in a row."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("endurance.py")


def counted(*arguments: str) -> dict[str, dict[str, int]]:
    """What the script counts, by the name of a fit and what was done to it."""
    command = [sys.executable, SCRIPT, "--minutes", "0", *arguments]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    lines = (line.split(": ") for line in run.stdout.splitlines())
    return {
        name: {what: int(n) for n, what in re.findall(r"(-?\d+) ([^,]+)", counts)}
        for name, counts in lines
    }


def check(found: dict[str, dict[str, int]], kills: int) -> None:
    assert len(found) == 9
    for name, counts in found.items():
        if name.endswith("killed"):
            assert counts["kills"] >= counts["resumes"] >= kills, name
            assert counts["differences"] == counts["left over"] == 0, name
        elif name.endswith("interrupted"):
            assert counts["interrupts"] >= counts["within the fit"] >= kills, name
            assert counts["differences"] == 0, name
        else:
            assert counts["more threads"] <= 0 and counts["more files"] <= 0, name
            assert counts["more kB of Python's"] < 100, name
            assert counts.get("more kB", 0) < 2000 and counts.get("more kB on the device", 0) <= 0


def test_fits_that_are_killed_interrupted_and_repeated():
    found = counted("--kills", "50", "--fits", "100")
    check(found, 50)
    assert sum(counts.get("within a write", 0) for counts in found.values()) > 3


@pytest.mark.gpu
def test_on_a_gpu(cupy):
    check(counted("--kills", "3", "--fits", "20", "--gpu"), 3)
