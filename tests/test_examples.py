"""Every example runs, at small settings, and draws its picture; the gallery shows them all."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from _requirements import require

matplotlib = require("matplotlib.image", "plot")

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))
SMALL = 300_000  # bytes


def test_there_are_ten_in_the_order_of_the_lectures_and_two_of_searches():
    assert [path.name[:3] for path in EXAMPLES] == [f"{k:02}_" for k in range(1, 13)]
    assert all("search" in path.stem for path in EXAMPLES[10:])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs_and_draws_its_picture(path, tmp_path):
    if "dask" in path.read_text():
        require("distributed", "cluster")
    environment = {k: v for k, v in os.environ.items() if k != "CUKERNELS_DATA"}
    command = [sys.executable, "-W", "error::UserWarning", path, "--quick", "--out", tmp_path]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    (picture,) = tmp_path.iterdir()
    assert picture.name == f"{path.stem}.png"
    uses_digits = " load(" in path.read_text()
    assert uses_digits == ("these are scikit-learn's digits" in run.stderr)
    pixels = matplotlib.imread(picture)
    assert min(pixels.shape[:2]) >= 200
    assert pixels[..., :3].std() > 0.05  # not one colour


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_its_picture_is_in_the_gallery(path):
    picture = ROOT / "examples" / "gallery" / f"{path.stem}.png"
    assert picture.stat().st_size < SMALL


def test_the_page_shows_what_the_docstrings_say():
    """`python examples/_page.py` writes it anew."""
    page = runpy.run_path(str(ROOT / "examples" / "_page.py"))["page"]()
    assert (ROOT / "examples" / "README.md").read_text() == page
    for path in EXAMPLES:
        assert f"(gallery/{path.stem}.png)" in page
