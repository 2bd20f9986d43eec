"""Lists of other manuals' pages, for links to them; without a network the links are left out.

Sphinx warns of a list that it cannot fetch, and a warning fails the manual. A manual without these
links is as good on a machine without a network, so the lists are fetched here, and kept.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

MANUALS = {
    "python": "https://docs.python.org/3",
    "numpy": "https://numpy.org/doc/stable",
    "scipy": "https://docs.scipy.org/doc/scipy",
    "sklearn": "https://scikit-learn.org/stable",
    "cupy": "https://docs.cupy.dev/en/stable",
}
SECONDS = 5  # that a manual has to answer in
BEGINNING = b"# Sphinx inventory"  # and not, say, the page of a proxy


def fetched(address: str, file: Path) -> bool:
    """Whether `file` is the list of a manual, after an attempt to have it anew."""
    try:
        with urlopen(f"{address}/objects.inv", timeout=SECONDS) as answer:
            inventory = answer.read()
    except (OSError, ValueError):
        return file.exists()
    if not inventory.startswith(BEGINNING):
        return file.exists()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(inventory)
    return True


def mapping(
    folder: Path, manuals: dict[str, str] = MANUALS
) -> dict[str, tuple[str, tuple[str, ...]]]:
    """What `intersphinx_mapping` is to be: the manuals whose lists could be had, now or before."""
    files = {name: folder / f"{name}.inv" for name in manuals}
    with ThreadPoolExecutor(len(manuals)) as pool:
        found = pool.map(lambda name: fetched(manuals[name], files[name]), manuals)
    return {
        name: (f"{manuals[name]}/", (str(files[name]),))
        for name, there in zip(manuals, found, strict=True)
        if there
    }
