"""What a verbose fit or search shows: lines, or a progress bar."""

from __future__ import annotations

import sys
from typing import Any

from estimators.scikit_learn import StrOptions
from estimators.shared.bars import Bar, open_bar, say

VERBOSE = ["verbose", StrOptions({"bar"})]  # what the parameter may be


class Reporter:
    """Shows how a fit goes while it runs, within ``with reporter:``.

    Parameters
    ----------
    verbose : int or "bar"
        0 shows nothing. A greater number prints a line for each epoch, in scikit-learn's words.
        "bar" shows a bar, by tqdm or rich; where both are missing, it warns and prints the lines.
    total : int
        How many epochs or iterations are planned.
    unit : str, default="epoch"
        What these are called.
    backend : {"auto", "tqdm", "rich"}, default="auto"
        What draws the bar; see `open_bar`.
    """

    def __init__(
        self, verbose: int | str, total: int, unit: str = "epoch", backend: str = "auto"
    ) -> None:
        self._wants_bar = verbose == "bar"
        self._lines = not self._wants_bar and bool(verbose)
        self._total, self._unit, self._backend = total, unit, backend
        self._bar: Bar | None = None
        self._n_done = 0
        self._shown: dict[str, Any] = {"loss": ""}  # what is written beside the bar
        self._rate: float | None = None

    def learning_rate(self, rate: float) -> None:
        """Show the learning rate of the last step beside the bar."""
        self._rate = rate

    def epoch(self, n_iter: int, loss: float) -> None:
        """Show an epoch that ended with this mean loss."""
        if self._lines:
            say(f"Iteration {n_iter}, loss = {loss:.8f}")
        if self._bar is not None:
            self._shown["loss"] = f"{loss:.4f}"
            if self._rate is not None:
                self._shown["rate"] = f"{self._rate:.2g}"
            self._n_done = n_iter
            self._bar.show(n_iter, self._shown)

    def score(self, score: float) -> None:
        """Show the score that the epoch's parameters reach on the validation set."""
        if self._lines:
            say(f"Validation score: {score:f}")
        if self._bar is not None:
            self._shown["validation"] = f"{score:.4f}"
            self._bar.show(self._n_done, self._shown, now=True)

    def note(self, message: str) -> None:
        """Show a message in between, such as why the fit stops."""
        if self._lines:
            say(message)
        if self._bar is not None:
            say(message, sys.stderr)  # where the bar is

    def __enter__(self) -> Reporter:
        """Show the bar.

        It is not shown earlier, because many fits may be prepared and then run together, and these
        show no bar of their own.
        """
        if self._wants_bar:
            self._bar = open_bar(self._total, self._unit, self._backend)
            self._lines = self._bar is None
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
