"""Refuses to measure other packages than those beside it, whose commit the results would name.

An installation may be of another checkout: `pip install -e` of a copy, into the same environment,
takes the place of the one before, and all seems well.
"""

from __future__ import annotations

from pathlib import Path

import cukernels
import estimators

OWN = Path(__file__).resolve().parents[1]

for package in (cukernels, estimators):
    found = Path(package.__file__ or "").resolve().parents[1]
    if found != OWN:
        raise SystemExit(
            f"{package.__name__} is installed from {found}, and its figures would be taken for "
            f"those of {OWN}: run `pip install -e {OWN}` first"
        )
