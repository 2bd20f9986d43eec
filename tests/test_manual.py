"""The manual as it is built: no warnings, no link that leads nowhere, no page without a link.

The examples of the gallery run in `make docs`, and each by itself in test_examples.py; here their
pages are made without.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from html.parser import HTMLParser
from inspect import ismodule
from pathlib import Path
from shutil import copy, copytree, ignore_patterns
from urllib.parse import unquote, urlsplit

import pytest

from _requirements import require

for extension in (
    *("sphinx", "numpydoc", "pydata_sphinx_theme", "sphinx_copybutton", "sphinx_design"),
    "sphinx_gallery",
):
    require(extension, "docs")

ROOT = Path(__file__).parent.parent
PUBLIC = ("callbacks", "convert", "inspection", "model_selection", "vision")


class Page(HTMLParser):
    """The places of a page that a link can lead to, and where its own links and pictures lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note what a tag is a place for, or leads to."""
        given = dict(attrs)
        self.places |= {given[key] for key in ("id", "name") if given.get(key)}
        target = given.get("href" if tag == "a" else "src" if tag in ("img", "script") else "")
        if target:
            self.links.append(target)


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    """The folder of the built manual, and its pages by their paths.

    It is built of a copy: a build writes into its sources, and another one may be under way there.
    """
    sources = tmp_path_factory.mktemp("sources")
    for name in ("docs", "examples"):
        made = ignore_patterns("_build", "reference", "gallery" if name == "docs" else "")
        copytree(ROOT / name, sources / name, ignore=made)
    copy(ROOT / "pyproject.toml", sources)
    folder = sources / "html"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    run = subprocess.run(
        [*command, "-D", "plot_gallery=0", sources / "docs", folder],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    paths = (path for path in folder.rglob("*.html") if "_static" not in path.parts)
    return folder, {path: Page(path.read_text()) for path in paths}


def leads_to(folder: Path, path: Path, link: str) -> tuple[Path, str] | None:
    """The file and the place in it that a link leads to, or None if it leaves the manual."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    return (target / "index.html" if target.is_dir() else target), unquote(parts.fragment)


def test_no_link_leads_nowhere(manual):
    folder, pages = manual
    lost = []
    for path, page in pages.items():
        for link in page.links:
            found = leads_to(folder, path, link)
            if found is None:
                continue
            target, place = found
            if not target.is_file() or (
                place and target in pages and place not in pages[target].places
            ):
                lost.append(f"{path.relative_to(folder)}: {link}")
    assert lost == []
    assert sum(len(page.links) for page in pages.values()) > 5000


def test_every_page_is_found_from_the_first_one(manual):
    folder, pages = manual
    seen, ahead = set(), [folder / "index.html"]
    while ahead:
        path = ahead.pop()
        if path in pages and path not in seen:
            seen.add(path)
            found = (leads_to(folder, path, link) for link in pages[path].links)
            ahead += [target for target, _ in filter(None, found)]
    assert set(pages) - seen == {folder / "search.html"}  # the theme has a form for it


def test_each_public_name_has_a_page_of_its_own(manual):
    folder, pages = manual
    known: dict[str, object] = {}
    for module in ("cukernels", "estimators", *(f"estimators.{name}" for name in PUBLIC)):
        for public in importlib.import_module(module).__all__:
            thing = getattr(importlib.import_module(module), public)
            if public == "OPS" or ismodule(thing) or thing in known.values():
                continue  # the registry, which is a dict; and what has its page by another name
            known[f"{module}.{public}"] = thing
            page = pages[folder / "reference" / "generated" / f"{module}.{public}.html"]
            assert f"{module}.{public}" in page.places
    fit = pages[folder / "reference/generated/estimators.MLPClassifier.html"].places
    assert "estimators.MLPClassifier.fit" in fit
    assert "estimators.MLPClassifier.set_params" not in fit


def test_the_gallery_shows_each_example_and_the_classes_that_it_uses(manual):
    folder, pages = manual
    index = pages[folder / "gallery" / "index.html"].links
    examples = sorted(path.stem for path in (ROOT / "examples").glob("[0-9]*.py"))
    assert examples and [f"{name}.html" in index for name in examples] == [True] * len(examples)
    links = pages[folder / "reference/generated/estimators.ConvNetClassifier.html"].links
    assert any("gallery/08_mnist.html" in link for link in links)
    links = pages[folder / "gallery" / "08_mnist.html"].links
    assert any("estimators.ConvNetClassifier.html" in link for link in links)


def test_there_is_no_link_to_edit_a_page_before_the_repository_has_an_address(manual):
    folder, _ = manual
    edit = "Edit this page" in (folder / "guide" / "install.html").read_text()
    assert edit == ("Repository" in (ROOT / "pyproject.toml").read_text())
