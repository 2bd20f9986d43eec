"""Warnings that point at the line of the user's which they are about."""

from __future__ import annotations

import os
import sys
import warnings
from types import FrameType

import joblib
import sklearn

import cukernels

_FOLDERS = tuple(
    os.path.dirname(str(package.__file__)) + os.sep
    for package in (sys.modules[__name__.partition(".")[0]], cukernels, sklearn, joblib)
)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn as `warnings.warn` does, at the last line before these packages were entered.

    scikit-learn and joblib count among them: their decorators, pipelines and searches call us, and
    the line in them that did so says nothing to a user. (Python has `skip_file_prefixes` for this
    from 3.12 on.)

    Parameters
    ----------
    message : str
        What to tell.
    category : type of warning, default=UserWarning
        Its class.
    """
    level = 1
    outside: FrameType | None = sys._getframe()
    while outside is not None and outside.f_code.co_filename.startswith(_FOLDERS):
        level, outside = level + 1, outside.f_back
    # a thread that C has started may have no other line than this one
    warnings.warn(message, category, stacklevel=1 if outside is None else level)
