"""What a verbose fit shows: a line an epoch, or a progress bar."""

from __future__ import annotations

import sys
from typing import Any


class Reporter:
    """Tells how a training goes.

    Parameters
    ----------
    verbose : int
        0: nothing. 1: a line an epoch, in scikit-learn's words. 2: a bar, by tqdm.
    total : int
        Epochs or iterations planned.
    unit : str, default="epoch"
        What they are called.

    Raises
    ------
    ImportError
        If a bar is asked for and tqdm is missing.
    """

    def __init__(self, verbose: int, total: int, unit: str = "epoch") -> None:
        self._lines = int(verbose) == 1
        self._bar: Any = None
        self._n_iter = 0
        self._shown = {"loss": ""}  # beside the bar
        if int(verbose) >= 2:
            try:
                from tqdm.auto import tqdm
            except ImportError as error:
                raise ImportError(
                    "verbose=2 shows a progress bar by tqdm, which is not installed. "
                    "Install it with `pip install 'cukernels[progress]'`, or use verbose=1."
                ) from error
            self._bar = tqdm(total=total, unit=unit)

    def learning_rate(self, rate: float) -> None:
        """The last step had this learning rate."""
        self._shown["rate"] = f"{rate:.2g}"

    def epoch(self, n_iter: int, loss: float) -> None:
        """An epoch ended with this mean loss."""
        if self._lines:
            print(f"Iteration {n_iter}, loss = {loss:.8f}")  # noqa: T201
        if self._bar is not None:
            self._shown["loss"] = f"{loss:.4f}"
            self._bar.set_postfix(self._shown, refresh=False)
            self._bar.update()

    def score(self, score: float) -> None:
        """The epoch's parameters reach this score on the validation set."""
        if self._lines:
            print(f"Validation score: {score:f}")  # noqa: T201
        if self._bar is not None:
            self._shown["validation"] = f"{score:.4f}"
            self._bar.set_postfix(self._shown)

    def note(self, message: str) -> None:
        """Something happened that a watcher would want to know."""
        if self._lines:
            print(message)  # noqa: T201
        if self._bar is not None:
            self._bar.write(message, file=sys.stderr)

    def iteration(self, value: float) -> None:
        """An iteration of a solver ended with this value of the objective."""
        self._n_iter += 1
        self.epoch(self._n_iter, value)

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
