"""Progress bars by tqdm or rich, whichever is installed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol, TextIO

from estimators.shared.warnings import warn

BACKENDS = ("auto", "tqdm", "rich")
"""What may draw a bar. "auto" is the first of the others that is installed."""

_SECONDS = 0.1  # from one picture of rich's bar to the next


class Bar(Protocol):
    """A bar that is on the screen."""

    def show(self, n_done: int, shown: Mapping[str, Any], *, now: bool = False) -> None:
        """Show how many steps are done, and some values beside the bar.

        Parameters
        ----------
        n_done : int
            The steps that are done in all.
        shown : mapping of str to object
            The values.
        now : bool, default=False
            Whether to draw at once. Else the bar may wait, so that it costs nothing.
        """

    def write(self, message: str, file: TextIO) -> None:
        """Print a line above the bar, into a stream."""

    def close(self) -> None:
        """Leave the bar as it stands."""


_on_screen: list[Bar] = []  # the last one is the lowest


def say(message: str, file: TextIO | None = None) -> None:
    """Print a line; where a bar is on the screen, above it and not into it.

    Parameters
    ----------
    message : str
        The line.
    file : stream, default=None
        Where to; None: `sys.stdout`.
    """
    file = sys.stdout if file is None else file
    if _on_screen:
        _on_screen[-1].write(message, file)
    else:
        print(message, file=file)  # noqa: T201


def open_bar(total: int, unit: str, backend: str = "auto") -> Bar | None:
    """Show a bar, or warn and return None where nothing can draw it.

    tqdm comes first: it also draws in notebooks, and beside bars that the caller has open.

    Parameters
    ----------
    total : int
        At how many steps the bar is full.
    unit : str
        What one step is called.
    backend : {"auto", "tqdm", "rich"}, default="auto"
        What draws it.

    Warns
    -----
    UserWarning
        If the package is missing, or for "auto" both are.
    """
    makers: dict[str, Callable[[int, str], Bar]] = {"tqdm": _TqdmBar, "rich": _RichBar}
    wanted = list(makers) if backend == "auto" else [backend]
    for name in wanted:
        try:
            bar = makers[name](total, unit)
        except ImportError:
            continue
        _on_screen.append(bar)
        return bar
    missing = "tqdm or rich, and neither is" if len(wanted) > 1 else f"{wanted[0]}, which is not"
    install = "'cukernels[progress]'" if "tqdm" in wanted else wanted[0]
    warn(
        f"A progress bar needs {missing} installed: lines are printed instead. Install it with "
        f"`pip install {install}`.",
    )
    return None


class _TqdmBar:
    def __init__(self, total: int, unit: str) -> None:
        from tqdm.auto import tqdm

        self._bar = tqdm(total=total, unit=unit)

    def show(self, n_done: int, shown: Mapping[str, Any], *, now: bool = False) -> None:
        self._bar.set_postfix(shown, refresh=now)
        self._bar.update(n_done - self._bar.n)

    def write(self, message: str, file: TextIO) -> None:
        self._bar.write(message, file=file)

    def close(self) -> None:
        _leave(self)
        self._bar.close()


class _RichBar:
    def __init__(self, total: int, unit: str) -> None:
        from rich import progress
        from rich.console import Console

        self._bar = progress.Progress(
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn(unit),
            progress.TimeElapsedColumn(),
            progress.TextColumn("<"),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[shown]}"),
            console=Console(stderr=True),
            auto_refresh=False,  # no thread: nothing is left behind after Ctrl-C
        )
        self._drawn = time.monotonic()
        self._task = self._bar.add_task(unit, total=total, shown="")
        self._bar.start()

    def show(self, n_done: int, shown: Mapping[str, Any], *, now: bool = False) -> None:
        text = ", ".join(f"{name}={value}" for name, value in shown.items())
        self._bar.update(self._task, completed=n_done, shown=text)
        if now or time.monotonic() > self._drawn + _SECONDS:
            self._bar.refresh()
            self._drawn = time.monotonic()

    def write(self, message: str, file: TextIO) -> None:
        # On a terminal rich has put itself in the place of both streams. Elsewhere it draws but the
        # last picture, and nothing is on the screen that a line could run into.
        print(message, file=file)  # noqa: T201

    def close(self) -> None:
        _leave(self)
        self._bar.stop()


def _leave(bar: Bar) -> None:
    with suppress(ValueError):  # closed before
        _on_screen.remove(bar)
