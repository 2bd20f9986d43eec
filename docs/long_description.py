"""The README as an index of packages shows it, where no link may lead to a file beside it.

    python docs/long_description.py FOLDER [TAG]

rewrites the README of a copy of the repository, which `make dist` builds of. Links and pictures
lead to the repository, whose address is `Repository` in `[project.urls]` of pyproject; as long as
it has none, the pictures are left out, and links are their text.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from edit_link import repository

_AWAY = r"https?:|#"  # how a link begins that needs no file
_LINK = rf"\[([^\[\]]+)\]\((?!{_AWAY})([^)]+)\)"
_PICTURE = rf"""(?:<a\s[^>]*>)?<img\s[^>]*\bsrc="(?!{_AWAY})[^>]*>(?:</a>)?\n?"""


def long_description(readme: str, address: str, tag: str) -> str:
    """Return a README whose links and pictures are at an address, or which has none of them.

    Parameters
    ----------
    readme : str
        The text, in Markdown.
    address : str
        The repository's, or nothing.
    tag : str
        The tag or the branch whose files are meant.
    """
    if not address:
        readme = re.sub(_PICTURE, "", readme)
        readme = re.sub(r"<p>\s*</p>\n*", "", readme)
        return re.sub(_LINK, r"\1", readme)
    readme = re.sub(_LINK, rf"[\1]({address}/blob/{tag}/\2)", readme)
    readme = re.sub(rf'\bhref="(?!{_AWAY})', f'href="{address}/blob/{tag}/', readme)
    return re.sub(rf'\bsrc="(?!{_AWAY})', f'src="{address}/raw/{tag}/', readme)


if __name__ == "__main__":
    folder, tag = Path(sys.argv[1]), (sys.argv[2:] or ["main"])[0]
    path = folder / "README.md"
    text = long_description(path.read_text(), repository(folder / "pyproject.toml"), tag)
    path.write_text(text)
