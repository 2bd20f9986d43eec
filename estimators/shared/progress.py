"""What a verbose fit or search shows: lines, or a progress bar."""

from __future__ import annotations

import sys
from typing import Any

from estimators.scikit_learn import StrOptions
from estimators.shared.warnings import warn

VERBOSE = ["verbose", StrOptions({"bar"})]  # what the parameter may be


class Reporter:
    """Shows how a fit goes while it runs, within ``with reporter:``.

    Parameters
    ----------
    verbose : int or "bar"
        0 shows nothing. A greater number prints a line for each epoch, in scikit-learn's words.
        "bar" shows a bar, by tqdm; where tqdm is missing, it warns and prints the lines.
    total : int
        How many epochs or iterations are planned.
    unit : str, default="epoch"
        What these are called.
    """

    def __init__(self, verbose: int | str, total: int, unit: str = "epoch") -> None:
        self._wants_bar = verbose == "bar"
        self._lines = not self._wants_bar and bool(verbose)
        self._total, self._unit = total, unit
        self._bar: Any = None
        self._shown = {"loss": ""}  # what is written beside the bar

    def learning_rate(self, rate: float) -> None:
        """Show the learning rate of the last step beside the bar."""
        self._shown["rate"] = f"{rate:.2g}"

    def epoch(self, n_iter: int, loss: float) -> None:
        """Show an epoch that ended with this mean loss."""
        if self._lines:
            print(f"Iteration {n_iter}, loss = {loss:.8f}")  # noqa: T201
        if self._bar is not None:
            self._shown["loss"] = f"{loss:.4f}"
            self._bar.set_postfix(self._shown, refresh=False)
            self._bar.update()

    def score(self, score: float) -> None:
        """Show the score that the epoch's parameters reach on the validation set."""
        if self._lines:
            print(f"Validation score: {score:f}")  # noqa: T201
        if self._bar is not None:
            self._shown["validation"] = f"{score:.4f}"
            self._bar.set_postfix(self._shown)

    def note(self, message: str) -> None:
        """Show a message in between, such as why the fit stops."""
        if self._lines:
            print(message)  # noqa: T201
        if self._bar is not None:
            self._bar.write(message, file=sys.stderr)

    def __enter__(self) -> Reporter:
        """Show the bar.

        It is not shown earlier, because many fits may be prepared and then run together, and these
        show no bar of their own.
        """
        if self._wants_bar:
            self._bar = progress_bar(total=self._total, unit=self._unit)
            self._lines = self._bar is None
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()


def progress_bar(*, total: int, unit: str) -> Any:
    """Return a bar by tqdm, or warn and return None where tqdm is not installed.

    Parameters
    ----------
    total : int
        At how many steps the bar is full.
    unit : str
        What one step is called.

    Warns
    -----
    UserWarning
        If tqdm is missing.
    """
    try:
        from tqdm.auto import tqdm
    except ImportError:
        warn(
            "A progress bar needs tqdm, which is not installed: lines are printed instead. Install "
            "it with `pip install 'cukernels[progress]'`.",
        )
        return None
    return tqdm(total=total, unit=unit)
