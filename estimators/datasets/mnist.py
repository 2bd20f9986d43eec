"""MNIST, and Fashion-MNIST in its shape: from four idx files, or from OpenML."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import DTypeLike
from sklearn.utils import Bunch

from estimators.datasets.folders import find_folder, read_folder
from estimators.datasets.openml import Published, Raw, digest, fetch
from estimators.datasets.pixels import Split, bundle, check_numbers, pixel_dtype

# The sums are those of the files that the authors have published, unpacked.
MNIST = Published(
    name="MNIST",
    data_id=554,
    folder="mnist",
    files="four idx files",
    planes=(28, 28),
    train=(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    test=(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
    sha256="06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16",
)
FASHION = Published(
    name="Fashion-MNIST",
    data_id=40996,
    folder="fashion-mnist",
    files="four idx files",
    planes=(28, 28),
    train=(6000,) * 10,
    test=(1000,) * 10,
    sha256="ca3ab2a37f845e1b8ae23cab1b51749a3011ba3bf1d9016176d75cbaabac376f",
)
FASHION_NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker"),
    *("Bag", "Ankle boot"),
)


def load_mnist(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    data_home: str | os.PathLike[str] | None = None,
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
        variable ``CUKERNELS_DATA`` names, or the folder `mnist` in it. If it names none, MNIST is
        downloaded once by :func:`sklearn.datasets.fetch_openml`, compared with the SHA-256 of the
        original, and kept in the folder `cukernels` of `data_home`.
    data_home : path, default=None
        Where scikit-learn keeps what it has downloaded; None: its default,
        :func:`sklearn.datasets.get_data_home`. Only looked at where no folder is named.
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
        If no folder is named and the download fails.
    ValueError
        If what was downloaded is damaged or not MNIST; if a file is damaged, if there are no
        images, if the images to train on and to test differ in size, if there is not one whole
        number as label for each image, or if pixels are below 0 or above 255.

    Examples
    --------
    >>> from estimators.datasets import load_mnist
    >>> mnist = load_mnist("path/to/mnist", scale=True)  # doctest: +SKIP
    >>> mnist.X_train.shape  # doctest: +SKIP
    (60000, 784)
    """
    dtype = pixel_dtype(dtype, scale)
    folder = find_folder(data_dir, MNIST.folder, itself=True)
    raw = fetch(MNIST, data_home) if folder is None else read_folder(folder, dtype)
    return bundle(raw, 255, dtype, scale, as_images, return_X_y)


def load_fashion_mnist(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    data_home: str | os.PathLike[str] | None = None,
    dtype: DTypeLike = "float32",
    scale: bool = False,
    as_images: bool = False,
    return_X_y: bool = False,
) -> Bunch | Split:
    """Load Fashion-MNIST: 60,000 pictures of clothes to train on and 10,000 to test.

    They have the shape of MNIST's digits and are harder to tell apart (Xiao, Rasul and Vollgraf,
    2017, arXiv:1708.07747).

    Parameters
    ----------
    data_dir : path, default=None
        The folder of the four idx files, which are named as MNIST's. None: the folder
        `fashion-mnist` in the one that the environment variable ``CUKERNELS_DATA`` names. Where
        there is none, the pictures are downloaded once by :func:`sklearn.datasets.fetch_openml`,
        compared with the SHA-256 of the original, and kept in the folder `cukernels` of
        `data_home`.
    data_home : path, default=None
        Where scikit-learn keeps what it has downloaded; None: its default,
        :func:`sklearn.datasets.get_data_home`. Only looked at where no folder is named.
    dtype : {"uint8", "float32", "float64"}, default="float32"
        Type of the pixels.
    scale : bool, default=False
        Whether to divide the pixels by 255, which maps them to [0, 1].
    as_images : bool, default=False
        Whether the pictures are images of shape (28, 28) rather than rows of 784 pixels.
    return_X_y : bool, default=False
        Whether to return ``(X_train, X_test, y_train, y_test)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        As from :func:`load_mnist`; `target_names` says what the labels from 0 to 9 mean.

    Raises
    ------
    FileNotFoundError
        If the folder lacks one of the files.
    OSError
        If no folder is named and the download fails.
    ValueError
        As from :func:`load_mnist`, and if a label is not from 0 to 9, or if the folder has MNIST.

    Examples
    --------
    >>> from estimators.datasets import load_fashion_mnist
    >>> clothes = load_fashion_mnist("path/to/fashion-mnist", scale=True)  # doctest: +SKIP
    >>> clothes.target_names[clothes.y_train[:2]]  # doctest: +SKIP
    array(['Ankle boot', 'T-shirt/top'], dtype='<U11')
    """
    dtype = pixel_dtype(dtype, scale)
    folder = find_folder(data_dir, FASHION.folder)
    raw = fetch(FASHION, data_home) if folder is None else read_folder(folder, dtype)
    if _is_published(raw, MNIST):
        raise ValueError(
            f"{folder} has the digits of MNIST, whose files have the same names: load them by "
            f"load_mnist, or give the folder of Fashion-MNIST"
        )
    for subset in ("train", "test"):
        what = f"Fashion-MNIST: the {subset} labels"
        check_numbers(what, raw[f"y_{subset}"], (0, len(FASHION_NAMES) - 1), whole=True)
    return bundle(raw, 255, dtype, scale, as_images, return_X_y, FASHION_NAMES)


def _is_published(raw: Raw, published: Published) -> bool:
    """Whether these are the images and labels that were published under another name."""
    counts = zip((published.train, published.test), (raw["y_train"], raw["y_test"]), strict=True)
    # the sum of all bytes takes a while, and the numbers of samples of each class tell at once
    if any(tuple(np.unique(y, return_counts=True)[1]) != expected for expected, y in counts):
        return False
    return digest(raw) == published.sha256
