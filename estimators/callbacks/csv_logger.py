"""A table of the epochs of a fit, in a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from estimators.callbacks.epochs import EpochCallback
from estimators.callbacks.run_paths import RunPath
from estimators.shared.callbacks import EpochInfo
from estimators.shared.files import create, write_text


class CSVLogger(EpochCallback):
    """Writes a row for each epoch into a CSV file, which can be read while the fit goes on.

    The columns are the fields of `EpochInfo`: epoch, n_epochs, loss, validation_score,
    learning_rate and seconds. A field is empty where there is no score, and "nan" where there is
    no rate.

    Parameters
    ----------
    path : path
        The file. Its folder has to be there. ``{fit}`` in it stands for the first number from 1 on
        for which there is no file yet, and the name of a parameter in braces for its value:
        ``"alpha={alpha}-{fit}.csv"``.
    append : bool, default=False
        Whether the rows of a fit are written below those that are there. If not, a fit begins the
        file anew.
    separator : str, default=","
        What stands between two fields.

    Raises
    ------
    ValueError
        If a parameter is not one of those above; in a fit, if the file has other columns, or if
        the estimator has no parameter of a name in the path.

    Notes
    -----
    A row is written whole, at the end of its epoch, and the file is closed again: whoever reads it
    finds no part of a row, also after a kill. In searches and cross-validations of
    `estimators.model_selection` the path must have ``{fit}``, for else the fits would write over
    each other; without it they raise ValueError before the first fit. scikit-learn's own searches
    do not ask: there the file is that of the last fit.

    A fit with ``fit(..., resume_from=)`` goes on in the file, unless its name has ``{fit}``: rows
    of epochs later than that which it goes on from are dropped, and written again. Each call of
    `partial_fit` adds a row to the file, and epochs are counted over the calls.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_digits
    >>> from estimators import MLPClassifier
    >>> from estimators.callbacks import CSVLogger
    >>> X, y = load_digits(return_X_y=True)
    >>> path = os.path.join(tempfile.mkdtemp(), "digits.csv")
    >>> model = MLPClassifier((8,), max_iter=2, random_state=0, callbacks=CSVLogger(path))
    >>> model = model.fit(X / 16, y)
    >>> with open(path) as file:
    ...     print(file.readline(), end="")
    epoch,n_epochs,loss,validation_score,learning_rate,seconds
    """

    _file: Path | None = None

    def __init__(
        self, path: str | os.PathLike[str], append: bool = False, *, separator: str = ","
    ) -> None:
        if not isinstance(separator, str) or len(separator) != 1 or separator in '.-+_\n\r"':
            raise ValueError(f"separator must be one character, such as ',', got {separator!r}")
        if separator.isalnum():
            raise ValueError(f"separator must be no letter or digit, got {separator!r}")
        if RunPath(path).has_number and append:
            raise ValueError(f"append=True goes on in a file, but {{fit}} makes new ones: {path}")
        self.path, self.append, self.separator = path, append, separator

    @property
    def _path(self) -> RunPath:
        return RunPath(self.path)

    @property
    def _header(self) -> str:
        return self.separator.join(EpochInfo._fields) + "\n"

    def on_fit_begin(self, estimator: Any, info: EpochInfo) -> None:
        """Begin the file."""
        super().on_fit_begin(estimator, info)
        self._file = self._begun(estimator, info.epoch)

    def on_epoch_end(self, estimator: Any, info: EpochInfo) -> None:
        """Write a row.

        Parameters
        ----------
        estimator : estimator
            Its weights are not looked at.
        info : EpochInfo
            The row.
        """
        info = info._replace(epoch=self._count(info))
        if self._file is None:  # the first call of `partial_fit`
            self._file = self._begun(estimator, 0)
        row = self.separator.join("" if v is None else repr(_number(v)) for v in info) + "\n"
        with open(self._file, "ab", buffering=0) as file:  # one call of the system for the row
            file.write(row.encode())

    def check_many_fits(self) -> None:
        """Raise ValueError if several fits would write the same file. A search calls this."""
        self._path.check_many(self)

    def _begun(self, estimator: Any, n_done: int) -> Path:
        """Return the file, with a header and those rows that are to stay."""
        run = self._path
        path = run.of(estimator, create)
        kept = ""
        if not run.has_number and (self.append or n_done):
            kept = self._rows_kept(path, n_done)
        write_text(path, self._header + kept)
        return path

    def _rows_kept(self, path: Path, n_done: int) -> str:
        """Return the rows that stay: whole ones, and none that a resumed fit writes again."""
        if not path.exists():
            return ""
        header, *rows = path.read_text().splitlines(keepends=True) or [""]
        if header and header != self._header:
            raise ValueError(
                f"{str(path)!r} has other columns, so that no rows can be appended: "
                f"{header.strip()!r} and not {self._header.strip()!r}"
            )
        if rows and not rows[-1].endswith("\n"):
            rows.pop()
        while n_done and rows and int(rows[-1].split(self.separator)[0]) > n_done:
            rows.pop()
        return "".join(rows)


def _number(value: float) -> float:
    """Return a number of Python's, whose repr is the shortest that is read as the same number."""
    return value if isinstance(value, int) else float(value)
