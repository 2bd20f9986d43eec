"""The curves of a fit for TensorBoard."""

from __future__ import annotations

import os
import socket
import time
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from estimators.callbacks.epochs import EpochCallback
from estimators.callbacks.events import first_record, restart_record, scalars_record
from estimators.callbacks.run_paths import RunPath
from estimators.shared.callbacks import EpochInfo

TAGS = ("loss", "validation_score", "learning_rate")


class TensorBoard(EpochCallback):
    """Writes loss, validation score and learning rate of each epoch for TensorBoard.

    ``tensorboard --logdir runs`` shows the curves while the fit goes on. To write them needs no
    package; to look at them needs ``pip install tensorboard``.

    Parameters
    ----------
    log_dir : path, default="runs/{fit}"
        The folder of the run. It is made if it is not there. ``{fit}`` in it stands for the first
        number from 1 on for which there is no folder yet, and the name of a parameter in braces
        for its value: ``"runs/alpha={alpha}-{fit}"``.

    Raises
    ------
    ValueError
        If `log_dir` has other braces; in a fit, if the estimator has no parameter of a name there.

    Notes
    -----
    Tags are "loss", "validation_score" and "learning_rate", as far as there are such, and the step
    is the epoch. The values are in single precision, as TensorBoard keeps them. The file is closed
    after each epoch. In searches and cross-validations of `estimators.model_selection` the folder
    must have ``{fit}``, so that each fit is a run; without it they raise ValueError before the
    first fit.

    A fit with ``fit(..., resume_from=)`` in the same folder takes the place of the epochs later
    than that which it goes on from. Each call of `partial_fit` is one more step.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_digits
    >>> from estimators import LogisticRegression
    >>> from estimators.callbacks import TensorBoard
    >>> X, y = load_digits(return_X_y=True)
    >>> runs = tempfile.mkdtemp()
    >>> board = TensorBoard(os.path.join(runs, "C={C}-{fit}"))
    >>> model = LogisticRegression(C=0.1, callbacks=board).fit(X / 16, y)
    >>> os.listdir(runs)
    ['C=0.1-1']
    """

    _file: Path | None = None

    def __init__(self, log_dir: str | os.PathLike[str] = "runs/{fit}") -> None:
        RunPath(log_dir)  # raises for what is no path
        self.log_dir = log_dir

    @property
    def _path(self) -> RunPath:
        return RunPath(self.log_dir)

    def on_fit_begin(self, estimator: Any, info: EpochInfo) -> None:
        """Begin a file."""
        super().on_fit_begin(estimator, info)
        self._file = self._begun(estimator, info.epoch)

    def on_epoch_end(self, estimator: Any, info: EpochInfo) -> None:
        """Write the numbers of an epoch.

        Parameters
        ----------
        estimator : estimator
            Its weights are not looked at.
        info : EpochInfo
            The numbers.
        """
        step = self._count(info)
        if self._file is None:  # the first call of `partial_fit`
            self._file = self._begun(estimator, 0)
        values = {tag: getattr(info, tag) for tag in TAGS}
        scalars = {
            tag: float(v) for tag, v in values.items() if v is not None and not _no_rate(tag, v)
        }
        with open(self._file, "ab", buffering=0) as file:  # one call of the system for the record
            file.write(scalars_record(time.time(), step, scalars))

    def check_many_fits(self) -> None:
        """Raise ValueError if several fits would write the same run. A search calls this."""
        self._path.check_many(self)

    def _begun(self, estimator: Any, n_done: int) -> Path:
        """Return a new file in the folder of the run."""
        folder = self._path.of(estimator, lambda path: path.mkdir(parents=True))
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        start = first_record(now)
        if n_done:
            start += restart_record(now, n_done + 1)
        for number in count():
            name = f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}.{os.getpid()}"
            try:
                with open(folder / f"{name}.{number}", "xb") as file:
                    file.write(start)
            except FileExistsError:
                continue
            return folder / f"{name}.{number}"
        raise AssertionError  # numbers do not end


def _no_rate(tag: str, value: float) -> bool:
    """Whether a number says that its solver has no learning rate."""
    return tag == "learning_rate" and bool(np.isnan(value))
