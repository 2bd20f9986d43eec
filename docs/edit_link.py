"""Where a page of the manual can be edited, once the repository has an address.

`[project.urls]` of pyproject.toml says it as `Repository`, and no other place does. Without it
there are no such links.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path


def repository(pyproject: Path) -> str:
    """The address of the repository, or nothing."""
    urls = tomllib.loads(pyproject.read_text())["project"].get("urls", {})
    return urls.get("Repository", "").rstrip("/")


def source_of(page: str) -> str:
    """The file that a page is made of, or nothing for those that are made of docstrings."""
    if page == "index" or page.startswith("guide/"):
        return f"docs/{page}.rst"
    if re.match(r"gallery/\d\d_", page):
        return f"examples/{page.partition('/')[2]}.py"
    return "examples/GALLERY_HEADER.rst" if page == "gallery/index" else ""


def edit_address(repository: str, page: str) -> str:
    """The address at which GitHub and GitLab edit the source of a page, or nothing."""
    source = source_of(page)
    return f"{repository}/edit/main/{source}" if repository and source else ""
