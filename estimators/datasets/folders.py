"""The folders that hold a data set: where they are, and what is in one of four idx files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from estimators.datasets.idx import read_idx
from estimators.datasets.pixels import INT64, PIXELS, check_numbers
from estimators.shared.files import as_path

DATA_VARIABLE = "CUKERNELS_DATA"

FILES = {
    "X_train": "train-images-idx3-ubyte",
    "X_test": "t10k-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


def find_folder(
    data_dir: str | os.PathLike[str] | None, name: str, *, itself: bool = False
) -> Path | None:
    """Return the folder of a data set, or None where nobody has named one.

    Parameters
    ----------
    data_dir : path or None
        What the user has given.
    name : str
        The folder's name within the one that the environment variable names.
    itself : bool, default=False
        Whether the one that the variable names is meant where it has none of that name.

    Raises
    ------
    FileNotFoundError
        If the variable names a folder that is not there.
    """
    if data_dir:
        return as_path(data_dir)
    if not (named := os.environ.get(DATA_VARIABLE)):
        return None
    folder = as_path(named)
    if not folder.is_dir():
        raise _no_folder(folder)
    if (folder / name).is_dir():
        return folder / name
    return folder if itself else None


def read_folder(folder: Path, dtype: np.dtype) -> dict[str, np.ndarray]:
    """Read four idx files, and check that they are images with their labels.

    Parameters
    ----------
    folder : path
    dtype : dtype
        What the pixels are to become; as "uint8" they have to be whole numbers.

    Raises
    ------
    FileNotFoundError
        If the folder lacks one of the files.
    ValueError
        If a file is damaged, or they do not belong together.
    """
    raw = {key: read_idx(_find(folder, name)) for key, name in FILES.items()}
    for subset in ("train", "test"):
        images, labels = raw[f"X_{subset}"], raw[f"y_{subset}"]
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"{folder}: the {subset} images have shape {images.shape} and their labels "
                f"{labels.shape}; expected (n, height, width) and (n,)"
            )
        if images.size == 0:
            raise ValueError(
                f"{folder}: the {subset} images have shape {images.shape}: none to load"
            )
        check_numbers(f"{folder}: the {subset} labels", labels, INT64, whole=True)
        check_numbers(f"{folder}: the {subset} images", images, PIXELS, whole=dtype.kind == "u")
    if raw["X_train"].shape[1:] != raw["X_test"].shape[1:]:
        raise ValueError(
            f"{folder}: the train images have shape {raw['X_train'].shape} and the test images "
            f"{raw['X_test'].shape}; expected the same height and width"
        )
    return raw


def _find(folder: Path, name: str) -> Path:
    # Some mirrors have a dot in place of the second dash: train-images.idx3-ubyte.
    names = [name, f"{name}.gz", name.replace("-idx", ".idx"), name.replace("-idx", ".idx") + ".gz"]
    for candidate in names:
        if (folder / candidate).is_file():
            return folder / candidate
    if not folder.is_dir():
        raise _no_folder(folder)
    raise FileNotFoundError(f"{folder} has no {name} or {name}.gz")


def _no_folder(folder: Path) -> FileNotFoundError:
    return FileNotFoundError(
        f"there is no folder {folder}; data_dir (or {DATA_VARIABLE}) names the folder of the files"
    )
