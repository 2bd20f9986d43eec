"""Scikit-learn's small digits, in a split that is always the same."""

from __future__ import annotations

from numpy.typing import DTypeLike
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch

from estimators.datasets.pixels import Split, bundle, pixel_dtype


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
    dtype = pixel_dtype(dtype, scale)
    digits = load_digits()
    names = ("X_train", "X_test", "y_train", "y_test")
    halves = train_test_split(
        digits.images, digits.target, test_size=0.25, stratify=digits.target, random_state=0
    )
    return bundle(dict(zip(names, halves, strict=True)), 16, dtype, scale, as_images, return_X_y)
