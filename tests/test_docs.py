"""The manual's text: its examples are right, its code is Python, its reference is complete."""

from __future__ import annotations

import ast
import builtins
import doctest
import importlib
import itertools
import re
import runpy
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import estimators

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("guide/*.rst"))
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("cukernels", "estimators")
    for path in (ROOT / package).rglob("*.py")
    if ">>> " in path.read_text()
)
assert PAGES and MODULES
BLOCK = r"^( *)\.\. code-block:: python\n\n((?:\1 {3}.*\n|\n)+)"
FLAGS = doctest.NORMALIZE_WHITESPACE
quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
each_page = pytest.mark.parametrize("path", [DOCS / "index.rst", *PAGES], ids=lambda p: p.stem)


@quiet
@each_page
def test_the_examples_of_the_guide(path):
    failures, _ = doctest.testfile(str(path), module_relative=False, optionflags=FLAGS)
    assert failures == 0


@each_page
def test_the_code_of_the_guide_is_python(path):
    text = path.read_text()
    blocks = list(re.finditer(BLOCK, text, re.M))
    assert len(blocks) == text.count("code-block:: python")
    for block in blocks:
        ast.parse(textwrap.dedent(block[2]))


def named(nodes):
    """The names that are bound in some code, and those that are looked up."""
    bound, used = set(), set()
    for node in nodes:
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
    return bound, used


@each_page
def test_the_code_of_the_guide_has_all_that_it_names(path):
    """So that whoever copies it from the top of a page has no name without an import."""
    text = path.read_text()
    parts = [(m.start(), textwrap.dedent(m[2])) for m in re.finditer(BLOCK, text, re.M)]
    lines = text.splitlines(keepends=True)
    places = [0, *itertools.accumulate(map(len, lines))]
    parts += [(places[e.lineno], e.source) for e in doctest.DocTestParser().get_examples(text)]
    known = set(vars(builtins))
    for _, code in sorted(parts):
        bound, used = named(ast.walk(ast.parse(code)))
        known |= bound
        assert used <= known, code


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), *PAGES], ids=lambda p: p.name)
def test_nothing_stands_twice(path):
    """As it does where two changes were merged that had added the same."""
    text = re.sub(r"^```.*?^```|^ *>>> .*?$", "", path.read_text(), flags=re.M | re.S)
    headings = re.findall(r"^#+ .+|^.+(?=\n[-=~]{4,}$)", text, re.M)
    rows = re.findall(r"^\| *(`[^`]+`(?:, `[^`]+`)*) *\|", text, re.M)
    rows = [name for row in rows for name in row.split(", ")]
    paragraphs = [p for p in map(str.strip, text.split("\n\n")) if len(p) > 60]
    if path.name == "CHANGELOG.md":
        headings = []  # each release has the same
    for parts in (headings, rows, paragraphs):
        assert [part for part in parts if parts.count(part) > 1] == []


@quiet
@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_the_docstrings(name):
    failures, tried = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert failures == 0 and tried


def test_every_page_of_the_guide_is_in_its_table():
    table = (DOCS / "guide" / "index.rst").read_text()
    named = set(re.findall(r"^ {3}(\w+)$", table, re.MULTILINE))
    assert named == {path.stem for path in PAGES} - {"index"}


@quiet
def test_the_first_fit_of_the_first_page_and_our_net_of_the_comparison_run(capsys):
    for page, number in ((DOCS / "index.rst", 0), (DOCS / "guide/from_skorch_and_keras.rst", 0)):
        blocks = re.findall(r"code-block:: python\n\n((?: {9}.*\n|\n)+)", page.read_text())
        exec(textwrap.dedent(blocks[number]), {})
        assert float(capsys.readouterr().out) > 0.95


# The reference ------------------------------------------------------------------------------------

REFERENCE = runpy.run_path(str(DOCS / "reference.py"))


def test_the_four_estimators_come_first_and_everything_public_has_its_place():
    (first, names), *others = REFERENCE["modules"]()
    assert first == "estimators"
    groups = REFERENCE["groups"](first, names)
    assert next(iter(groups.values())) == [
        "MLPClassifier", "ConvNetClassifier", "LogisticRegression", "Perceptron",
    ]  # fmt: skip
    assert sorted(sum(groups.values(), [])) == sorted(estimators.__all__)
    pages = dict(others)
    for name in ("callbacks", "convert", "inspection", "model_selection"):
        module = importlib.import_module(f"estimators.{name}")
        assert pages[module.__name__] == sorted(module.__all__)


def test_a_new_module_and_a_new_function_appear_by_themselves(tmp_path, monkeypatch):
    code = "__all__ = ['Novelty']\nclass Novelty:\n    'New.'\n"
    (tmp_path / "novelties.py").write_text(code)
    monkeypatch.setattr(estimators, "__path__", [*estimators.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    assert dict(REFERENCE["modules"]())["estimators.novelties"] == ["Novelty"]
    monkeypatch.setattr(estimators, "patch_it", REFERENCE["public"], raising=False)
    groups = REFERENCE["groups"]("estimators", ["MLPClassifier", "patch_it"])
    assert groups == {"Classifiers": ["MLPClassifier"], "Functions": ["patch_it"]}


def test_a_page_names_what_is_scikit_learns():
    theirs = set(REFERENCE["theirs"](estimators.MLPClassifier))
    assert {"set_params", "get_metadata_routing", "set_score_request"} <= theirs
    assert not {"fit", "predict", "partial_fit", "from_weights"} & theirs


# What conf.py asks for ----------------------------------------------------------------------------


class Manual(BaseHTTPRequestHandler):
    """A manual that lists its pages, beside one that is no manual."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        is_manual = self.path == "/manual/objects.inv"
        self.wfile.write(b"# Sphinx inventory version 2\n" if is_manual else b"<html>sign in")

    def log_message(self, *arguments):
        """Print nothing."""


def test_lists_of_other_manuals_are_fetched_kept_and_left_out(tmp_path):
    mapping = runpy.run_path(str(DOCS / "inventories.py"))["mapping"]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Manual)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    manuals = {"there": f"{address}/manual", "proxy": f"{address}/page"}
    file = str(tmp_path / "kept" / "there.inv")
    expected = {"there": (f"{address}/manual/", (file,))}
    assert mapping(tmp_path / "kept", manuals) == expected
    server.shutdown()
    server.server_close()
    assert mapping(tmp_path / "kept", manuals) == expected  # without a network
    assert mapping(tmp_path / "never", manuals) == {}


def test_links_to_edit_a_page_lead_to_its_source(tmp_path):
    functions = runpy.run_path(str(DOCS / "edit_link.py"))
    pages = ["index", *(f"guide/{path.stem}" for path in PAGES), "gallery/index"]
    pages += [f"gallery/{path.stem}" for path in (ROOT / "examples").glob("[0-9]*.py")]
    for page in pages:
        address = functions["edit_address"]("https://example.org/us", page)
        root, _, source = address.partition("/edit/main/")
        assert root == "https://example.org/us" and (ROOT / source).is_file()
        assert functions["edit_address"]("", page) == ""
    assert functions["edit_address"]("https://example.org/us", "reference/ops") == ""

    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text("[project]\nname = 'x'\n")
    assert functions["repository"](pyproject) == ""
    pyproject.write_text("[project]\n[project.urls]\nRepository = 'https://example.org/us/'\n")
    assert functions["repository"](pyproject) == "https://example.org/us"
