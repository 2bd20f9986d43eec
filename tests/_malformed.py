"""What a malformed call may do: work, or say in words what was wrong."""

from __future__ import annotations

import opcode
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sklearn

HOUSE = tuple(str(Path(__file__).parents[1] / name) for name in ("cukernels", "estimators"))
SKLEARN = str(Path(sklearn.__file__).parent)
RAISE = opcode.opmap["RAISE_VARARGS"]


def complaint(call: Callable[[], Any]) -> str:
    """Why a call neither works nor says in words what was wrong; empty where it does.

    In words: a ValueError or TypeError from a `raise` of these packages, or one that validation by
    scikit-learn let out. Warnings of floating-point arithmetic on lines of these packages count
    as a fault.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", category=RuntimeWarning, module="cukernels|estimators")
            call()
    except (ValueError, TypeError) as error:
        if said_in_words(error):
            return ""
        return _told(error)
    except Exception as error:  # the driver has errors of its own
        return _told(error)
    return ""


def said_in_words(error: BaseException) -> bool:
    """Whether the innermost line of these packages raised it, or called scikit-learn's check."""
    frames = list(traceback.walk_tb(error.__traceback__))
    files = [frame.f_code.co_filename for frame, _ in frames]
    last = max((i for i, file in enumerate(files) if file.startswith((*HOUSE, SKLEARN))), default=0)
    if files[last].startswith(SKLEARN):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    raises = trace is not None and trace.tb_frame.f_code.co_code[trace.tb_lasti] == RAISE
    return last == len(files) - 1 and raises


def _told(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {error}"
