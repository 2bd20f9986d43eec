"""``python -m estimators script.py``: run a program for scikit-learn with this package's classes.

``python -m estimators -m module`` and ``-c text`` run what Python would run by these options.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from estimators.patching.patch import patch_sklearn
from estimators.patching.script import run_command, run_module, run_script

_WITH_VALUE = "--only"
_RUN = "-m", "-c"


def main(arguments: Sequence[str] | None = None) -> None:
    """Replace names of scikit-learn, and run the program that the command line names.

    What follows the program is its own, as with Python itself.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    number = _length_of_our_options(given)
    own, rest = given[:number], given[number:]
    parser = _parser()
    options = parser.parse_args(own)
    kind = rest.pop(0) if rest and rest[0] in _RUN else ""
    if not rest:
        parser.error(f"{kind or 'there'} {'needs an argument' if kind else 'is no program to run'}")
    try:
        patch_sklearn(options.only, verbose=not options.quiet)
    except ValueError as error:
        parser.error(str(error))
    program, *its_arguments = rest
    {"-m": run_module, "-c": run_command}.get(kind, run_script)(program, its_arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m estimators",
        usage="python -m estimators [-q] [--only NAMES] (script.py | -m module | -c text) ...",
        description="Runs a program that was written for scikit-learn, unchanged, with the "
        "classes and searches of this package in the place of scikit-learn's.",
        epilog="What follows the program are its own arguments. '-' runs the standard input.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="do not say what was replaced, and what was not"
    )
    parser.add_argument(
        "--only", metavar="NAMES", type=lambda text: text.split(","),
        help="replace these alone, as LogisticRegression,GridSearchCV",
    )  # fmt: skip
    return parser


def _length_of_our_options(arguments: list[str]) -> int:
    """Return how many arguments come before the program: options of ours, and their values."""
    number = 0
    while number < len(arguments):
        word = arguments[number]
        if word in _RUN or word == "-" or not word.startswith("-"):
            break
        number += 2 if word == _WITH_VALUE else 1
    return number


if __name__ == "__main__":
    main()
