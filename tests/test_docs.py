"""The manual: its examples are right, its code is Python, and it lists what is public."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("guide/*.rst"))
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("cukernels", "estimators")
    for path in (ROOT / package).rglob("*.py")
    if ">>> " in path.read_text()
)
assert PAGES and MODULES
PUBLIC = ("callbacks", "convert", "datasets", "inspection", "model_selection")
FLAGS = doctest.NORMALIZE_WHITESPACE
quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_examples_of_the_guide(path):
    failures, _ = doctest.testfile(str(path), module_relative=False, optionflags=FLAGS)
    assert failures == 0


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_code_of_the_guide_is_python(path):
    for block in re.findall(r"code-block:: python\n\n((?:(?: {3}.*)?\n)+)", path.read_text()):
        ast.parse(textwrap.dedent(block))


@quiet
@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_the_docstrings(name):
    failures, tried = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert failures == 0 and tried


def test_every_page_of_the_guide_is_in_its_table():
    table = (ROOT / "docs" / "guide" / "index.rst").read_text()
    named = set(re.findall(r"^ {3}(\w+)$", table, re.MULTILINE))
    assert named == {path.stem for path in PAGES} - {"index"}


def test_the_manual_builds_without_warnings(tmp_path):
    """`make docs` does the same; here it is skipped where Sphinx is not installed."""
    pytest.importorskip("sphinx")
    pytest.importorskip("numpydoc")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    run = subprocess.run([*command, ROOT / "docs", tmp_path], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    reference = "".join(path.read_text() for path in (tmp_path / "reference").glob("*.html"))
    for module in ("cukernels", "estimators", *(f"estimators.{name}" for name in PUBLIC)):
        for public in importlib.import_module(module).__all__:
            if public != "OPS":  # the registry, which is a dict
                assert f'id="{module}.{public}"' in reference, public
