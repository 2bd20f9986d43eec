"""What all sets of images end in: pixels of one type, labels, and a Bunch of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike
from sklearn.utils import Bunch

_DTYPES = ("uint8", "float32", "float64")
PIXELS = (0, 255)  # what they may be
INT64 = (-(2**63), 2**63 - 1)

Split = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def pixel_dtype(dtype: DTypeLike, scale: bool) -> np.dtype:
    """Return the type that pixels are to have; a ValueError if they cannot."""
    dtype = np.dtype(dtype)
    if dtype.name not in _DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}, got {dtype.name}")
    if scale and dtype.kind != "f":
        raise ValueError(f"pixels scaled to [0, 1] do not fit dtype {dtype.name}: use float32")
    return dtype


def bundle(
    raw: dict[str, np.ndarray],
    ink: int,
    dtype: np.dtype,
    scale: bool,
    as_images: bool,
    return_X_y: bool,
    target_names: Sequence[str] = (),
) -> Bunch | Split:
    """Make what a loader returns.

    Parameters
    ----------
    raw : dict
        The images `X_train` and `X_test`, of shape (n, *image_shape), and labels of shape (n,).
    ink : int
        The most that a pixel can be.
    dtype : dtype
        Type of the pixels, from `pixel_dtype`.
    scale, as_images, return_X_y : bool
        As in the loaders.
    target_names : sequence of str, default=()
        What the labels 0, 1, ... mean. Empty: the labels are their own names.
    """
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
    data.target_names = np.array(target_names) if target_names else np.unique(data.y_train)
    return data


def check_numbers(what: str, values: np.ndarray, limits: tuple[int, int], *, whole: bool) -> None:
    """Raise ValueError if values exceed limits, or are not whole as demanded.

    Parameters
    ----------
    what : str
        What the values are, to begin the message.
    values : ndarray of numbers
    limits : pair of int
        The least and the greatest that a value may be, within int64.
    whole : bool
        Whether each has to be a whole number.
    """
    least, most = limits
    right = (values >= least) & (values <= most)  # False for NaN
    if values.dtype.kind == "f":
        right &= values < float(most) + 1  # as a float, 2**63 - 1 is 2**63
        right &= (values == np.rint(values)) | (not whole)
    if not right.all():
        raise ValueError(
            f"{what} have {values[~right][0]} among them; expected {'whole ' if whole else ''}"
            f"numbers from {least} to {most}"
        )
