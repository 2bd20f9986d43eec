"""The shapes of images: given with X, told by a parameter, or inferred from rows of pixels."""

from __future__ import annotations

from math import isqrt, prod
from typing import Any

import numpy as np
import scipy.sparse as sp

from cukernels.runtime import to_host
from estimators.shared.device_arrays import device_of
from estimators.shared.warnings import warn

Shape = tuple[int, int, int]
# The shortest side, in pixels, of a picture in colour that a number of features is a sign of.
_IN_COLOUR = 8
FORMS = (
    "rows of pixels (n_samples, n_features) or images (n_samples, height, width) or "
    "(n_samples, height, width, channels)"
)


def given_image_shape(image_shape: Any) -> Shape:
    """Return (height, width, channels) for an `image_shape` of two or three numbers.

    Raises
    ------
    ValueError
        If these are not two or three positive integers.
    """
    shape = tuple(image_shape)
    whole = all(isinstance(n, int | np.integer) and n > 0 for n in shape)
    if len(shape) not in (2, 3) or not whole:
        raise ValueError(
            "image_shape must be (height, width) or (height, width, channels), made of positive "
            f"integers, got {image_shape!r}"
        )
    return (*shape, 1)[:3]


def checked_image_shape(image_shape: Any, n_features: int) -> Shape:
    """Return `image_shape` as three numbers; raise ValueError if X has another number of pixels."""
    shape = given_image_shape(image_shape)
    if np.prod(shape) != n_features:
        raise ValueError(
            f"image_shape {image_shape} has {np.prod(shape)} pixels, but X has {n_features} "
            "features"
        )
    return shape


