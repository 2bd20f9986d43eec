"""Warnings that point at the line in the user's code that they are about."""

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
    """Warn as `warnings.warn` does, and point at the last line outside of these packages.

    scikit-learn and joblib count among these packages: their decorators, pipelines and searches
    call ours, and the line in them that does so says nothing to a user. (From Python 3.12 on,
    `skip_file_prefixes` does the same.)

    Parameters
    ----------
    message : str
        The text of the warning.
    category : type of warning, default=UserWarning
        The class of the warning.
    """
    level = 1
    outside: FrameType | None = sys._getframe()
    while outside is not None and outside.f_code.co_filename.startswith(_FOLDERS):
        level, outside = level + 1, outside.f_back
    # a thread that C code has started may have no frame outside of these packages
    warnings.warn(message, category, stacklevel=1 if outside is None else level)
