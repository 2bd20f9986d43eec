"""Rows of pixels as images, and the network inside a pipeline or a search."""

from __future__ import annotations

from math import isqrt, prod
from typing import Any

import numpy as np
import scipy.sparse as sp

from estimators.shared.warnings import warn

Shape = tuple[int, int, int]
_IN_COLOUR = 8  # pixels a side: rows of smaller pictures in colour are no sure sign of them
_FORMS = (
    "rows of pixels (n_samples, n_features) or images (n_samples, height, width) or "
    "(n_samples, height, width, channels)"
)


def given_image_shape(image_shape: Any) -> Shape:
    """Return (height, width, channels) of a given shape, of two or three numbers.

    Raises
    ------
    ValueError
        If it is no shape.
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
    """Return a given shape; ValueError if it has other pixels than there are features."""
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
    """Warn of images that are almost surely laid out in another way than they are taken.

    Parameters
    ----------
    shape : (int, int, int)
        Height, width and channels, as they are taken.
    X : ndarray of shape (n_samples, n_features) or None, default=None
        The images as rows, where it is not sure that they are images.
    told : bool, default=True
        Whether somebody said that this is their shape.
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
    """Whether (height, width, channels) is rather (channels, height, width) of a picture.

    That is few rows, and about as many channels as columns. The channels of feature maps, and of
    signals (1, length, channels), are other numbers than the columns.
    """
    n, height, width = shape
    if height == width:
        return height >= {1: 8, 3: 8, 4: 16}.get(n, height + 1)
    return n == 3 and min(height, width) >= 32 and max(height, width) <= 2 * min(height, width)


def _are_signals(X: np.ndarray, side: int) -> bool:
    """Whether rows of 3 * side**2 values are smooth along the row, but not across its lines.

    A spectrum changes more from line to line than from value to value; a picture, with its colours
    side by side or as planes, does not, and nor does noise.
    """
    x = X[:100].astype(np.float64)

    def step(lag: int) -> float:
        return float(np.abs(x[:, lag:] - x[:, :-lag]).mean())

    with np.errstate(over="ignore", invalid="ignore"):
        return step(3 * side) > 2 * step(3) and step(side) > 2 * step(1)


def inferred_image_shape(n_features: int) -> Shape | None:
    """Return the shape of a square image of one channel or of three; None if it is neither."""
    for channels in (1, 3):
        side = isqrt(n_features // channels)
        if side * side * channels == n_features:
            return side, side, channels
    return None


def rows_of_images(
    X: Any, name: str, shape: tuple[int, ...] | None = None
) -> tuple[Any, Shape | None]:
    """Return X as rows of pixels for validation, and the shape of its images.

    This is how every estimator of images reads X: images (n_samples, height, width) or
    (n_samples, height, width, channels), or a list of them, are flattened. All else stays as it
    is, with None for a shape: rows of pixels, and what scikit-learn refuses in its words.

    Parameters
    ----------
    X : array-like or sparse matrix
    name : str
        Who reads it, for the messages.
    shape : (int, int, int) or None, default=None
        Of the images that it is fitted on, where it is fitted on images.

    Raises
    ------
    ValueError
        If the images have another shape than those of the fit, or different ones, or too many
        axes; or if this is one image and no array of them.
    """
    if sp.issparse(X):
        return X, None
    images = _as_array(X)
    axes = tuple(getattr(images, "shape", ()))
    if len(axes) > 4:
        raise ValueError(
            f"Found array with dim {len(axes)}, while {name} expects {_FORMS}: X has shape {axes}"
        )
    given: Shape | None = (*axes[1:], 1)[:3] if len(axes) > 2 else None
    fits = given == shape if given else axes[1:] == (prod(shape or ()),)
    if shape in (axes, (*axes, 1)) and not fits:
        raise ValueError(
            f"X is a single image of shape {axes}, while {name} expects {_FORMS}: give X[None]"
        )
    if given is None:
        return images, None
    if shape is not None and not fits:
        raise ValueError(
            f"X holds images of shape {given}, but {name} is fitted on images of shape {shape}"
        )
    return np.asarray(images).reshape(len(images), prod(given)), given


def _as_array(X: Any) -> Any:
    """A list, or objects in an array, as one array; what is ragged but no images stays as it is."""
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
    """The shapes that the samples of a list have; none where one is ragged in itself."""
    try:
        return sorted({np.shape(x) for x in X})
    except ValueError:
        return []


def told_image_shape(given: Shape | None, image_shape: Any, n_features: int) -> Shape | None:
    """Return the shape that images have, or else `image_shape`; None where there is neither.

    Raises
    ------
    ValueError
        If the two differ, or there are other pixels than features.
    """
    if image_shape is None:
        return given
    if given is not None and given_image_shape(image_shape) != given:
        raise ValueError(f"X holds images of shape {given}, but image_shape is {image_shape}")
    return checked_image_shape(image_shape, n_features)