def warn_of_layout(
    shape: tuple[int, ...], X: np.ndarray | None = None, *, told: bool = True
) -> None:
    """Warn if the layout of images is almost surely another one than they are read in.

    Parameters
    ----------
    shape : (int, int, int)
        Height, width and channels as which each row is read.
    X : ndarray of shape (n_samples, n_features) or None, default=None
        The rows, where these may be no images at all.
    told : bool, default=True
        Whether the shape is the user's, by the axes of X or by `image_shape`, and not inferred.
    """
    height, width, channels = shape
    if _are_channels_first(shape):
        warn(
            f"X is taken as images of {height} x {width} pixels with {channels} channels, but "
            f"looks like {width} x {channels} pixels with the channels first: give "
            f"X.reshape(-1, {height}, {width}, {channels}).transpose(0, 2, 3, 1), or for rows "
            f"where the channels of a pixel stand side by side "
            f"image_shape=({width}, {channels}, {height})",
        )
    if not told and channels == 3 and height >= _IN_COLOUR:
        warn(
            f"X is taken as images of {height} x {width} pixels in colour: if they are, give "
            f"image_shape=({height}, {width}, 3) where the colours of a pixel stand side by side, "
            f"or X.reshape(-1, 3, {height}, {width}).transpose(0, 2, 3, 1) where they are one "
            "plane after the other",
        )
    side = isqrt(width // 3)
    is_line = not told and height == 1 and 3 * side * side == width
    if is_line and side >= _IN_COLOUR and X is not None and not _are_signals(X, side):
        warn(
            f"X is taken as rows of {width} pixels, but {width} is 3 x {side} x {side}: if these "
            f"are images in colour, give image_shape=({side}, {side}, 3) where the colours of a "
            "pixel stand side by side, or "
            f"X.reshape(-1, 3, {side}, {side}).transpose(0, 2, 3, 1) where they are one plane "
            "after the other",
        )


def _are_channels_first(shape: tuple[int, ...]) -> bool:
    """Return whether (height, width, channels) is more likely (channels, height, width).

    Then the first number is small, and the two others are about the same. The maps of a
    convolution, and signals of shape (1, length, channels), have another number of channels than
    of columns.
    """
    n, height, width = shape
    if height == width:
        # the smallest square that is a sign, for pictures in grey, in RGB and in RGBA
        return height >= {1: 8, 3: 8, 4: 16}.get(n, height + 1)
    return n == 3 and min(height, width) >= 32 and max(height, width) <= 2 * min(height, width)


def _are_signals(X: np.ndarray, side: int) -> bool:
    """Return whether rows of 3 * side**2 values are signals rather than pictures in colour.

    A signal, such as a spectrum, changes little from one value to the next, and much over the
    length of a picture's line. In a picture the pixel below is about as similar as the pixel beside
    it, and in noise no two values are similar.
    """
    x = to_host(X[:100]).astype(np.float64)

    def step(lag: int) -> float:
        return float(np.abs(x[:, lag:] - x[:, :-lag]).mean())

    # The pixel below against the pixel beside: where the three colours of a pixel are side by side,
    # and where they are one plane after the other.
    with np.errstate(over="ignore", invalid="ignore"):
        return step(3 * side) > 2 * step(3) and step(side) > 2 * step(1)


def inferred_image_shape(n_features: int) -> Shape | None:
    """Return the shape of a square image of one channel or of three, or None if there is none."""
    for channels in (1, 3):
        side = isqrt(n_features // channels)
        if side * side * channels == n_features:
            return side, side, channels
    return None


def rows_of_images(
    X: Any, name: str, shape: tuple[int, ...] | None = None
) -> tuple[Any, Shape | None]:
    """Return X as rows of pixels for validation, and the shape of its images.

    Every estimator of images reads X by this function. It flattens images of shape (n_samples,
    height, width) or (n_samples, height, width, channels), and lists of images. It returns
    everything else as it is, with None as the shape: rows of pixels, and input that scikit-learn
    is to refuse in its own words.

    Parameters
    ----------
    X : array-like or sparse matrix
    name : str
        The class that reads X, for the messages.
    shape : (int, int, int) or None, default=None
        The shape of the images that the model was fitted on; None if these were no images.

    Returns
    -------
    rows : array-like or sparse matrix of shape (n_samples, n_features)
    given : (int, int, int) or None
        Height, width and channels of the images.

    Raises
    ------
    ValueError
        If the images have another shape than those of the fit, or differ in shape, or X has more
        than four axes; or if X is a single image.
    """
    if sp.issparse(X):
        return X, None
    images = _as_array(X)
    axes = tuple(getattr(images, "shape", ()))
    if len(axes) > 4:
        raise ValueError(
            f"Found array with dim {len(axes)}, while {name} expects {FORMS}: X has shape {axes}"
        )
    given: Shape | None = (*axes[1:], 1)[:3] if len(axes) > 2 else None
    fits = given == shape if given else axes[1:] == (prod(shape or ()),)
    # X has the axes that one image has, and cannot be an array of images or of rows as well
    if shape in (axes, (*axes, 1)) and not fits:
        raise ValueError(
            f"X is a single image of shape {axes}, while {name} expects {FORMS}: give X[None]"
        )
    if given is None:
        return images, None
    if shape is not None and not fits:
        raise ValueError(
            f"X holds images of shape {given}, but {name} is fitted on images of shape {shape}"
        )
    if device_of(images) is None:
        images = np.asarray(images)
    return images.reshape(len(images), prod(given)), given


def _as_array(X: Any) -> Any:
    """Return a list, or an array of objects, as one array.

    Ragged input that does not consist of images is returned as it is: scikit-learn refuses it.
    """
    if getattr(X, "dtype", None) == np.dtype(object) and len(X.shape) == 1:
        X = list(X)
    if hasattr(X, "shape"):
        return X
    try:
        return np.asarray(X)
    except ValueError:
        shapes = _shapes(X)
    if shapes and all(len(shape) in (2, 3) for shape in shapes):
        raise ValueError(
            f"X holds images of different shapes, {shapes[0]} and {shapes[-1]} among them: bring "
            "them to one size and number of channels first"
        )
    return X


def _shapes(X: Any) -> list[tuple[int, ...]]:
    """Return the different shapes of the samples in a list; none if a sample itself is ragged."""
    try:
        return sorted({np.shape(x) for x in X})
    except ValueError:
        return []


def told_image_shape(given: Shape | None, image_shape: Any, n_features: int) -> Shape | None:
    """Return the shape given with X, or else the parameter `image_shape`; None if both are None.

    Raises
    ------
    ValueError
        If the two differ, or `image_shape` has another number of pixels than X has features.
    """
    if image_shape is None:
        return given
    if given is not None and given_image_shape(image_shape) != given:
        raise ValueError(f"X holds images of shape {given}, but image_shape is {image_shape}")
    return checked_image_shape(image_shape, n_features)
