"""The page "How it is built" names files that are there, in the order in which they are met."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from _walk import Met, files_of, fit_an_mlp, walk, ways_back
from cukernels import OPS, matmul
from cukernels.activations.fused import fused
from cukernels.gpu.kernel import KERNELS
from cukernels.gpu.source import source

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "guide"
PAGE = (GUIDE / "how_it_is_built.rst").read_text()
FIT, MATMUL = PAGE.split("The way of an array through matmul\n")


def numbered(section: str) -> list[str]:
    """The file that each item of a numbered list begins with."""
    return re.findall(r"^\d+\. ``([\w/]+\.py)``", section, re.MULTILINE)


def assert_met_in_this_order(named: list[str], walked: list[Met]) -> None:
    """In each file there is a function that is first called after one of the file before it."""
    assert set(named) - set(files_of(walked)) == set(), "no call leads through it"
    place = 0
    for file in named:
        later = [i for i, one in enumerate(walked) if i >= place and one.file == file]
        assert later, f"{file} is not met after the one named before it"
        place = later[0]


def test_every_file_that_it_names_is_there():
    paths = re.findall(r"``((?:cukernels|estimators|tests)/[\w/]+\.\w+)``", PAGE)
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).is_file()] == []
    names = {path.name for path in ROOT.rglob("[ce]*/**/*.*")}
    drawn = "".join((GUIDE / f"{name}.svg").read_text() for name in ("fit", "matmul"))
    for name in re.findall(r"``(\w+\.\w+)``", PAGE) + re.findall(r">(\w+\.(?:py|cuh?))<", drawn):
        assert name in names, name


def test_the_drawings_are_those_of_the_script(tmp_path):
    script = runpy.run_path(str(ROOT / "docs" / "drawings.py"))
    for name in ("fit", "matmul"):
        drawn = "\n".join(line for part in script[name]() for line in part)
        assert drawn in (GUIDE / f"{name}.svg").read_text(), "run docs/drawings.py"


def test_the_walk_through_fit():
    fit_an_mlp()
    named = numbered(FIT)
    assert len(named) == 16
    assert_met_in_this_order(named, walk(fit_an_mlp))


def test_the_walk_through_matmul(cupy, monkeypatch):
    for instance in (one for kernel in KERNELS for one in kernel.instances.values()):
        monkeypatch.setattr(instance, "_functions", {})  # as if none had been launched
    a, b = (cupy.asarray(np.ones(s, np.float32)) for s in ((37, 29), (29, 11)))
    assert OPS["matmul"].cuda  # imported, so that the walk is not that of its imports
    fused.cache_clear()
    source.cache_clear()
    first = walk(lambda: matmul(a, b, activation="tanh"))
    named = numbered(MATMUL)
    assert len(named) == 8
    assert_met_in_this_order(named, first)
    again = files_of(walk(lambda: matmul(a, b, activation="tanh")))
    assert len(set(again) & set(named)) <= len(named) / 2 + 1


def test_a_walk_counts_what_it_is_to_count():
    fit_an_mlp()
    walked = walk(fit_an_mlp)
    assert len({(one.file, one.name) for one in walked}) == len(walked)
    for one, other in ways_back(walked):
        assert one.file != other.file
        assert other.file in {m.file for m in walked[: walked.index(other)]}
    assert any(one.is_upwards for one in walked) and not walked[0].is_upwards
    with pytest.raises(ZeroDivisionError):
        walk(lambda: 1 / 0)
    assert walk(lambda: None) == []
