"""The walk of a call through the packages, as somebody takes it who reads each function once.

``python tests/_walk.py`` counts the walk of X through `MLPClassifier.fit`, and lists the calls that
lead upwards.
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
    """A function, where it is first called: from which file, and whether that is a call upwards.

    A call leads upwards if it leads into another file that waits already for a call to return.
    """

    file: str
    name: str
    depth: int
    caller: str
    is_upwards: bool


def walk(action: Callable[[], object]) -> list[Met]:
    """Functions of the packages in the order in which they are first called."""
    met: dict[tuple[str, str], Met] = {}
    waiting: list[str] = []

    def hook(frame, event: str, _: object) -> None:
        code = frame.f_code
        if event not in ("call", "return") or not code.co_filename.startswith(PACKAGES):
            return
        if event == "return":
            waiting.pop()
            return
        file, name = code.co_filename.removeprefix(f"{ROOT}/"), code.co_qualname
        caller = waiting[-1] if waiting else ""
        if code.co_name != "<module>":
            is_upwards = file != caller and file in waiting
            met.setdefault((file, name), Met(file, name, len(waiting) + 1, caller, is_upwards))
        waiting.append(file)

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
    back = [other for _, other in ways_back(walked)]
    goes_on = sum(one.caller == one.file for one in back)
    upwards = [one for one in walked if one.is_upwards]
    for one in upwards:
        print(f"upwards: {one.caller} -> {one.file} {one.name}")
    print(
        f"{len(walked)} functions in {len(files_of(walked))} files, {len(changes_of(walked))} "
        f"changes of file, {len(back)} of them back, depth {max(one.depth for one in walked)}\n"
        f"Of the ways back {goes_on} lead to a caller that goes on, "
        f"{sum(one.is_upwards for one in back)} upwards, the others down into a file met before."
    )
