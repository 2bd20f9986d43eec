"""The fits of a search in a folder: what is done, and how far the others have come.

A result is a file of its own, named after all that it follows from: estimator, parameters, samples,
rows, scorers and versions. So searches can share a folder, nobody takes a result that is not its
own, and it does not matter which worker has written it. A network that trains is written once a
minute, in a file that goes once its result is there.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import sklearn
from sklearn.base import clone

from cukernels import __version__
from estimators.scikit_learn import Call, PassthroughScorer, function_of
from estimators.search.curves import CURVES, run_with_curves
from estimators.search.fits import arguments_of
from estimators.shared.files import as_path, replacing
from estimators.shared.listeners import listeners_of
from estimators.shared.warnings import warn

_OF_RESULT = (  # the arguments that a result follows from, beside X and y
    *("estimator", "parameters", "train", "test", "scorer", "fit_params", "score_params"),
    *("return_train_score", "error_score"),
)
_MOST_BYTES = 2**20  # of a result
_SECONDS = 60.0  # from one file of a fit that is under way to the next


@dataclass(frozen=True)
class KeptFit:
    """The files of one fit."""

    result_path: Path
    state_path: Path

    def read(self) -> dict[str, Any] | None:
        """Return the result of the fit, or None if it is not there."""
        try:
            if self.result_path.stat().st_size > _MOST_BYTES:
                return None
            result = json.loads(self.result_path.read_text())
        except (OSError, ValueError, RecursionError):
            return None
        is_whole = isinstance(result, dict) and {"fit_error", "test_scores"} <= result.keys()
        return result if is_whole else None

    def write(self, result: Any) -> None:
        """Keep a result, unless the fit has failed: the next search tries that again."""
        if not isinstance(result, dict) or result.get("fit_error", "") is not None:
            return
        try:
            text = json.dumps(result)
            if len(text) > _MOST_BYTES:  # the score of a fit is worth more than its curves
                text = json.dumps({name: result[name] for name in result if name != CURVES})
        except TypeError:  # it holds an estimator or the like
            return
        with replacing(self.result_path) as file:
            file.write(text.encode())
        self.state_path.unlink(missing_ok=True)

    def take_up(self, fit: Any) -> None:
        """Let a fit that is prepared go on from where it was, and write how far it comes."""
        if not hasattr(fit, "keep_in"):
            return
        # what a callback remembers is in no file: only from its beginning is the fit the same
        if any(listener.may_stop for listener in listeners_of(fit.estimator.callbacks)):
            return
        try:
            fit.keep_in(self.state_path, _SECONDS)
        except ValueError as error:
            warn(f"A fit of the search begins anew: {error}")
            self.state_path.unlink(missing_ok=True)


def kept_fits(folder: str | os.PathLike[str], calls: Sequence[Call]) -> list[KeptFit]:
    """Return the files of the fits of a search; the folder is made if it is not there.

    Raises
    ------
    ValueError
        If something that a result follows from cannot be told from others, as it cannot be pickled.
    OSError
        If the folder cannot be made, or not be written to.
    """
    path = as_path(folder)
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(f"the folder {str(path)!r} of the search cannot be written to")
    samples: dict[tuple[int, int], str] = {}
    kept = []
    for call in calls:
        a = arguments_of(call)
        X, y = a.get("X"), a.get("y")
        if (id(X), id(y)) not in samples:
            samples[id(X), id(y)] = _hashed("X or y", (X, y))
        of = {name: a.get(name) for name in _OF_RESULT} | {"estimator": _silent(a["estimator"])}
        if isinstance(a.get("scorer"), PassthroughScorer):  # it has the estimator in it
            of["scorer"] = None
        versions = (__version__, sklearn.__version__, function_of(call).__name__)
        name = _hashed(
            "the estimator, a parameter or a scorer", (samples[id(X), id(y)], of, versions)
        )
        kept.append(KeptFit(path / f"{name}.json", path / f"{name}.ckpt"))
    return kept


def _silent(estimator: Any) -> Any:
    """Return a clone that prints nothing: what a fit prints is no part of its result."""
    names = clone(estimator).get_params()
    own = {name: 0 for name in names if name.rpartition("__")[2] == "verbose"}
    return clone(estimator).set_params(**own)


def _hashed(what: str, of: Any) -> str:
    try:
        return joblib.hash(of)
    except Exception as error:  # pickle raises many kinds
        raise ValueError(
            f"{what} of the search cannot be pickled, so that its results cannot be told from "
            f"others: leave out `checkpoint` ({type(error).__name__}: {error})"
        ) from error


def run_kept(kept: KeptFit, call: Call) -> Any:
    """Run a call of scikit-learn's, or return the result that is there, and keep it."""
    result = kept.read()
    if result is None:
        result = run_with_curves(call)
        with contextlib.suppress(OSError):  # the search itself writes it again
            kept.write(result)
    return result
