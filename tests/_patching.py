"""scikit-learn with names replaced, for the length of a test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from estimators import patch_sklearn, unpatch_sklearn

ROOT = Path(__file__).parents[1]


@pytest.fixture
def patched():
    """All names replaced, without a word."""
    patch_sklearn(verbose=False)
    yield
    unpatch_sklearn()


def python(*arguments, cwd=None, text=None, **environment):
    """Run a new Python, which finds the packages of this checkout."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"} | environment
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        input=text,
        env=environment,
    )


def printed(code, *options):
    """What a new Python prints that runs this code."""
    run = python(*options, "-c", code)
    assert run.returncode == 0, run.stderr
    return run.stdout
