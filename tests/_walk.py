"""The walk of a call through the packages, as somebody takes it who reads each function once.

``python tests/_walk.py`` counts the walk of X through `MLPClassifier.fit`, and lists where it leads
back to a file that was met before.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PACKAGES = tuple(f"{ROOT / name}/" for name in ("cukernels", "estimators"))


class Met(NamedTuple):
    """A function, where it is first called."""

    file: str
    name: str
    depth: int


def walk(action: Callable[[], object]) -> list[Met]:
    """Functions of the packages in the order in which they are first called."""
    met: dict[tuple[str, str], Met] = {}
    depth = 0

    def hook(frame, event: str, _: object) -> None:
        nonlocal depth
        code = frame.f_code
        if event not in ("call", "return") or not code.co_filename.startswith(PACKAGES):
            return
        depth += 1 if event == "call" else -1
        if event == "call" and code.co_name != "<module>":
            file = str(Path(code.co_filename).relative_to(ROOT))
            met.setdefault((file, code.co_qualname), Met(file, code.co_qualname, depth))

    sys.setprofile(hook)
    try:
        action()
    finally:
        sys.setprofile(None)
    return list(met.values())


def files_of(met: list[Met]) -> list[str]:
    """The files of a walk, in the order in which they are first met."""
    return list(dict.fromkeys(one.file for one in met))


def changes_of(met: list[Met]) -> list[tuple[Met, Met]]:
    """Functions that follow each other in a walk and stand in different files."""
    pairs = zip(met, met[1:], strict=False)
    return [(one, other) for one, other in pairs if one.file != other.file]


def ways_back(met: list[Met]) -> list[tuple[Met, Met]]:
    """The changes of file that lead to a file which was met before."""
    first = {file: next(i for i, m in enumerate(met) if m.file == file) for file in files_of(met)}
    return [(one, other) for one, other in changes_of(met) if met[first[other.file]] is not other]


def fit_an_mlp() -> None:
    """Fit a network to digits for a few epochs."""
    from sklearn.datasets import load_digits

    from estimators import MLPClassifier

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        MLPClassifier(max_iter=5, random_state=0).fit(*load_digits(return_X_y=True))


if __name__ == "__main__":
    fit_an_mlp()  # what happens in the first call only, such as imports, is no part of the walk
    walked = walk(fit_an_mlp)
    back = ways_back(walked)
    for one, other in back:
        print(f"{one.file} {one.name} -> {other.file} {other.name}")
    print(
        f"{len(walked)} functions in {len(files_of(walked))} files, {len(changes_of(walked))} "
        f"changes of file, {len(back)} of them back, depth {max(one.depth for one in walked)}"
    )
