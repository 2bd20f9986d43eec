"""What a search shows while it runs: the fits done, the epoch, the best score so far."""

from __future__ import annotations

from typing import Any

import numpy as np

from estimators.scikit_learn import StrOptions
from estimators.shared.bars import BACKENDS, Bar, open_bar, say

_NAMES = {"bar", "lines", *BACKENDS[1:]}
PROGRESS = ["boolean", StrOptions(_NAMES)]  # what the parameter may be


class SearchProgress:
    """Shows a bar for the fits of a search, or a line for each fit.

    Parameters
    ----------
    n_fits : int, default=0
        How many fits are planned.
    progress : bool or {"bar", "tqdm", "rich", "lines"}, default=False
        False shows nothing. True and "bar" show a bar by what is installed, "tqdm" and "rich" one
        by that package, and "lines" prints a line a fit, as a bar does whose package is missing.

    Raises
    ------
    ValueError
        If `progress` is another name.
    """

    def __init__(self, n_fits: int = 0, progress: bool | str = False) -> None:
        if isinstance(progress, str) and progress not in _NAMES:
            raise ValueError(
                f"progress must be a bool or one of {sorted(_NAMES)}, got {progress!r}"
            )
        self._n_fits, self._n_done = n_fits, 0
        self._is_shown = bool(progress)
        self._bar: Bar | None = None
        self._shown: dict[str, Any] = {}
        self._best = -np.inf
        self._epoch = 0
        if progress and progress != "lines":
            backend = progress if progress in BACKENDS else "auto"
            self._bar = open_bar(n_fits, "fit", str(backend))

    def begin(self, n_models: int) -> None:
        """Note that a stack of models begins to train."""
        self._epoch = 0
        self._shown["stack"] = n_models

    def epoch(self, n_training: int, loss: float) -> None:
        """Show the end of an epoch: how many models still train, and their lowest loss."""
        if self._bar is None:
            return
        self._epoch += 1
        self._shown |= {"training": n_training, "epoch": self._epoch, "loss": f"{loss:.4f}"}
        self._bar.show(self._n_done, self._shown, now=True)

    def scored(self, result: Any) -> None:
        """Show that a fit is done, for which scikit-learn's function returned `result`."""
        if not self._is_shown:
            return
        self._n_done += 1
        scores = result.get("test_scores") if isinstance(result, dict) else None
        # of several metrics the first is shown
        first = next(iter(scores.values()), None) if isinstance(scores, dict) else scores
        if first is not None and first > self._best:
            self._best = first
            self._shown["best score"] = f"{first:.4f}"
        if self._bar is None:
            best = f", best score = {self._best:.4f}" if np.isfinite(self._best) else ""
            say(f"Fit {self._n_done} of {self._n_fits} done{best}")
            return
        self._bar.show(self._n_done, self._shown)

    def __enter__(self) -> SearchProgress:
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
