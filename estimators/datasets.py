"""Handwritten digits: MNIST and sets like it, and scikit-learn's small digits."""

from __future__ import annotations

import gzip
import importlib.util
import math
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from sklearn.datasets import fetch_openml, load_digits
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch

DATA_VARIABLE = "CUKERNELS_DATA"

_FILES = {
    "X_train": "train-images-idx3-ubyte",
    "X_test": "t10k-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
# Types of the elements, by the third byte of an idx file.
_ELEMENTS = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_DTYPES = ("uint8", "float32", "float64")
# The most bytes that one byte of a gzip file can become: deflate can write 258 bytes with two bits.
_MOST_UNPACKED = 1032
_CHUNK = 2**20  # bytes that are read at once

Split = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def load_mnist(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    dtype: DTypeLike = "float32",
    scale: bool = False,
    as_images: bool = False,
    return_X_y: bool = False,
) -> Bunch | Split:
    """Load MNIST in its standard split: 60,000 digits to train on and 10,000 to test.

    Fashion-MNIST, KMNIST and other data sets of four idx files with these names load the same way.

    Parameters
    ----------
    data_dir : path, default=None
        The folder of the four idx files (`train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and
        the same two with `t10k`), each with or without `.gz`. None: the folder that the environment
        variable ``CUKERNELS_DATA`` names. If it names none, MNIST is downloaded once by
        :func:`sklearn.datasets.fetch_openml`, and kept in scikit-learn's data home.
    dtype : {"uint8", "float32", "float64"}, default="float32"
        Type of the pixels.
    scale : bool, default=False
        Whether to divide the pixels by 255. False leaves them as OpenML has them, from 0 (paper)
        to 255 (ink). True maps them to [0, 1], with which networks train better.
    as_images : bool, default=False
        Whether the digits are images of shape (28, 28) rather than rows of 784 pixels.
    return_X_y : bool, default=False
        Whether to return ``(X_train, X_test, y_train, y_test)``, in the order of
        :func:`sklearn.model_selection.train_test_split`, instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With `X_train` of shape (60000, 784) or (60000, 28, 28), `X_test`, the labels `y_train`
        and `y_test` as int64, `image_shape` and `target_names`.

    Raises
    ------
    FileNotFoundError
        If the folder lacks one of the files.
    OSError
        If no folder is given and the download fails.
    ValueError
        If a file is damaged, if there are no images, if the images to train on and to test differ
        in size, if there is not one whole number as label for each image, or if pixels are below 0
        or above 255.

    Examples
    --------
    >>> from estimators.datasets import load_mnist
    >>> mnist = load_mnist("path/to/mnist", scale=True)  # doctest: +SKIP
    >>> mnist.X_train.shape  # doctest: +SKIP
    (60000, 784)
    """
    dtype = _pixel_dtype(dtype, scale)
    data_dir = data_dir or os.environ.get(DATA_VARIABLE) or None
    raw = _fetch_mnist() if data_dir is None else _read_folder(Path(data_dir), dtype)
    return _bundle(raw, 255, dtype, scale, as_images, return_X_y)


def load_digits_split(
    *,
    dtype: DTypeLike = "float32",
    scale: bool = False,
    as_images: bool = False,
    return_X_y: bool = False,
) -> Bunch | Split:
    """Load scikit-learn's 1,797 digits of 8 x 8 pixels, with a quarter of them set apart to test.

    The split is stratified, and always the same, so that scores can be compared. The digits come
    with scikit-learn, and nothing is downloaded.

    Parameters
    ----------
    dtype : {"uint8", "float32", "float64"}, default="float32"
        Type of the pixels.
    scale : bool, default=False
        Whether to divide the pixels by 16. False leaves them as scikit-learn has them, from 0
        (paper) to 16 (ink). True maps them to [0, 1].
    as_images : bool, default=False
        Whether the digits are images of shape (8, 8) rather than rows of 64 pixels.
    return_X_y : bool, default=False
        Whether to return ``(X_train, X_test, y_train, y_test)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        As from :func:`load_mnist`, with `X_train` of shape (1347, 64) or (1347, 8, 8).

    Examples
    --------
    >>> from estimators.datasets import load_digits_split
    >>> load_digits_split().X_train.shape
    (1347, 64)
    """
    dtype = _pixel_dtype(dtype, scale)
    digits = load_digits()
    names = ("X_train", "X_test", "y_train", "y_test")
    halves = train_test_split(
        digits.images, digits.target, test_size=0.25, stratify=digits.target, random_state=0
    )
    return _bundle(dict(zip(names, halves, strict=True)), 16, dtype, scale, as_images, return_X_y)


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an idx file, which is the format of MNIST, with or without gzip.

    Parameters
    ----------
    path : path
        The file. Its content tells whether it is packed with gzip, not its name.

    Returns
    -------
    array : ndarray
        It has the shape and element type that the header says, and the machine's byte order.

    Raises
    ------
    ValueError
        If it is not an idx file, or has more or fewer bytes than its header says. No more than
        these, and one, are ever unpacked, so a small file cannot fill the memory.
    """
    with open(path, "rb") as file:
        n_bytes = os.fstat(file.fileno()).st_size if file.seekable() else math.inf
        if not file.peek(2).startswith(b"\x1f\x8b"):
            return _read_idx(file, n_bytes, path)
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _read_idx(unpacked, _MOST_UNPACKED * n_bytes, path)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path}: the gzip file is damaged: {error}") from error


def _read_idx(file: Any, most: float, path: Any) -> np.ndarray:
    """Read an idx file of at most `most` bytes, and no more of it than its header says, and one."""
    # Header: two zero bytes, the element type, the number of axes n, then n lengths.
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _ELEMENTS:
        raise ValueError(
            f"{path} is not an idx file: it begins with the bytes {magic.hex(' ') or '(none)'}, "
            f"where one of MNIST's images begins with 00 00 08 03"
        )
    element, axes = np.dtype(_ELEMENTS[magic[2]]), magic[3]
    start = 4 + 4 * axes
    lengths = file.read(4 * axes)
    if len(lengths) < 4 * axes:
        raise ValueError(f"{path} is truncated: it ends within its header of {start} bytes")
    shape = tuple(np.frombuffer(lengths, ">u4").tolist())
    expected = math.prod(shape) * element.itemsize
    says = f"its header says shape {shape}, {expected} bytes"
    if expected > most - start:
        few = "at most " if isinstance(file, gzip.GzipFile) else ""
        raise ValueError(f"{path} is truncated: {says}, and {few}{most - start} follow")
    try:
        values = np.empty(shape, element)
    except ValueError as error:  # more axes than NumPy has, or a length of 0 beside huge ones
        raise ValueError(f"{path}: {says}, and no array has that: {error}") from error
    found = _fill(file, values.reshape(-1).view(np.uint8).data)
    if found < expected:
        raise ValueError(f"{path} is truncated: {says}, and {found} follow")
    if file.read(1):  # at the end of a gzip file this also checks its checksum
        raise ValueError(f"{path} is too long: {says}, and more follow")
    if not element.isnative:
        values.byteswap(inplace=True)
    return values.view(element.newbyteorder("="))


def _fill(file: Any, buffer: memoryview) -> int:
    """Read bytes into a buffer until it is full or the file ends, and return their number.

    They are read in chunks, as the buffer may be larger than the file: what a file does not have
    then takes no memory, since no page of it is ever written.
    """
    found = 0
    while found < len(buffer) and (n := file.readinto(buffer[found : found + _CHUNK])):
        found += n
    return found


def _read_folder(folder: Path, dtype: np.dtype) -> dict[str, np.ndarray]:
    raw = {key: read_idx(_find(folder, name)) for key, name in _FILES.items()}
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
        _check_numbers(f"{folder}: the {subset} labels", labels, np.iinfo(np.int64), whole=True)
        _check_numbers(
            f"{folder}: the {subset} images", images, np.iinfo(np.uint8), whole=dtype.kind == "u"
        )
    if raw["X_train"].shape[1:] != raw["X_test"].shape[1:]:
        raise ValueError(
            f"{folder}: the train images have shape {raw['X_train'].shape} and the test images "
            f"{raw['X_test'].shape}; expected the same height and width"
        )
    return raw


def _check_numbers(what: str, values: np.ndarray, limits: np.iinfo, *, whole: bool) -> None:
    """Raise ValueError if values exceed the limits of a type, or are not whole as demanded."""
    right = (values >= limits.min) & (values <= limits.max)  # False for NaN
    if values.dtype.kind == "f":
        right &= values < float(limits.max) + 1  # as a float, 2**63 - 1 is 2**63
        right &= (values == np.rint(values)) | (not whole)
    if not right.all():
        raise ValueError(
            f"{what} have {values[~right][0]} among them; expected {'whole ' if whole else ''}"
            f"numbers from {limits.min} to {limits.max}"
        )


def _find(folder: Path, name: str) -> Path:
    # Some mirrors have a dot in place of the second dash: train-images.idx3-ubyte.
    names = [name, f"{name}.gz", name.replace("-idx", ".idx"), name.replace("-idx", ".idx") + ".gz"]
    for candidate in names:
        if (folder / candidate).is_file():
            return folder / candidate
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no folder {folder}; data_dir (or {DATA_VARIABLE}) names the folder of "
            f"the idx files"
        )
    raise FileNotFoundError(f"{folder} has no {name} or {name}.gz")


def _fetch_mnist() -> dict[str, np.ndarray]:
    # The parser of pandas is the fast one. With "auto", scikit-learn fails where pandas is missing.
    parser = "pandas" if importlib.util.find_spec("pandas") else "liac-arff"
    try:
        mnist = fetch_openml("mnist_784", version=1, as_frame=False, parser=parser)
    except OSError as error:
        raise OSError(
            f"MNIST could not be downloaded ({error}); give a folder of its idx files by "
            f"data_dir or the environment variable {DATA_VARIABLE}"
        ) from error
    images = mnist.data.astype(np.uint8).reshape(-1, 28, 28)
    labels = mnist.target.astype(np.int64)  # OpenML has strings
    n = 60_000  # in OpenML too, the samples to train on come first
    return {
        "X_train": images[:n],
        "X_test": images[n:],
        "y_train": labels[:n],
        "y_test": labels[n:],
    }


def _pixel_dtype(dtype: DTypeLike, scale: bool) -> np.dtype:
    dtype = np.dtype(dtype)
    if dtype.name not in _DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}, got {dtype.name}")
    if scale and dtype.kind != "f":
        raise ValueError(f"pixels scaled to [0, 1] do not fit dtype {dtype.name}: use float32")
    return dtype


def _bundle(
    raw: dict[str, np.ndarray],
    ink: int,
    dtype: np.dtype,
    scale: bool,
    as_images: bool,
    return_X_y: bool,
) -> Bunch | Split:
    data = Bunch()
    for key, values in raw.items():
        if key.startswith("y"):
            data[key] = values.astype(np.int64)
            continue
        pixels = values if as_images else values.reshape(len(values), -1)
        pixels = pixels.astype(dtype)
        data[key] = np.divide(pixels, ink, out=pixels) if scale else pixels
    if return_X_y:
        return data.X_train, data.X_test, data.y_train, data.y_test
    data.image_shape = raw["X_train"].shape[1:]
    data.target_names = np.unique(data.y_train)
    return data
