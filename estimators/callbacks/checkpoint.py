"""Files from which a fit goes on that was stopped."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from estimators.callbacks.epochs import EpochCallback
from estimators.callbacks.run_paths import RunPath, parameters_of
from estimators.checkpoints.archive import read_archive
from estimators.shared.callbacks import EpochInfo
from estimators.shared.files import as_path, check_target, create


class Checkpoint(EpochCallback):
    """Writes a file from which a fit that was stopped goes on as if nothing had happened.

    ``fit(X, y, resume_from=path)`` takes up such a file. The result is that of the fit that was
    never stopped, to the last bit on the same kind of device, and to rounding on another one. The
    file is replaced as a whole: a process that is killed while it writes leaves the file before.

    Parameters
    ----------
    path : path
        The file. ``{epoch}`` in its name stands for the number of the epoch, so that there are
        many: ``"epoch-{epoch:04d}.ckpt"``. ``{fit}`` stands for the first number from 1 on for
        which there is no file yet, and the name of a parameter in braces for its value:
        ``"alpha={alpha}-{fit}.ckpt"``. Its folder has to be there.
    every : int, default=1
        Epochs (iterations of solvers that have no epochs) from one file to the next. The last one
        of a fit is always written, unless its solver ends it later, by finding no lower value.
    seconds : float, default=0
        The least time from one file to the next.
    keep : {"last", "best"}, default="last"
        What the file has: the last epoch, or the best one: the one of the highest validation score
        or, where there is none, of the lowest loss.

    Raises
    ------
    ValueError
        If a parameter is not one of those above; in a fit, if the estimator has no parameter of a
        name in the path.

    See Also
    --------
    estimators.MLPClassifier.fit : Goes on from such a file, as `fit` of the other estimators does
        that have the parameter `callbacks`.

    Notes
    -----
    The file is an uncompressed ``.npz`` with a ``meta.json``. It holds the weights, what the solver
    keeps, the learning rate, the loss curve, the order of the samples and the states of the
    generators, and digests of the parameters and the data that it belongs to. It is no pickle, and
    nothing in it is executed.

    ``Perceptron(multi_class="ovr")`` on the CPU runs in scikit-learn's loop, which tells nothing
    before its end: with a Checkpoint it raises ValueError.

    A fit that a callback has ended goes on from its file, as long as its callbacks let it; one that
    has ended by its own rule, by `tol` or `early_stopping`, is over.

    In searches and cross-validations of `estimators.model_selection` the path must have ``{fit}``,
    for else the fits would write over each other; without it they raise ValueError before the
    first fit. To go on with a search take its parameter `checkpoint`. scikit-learn's own searches
    do not ask: there the file is that of the last fit.

    `partial_fit` goes on from the estimator itself: keep that, by `joblib.dump`.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_digits
    >>> from estimators import MLPClassifier
    >>> from estimators.callbacks import Checkpoint
    >>> X, y = load_digits(return_X_y=True)
    >>> path = os.path.join(tempfile.mkdtemp(), "digits.ckpt")
    >>> network = MLPClassifier(max_iter=20, random_state=0, callbacks=Checkpoint(path))
    >>> network = network.fit(X, y)  # may be killed at any time
    >>> resume_from = path if os.path.exists(path) else None
    >>> network.fit(X, y, resume_from=resume_from).n_iter_
    20
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: int = 1,
        keep: str = "last",
        *,
        seconds: float = 0.0,
    ) -> None:
        if keep not in ("last", "best"):
            raise ValueError(f"keep must be 'last' or 'best', got {keep!r}")
        if not hasattr(every, "__index__") or every < 1:
            raise ValueError(f"every must be a number of epochs, got {every!r}")
        if not seconds >= 0:
            raise ValueError(f"seconds must be a time, got {seconds!r}")
        RunPath(path)  # raises for what is no path
        self.path, self.every, self.keep, self.seconds = path, every, keep, seconds
        self._best: float | None = None
        self._written = 0.0
        self._parameters: dict[str, Any] = {}
        self._number: int | None = None  # of the fit, once it has one

    def on_fit_begin(self, estimator: Any, info: EpochInfo) -> None:
        """Begin anew; raise at once what would be raised when the first file is written."""
        super().on_fit_begin(estimator, info)
        self._parameters, self._number = parameters_of(estimator), None
        self._best, self._written = None, 0.0
        RunPath(self.path).check_names({**self._parameters, "epoch": 0})
        if "{" not in os.path.dirname(self.path):
            check_target(as_path(self.path))

    def on_epoch_end(self, estimator: Any, info: EpochInfo) -> None:
        """Look at the parameters, where `partial_fit` has told of no beginning.

        Parameters
        ----------
        estimator : estimator
            Its weights are not looked at.
        info : EpochInfo
            It is not looked at.
        """
        if not self._parameters:
            self._parameters = parameters_of(estimator)

    def check_many_fits(self) -> None:
        """Raise ValueError if several fits would write the same file. A search calls this."""
        RunPath(self.path).check_many(self)

    def checkpoint_path(self, info: EpochInfo, is_last: bool) -> Path | None:
        """Return the file to write now, or None.

        A callback of your own with a method of this name decides when and where to write.

        Parameters
        ----------
        info : EpochInfo
            How far the fit has come.
        is_last : bool
            Whether the fit ends here.
        """
        is_due = info.epoch % self.every == 0
        if not is_last and not (is_due and time.monotonic() >= self._written + self.seconds):
            return None
        path, self._number = RunPath(self.path).filled(
            self._parameters, create, epoch=info.epoch, fit=self._number
        )
        if self.keep == "best" and not self._is_better(info, path):
            return None
        self._written = time.monotonic()
        return path

    def _is_better(self, info: EpochInfo, path: Path) -> bool:
        """Return whether no epoch before was as good, those in the file included."""
        score = info.validation_score
        value = -info.loss if score is None else score
        if info.epoch == 1:
            self._best = None
        elif self._best is None:  # a fit that was resumed
            with suppress(OSError, ValueError, KeyError, TypeError):
                meta, _ = read_archive(path)
                self._best = float(-meta["loss"] if score is None else meta["validation_score"])
        if self._best is not None and not value > self._best:
            return False
        self._best = value
        return True
