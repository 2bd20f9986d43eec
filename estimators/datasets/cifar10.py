"""CIFAR-10: from the six batches of its binary version, or from OpenML."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike
from sklearn.utils import Bunch

from estimators.datasets.folders import find_folder
from estimators.datasets.openml import Published, fetch
from estimators.datasets.pixels import Split, bundle, check_numbers, pixel_dtype

CIFAR10 = Published(
    name="CIFAR-10",
    data_id=40927,
    folder="cifar-10-batches-bin",
    files="binary version (data_batch_1.bin and so on)",
    planes=(3, 32, 32),
    train=(5000,) * 10,
    test=(1000,) * 10,
)
CIFAR10_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)

_TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
_TEST = "test_batch.bin"
# A batch is 10,000 records: a byte for the label, then 1,024 each of red, green and blue.
_RECORD = 1 + 3 * 32 * 32
_MOST_RECORDS = 10_000


def load_cifar10(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    data_home: str | os.PathLike[str] | None = None,
    dtype: DTypeLike = "float32",
    scale: bool = False,
    as_images: bool = False,
    return_X_y: bool = False,
) -> Bunch | Split:
    """Load CIFAR-10: 50,000 colour photographs of 32 x 32 pixels to train on and 10,000 to test.

    They show ten kinds of things (Krizhevsky, 2009, Learning Multiple Layers of Features from Tiny
    Images).

    Parameters
    ----------
    data_dir : path, default=None
        The folder of the *binary version*: `data_batch_1.bin` to `data_batch_5.bin` and
        `test_batch.bin`, or the folder that has `cifar-10-batches-bin` in it. The Python version
        is not read, since its files are pickles, which run the code of whoever made them. None:
        `cifar-10-batches-bin` in the folder that the environment variable ``CUKERNELS_DATA`` names.
        Where there is none, the photographs are downloaded once by
        :func:`sklearn.datasets.fetch_openml`, which takes some minutes and gigabytes of memory,
        and pandas. Their classes are counted, and they are kept in the folder `cukernels` of
        `data_home`.
    data_home : path, default=None
        Where scikit-learn keeps what it has downloaded; None: its default,
        :func:`sklearn.datasets.get_data_home`. Only looked at where no folder is named.
    dtype : {"uint8", "float32", "float64"}, default="float32"
        Type of the pixels. As "uint8" they take 184 MB, as "float32" 737 MB.
    scale : bool, default=False
        Whether to divide the pixels by 255, which maps them to [0, 1].
    as_images : bool, default=False
        Whether the photographs are images of shape (32, 32, 3), colours last, rather than rows of
        3072 numbers. A row has the three colours of the first pixel, then those of the second, as
        the networks take it with ``image_shape=(32, 32, 3)``.
    return_X_y : bool, default=False
        Whether to return ``(X_train, X_test, y_train, y_test)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With `X_train` of shape (50000, 3072) or (50000, 32, 32, 3), `X_test`, the labels `y_train`
        and `y_test` as int64, `image_shape`, and `target_names`, which says what they mean.

    Raises
    ------
    FileNotFoundError
        If the folder lacks one of the files.
    OSError
        If no folder is named and the download fails.
    ValueError
        If a file is damaged or of another format, or what was downloaded is not CIFAR-10.

    Examples
    --------
    >>> from estimators.datasets import load_cifar10
    >>> photographs = load_cifar10("path/to/cifar-10-batches-bin")  # doctest: +SKIP
    >>> photographs.target_names[photographs.y_train[0]]  # doctest: +SKIP
    'frog'
    """
    dtype = pixel_dtype(dtype, scale)
    folder = find_folder(data_dir, CIFAR10.folder)
    raw = fetch(CIFAR10, data_home) if folder is None else _read_batches(folder)
    return bundle(raw, 255, dtype, scale, as_images, return_X_y, CIFAR10_NAMES)


def _read_batches(folder: Path) -> dict[str, np.ndarray]:
    if (folder / CIFAR10.folder).is_dir():
        folder /= CIFAR10.folder
    for name in (*_TRAIN, _TEST):
        if not (folder / name).is_file():
            raise FileNotFoundError(_missing(folder, name))
    batches = [_read_batch(folder / name) for name in _TRAIN]
    images, labels = _read_batch(folder / _TEST)
    return {
        "X_train": np.concatenate([images for images, _ in batches]),
        "X_test": images,
        "y_train": np.concatenate([labels for _, labels in batches]),
        "y_test": labels,
    }


def _read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read images of shape (n, 32, 32, 3), and labels: no more of a file than a batch can have."""
    most = _MOST_RECORDS * _RECORD
    with open(path, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(
            f"{path} is too long: a batch of CIFAR-10 has at most {_MOST_RECORDS:,} images of "
            f"{_RECORD:,} bytes, {most:,} in all, and more follow"
        )
    if not content or len(content) % _RECORD:
        raise ValueError(
            f"{path} is truncated, or no batch of CIFAR-10's binary version: its {len(content):,} "
            f"bytes are not one image or more of {_RECORD:,} bytes each"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    labels = records[:, 0].copy()
    check_numbers(f"{path}: the labels", labels, (0, len(CIFAR10_NAMES) - 1), whole=True)
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(np.moveaxis(planes, 1, -1)), labels


def _missing(folder: Path, name: str) -> str:
    if not folder.is_dir():
        return f"there is no folder {folder}; data_dir names the folder of CIFAR-10's batches"
    message = f"{folder} has no {name}"
    if (folder / name.removesuffix(".bin")).is_file():
        return (
            f"{message}, but {name.removesuffix('.bin')} of the Python version, which is a pickle: "
            f"to load one runs the code in it. Take the binary version, cifar-10-binary.tar.gz"
        )
    if (folder / "cifar-10-binary.tar.gz").is_file():
        return f"{message}; unpack cifar-10-binary.tar.gz there"
    return f"{message}; CIFAR-10's binary version has six files of that kind"
