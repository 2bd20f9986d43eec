"""Files from which a fit goes on that was stopped."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from estimators.checkpoints.archive import read_archive
from estimators.shared.callbacks import EpochInfo


class Checkpoint:
    """Writes a file from which a fit that was stopped goes on as if nothing had happened.

    ``fit(X, y, resume_from=path)`` takes up such a file. The result is that of the fit that was
    never stopped, to the last bit on the same kind of device, and to rounding on another one. The
    file is replaced as a whole: a process that is killed while it writes leaves the file before.

    Parameters
    ----------
    path : path
        The file. ``{epoch}`` in its name stands for the number of the epoch, so that there are
        many: ``"epoch-{epoch:04d}.ckpt"``. Its folder has to be there.
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
        If a parameter is not one of those above.

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
        try:
            str(path).format(epoch=1)
        except (IndexError, KeyError, ValueError) as error:
            raise ValueError(f"path may have {{epoch}} in its name, got {str(path)!r}") from error
        self.path, self.every, self.keep, self.seconds = Path(path), every, keep, seconds
        self._best: float | None = None
        self._written = 0.0

    def __repr__(self) -> str:
        more = f", seconds={self.seconds}" if self.seconds else ""
        return f"Checkpoint({str(self.path)!r}, every={self.every}, keep={self.keep!r}{more})"

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
        path = Path(str(self.path).format(epoch=info.epoch))
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
