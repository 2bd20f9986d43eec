"""Rows of pixels as images, and the network inside a pipeline or a search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isqrt, prod
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

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


def shape_to_show(n_features: int, image_shape: Any, model: Any = None) -> Shape:
    """Return the image shape that is given, that a model was fitted on, or that is square.

    Raises
    ------
    ValueError
        If there is none of these.
    """
    if image_shape is not None:
        return checked_image_shape(image_shape, n_features)
    fitted = getattr(model, "image_shape_", None)
    if fitted is not None and np.prod(fitted) == n_features:
        return fitted
    shape = inferred_image_shape(n_features)
    if shape is None:
        raise ValueError(
            f"{n_features} features are no square image: give image_shape=(height, width) or "
            "(height, width, channels)"
        )
    return shape


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


def as_images(X: Any, image_shape: Any = None, model: Any = None) -> np.ndarray:
    """Return samples as images of shape (n_samples, height, width, channels).

    Rows of pixels take the shape that `shape_to_show` finds; arrays of three or four axes keep
    theirs.
    """
    X, given = rows_of_images(X, "a picture")
    X = np.asarray(X)
    if X.ndim != 2:
        raise ValueError(f"expected {_FORMS}, got an array of shape {X.shape}")
    return X.reshape(len(X), *(given or shape_to_show(X.shape[1], image_shape, model)))


def steps_and_model(estimator: Any) -> tuple[list[tuple[str, Any]], Any]:
    """Return what a search or a pipeline ends in, and the steps before it, by their names.

    Of a search it is the best estimator. Steps that leave samples as they are are left out, and
    those of a pipeline among the steps stand in its place.
    """
    steps: list[tuple[str, Any]] = []
    while True:
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif isinstance(estimator, Pipeline):
            steps += _flat(estimator.steps[:-1])
            estimator = estimator[-1]
        else:
            return steps, estimator


def _flat(steps: list[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    for name, step in steps:
        if isinstance(step, Pipeline):
            yield from ((f"{name}__{inner}", s) for inner, s in _flat(step.steps))
        elif step not in (None, "passthrough"):
            yield name, step


def n_features_given(steps: list[tuple[str, Any]], model: Any) -> int:
    """How many features the first of some steps takes, or the model that they lead to."""
    for one in (*(step for _, step in steps), model):
        if hasattr(one, "n_features_in_"):
            return one.n_features_in_
    # weights that a hand has set
    return np.shape(model.coefs_[0])[0] if hasattr(model, "coefs_") else model.coef_.shape[-1]


def final_estimator(estimator: Any) -> Any:
    """Return the fitted estimator itself, the last step of a pipeline, or the best of a search."""
    _, model = steps_and_model(estimator)
    check_is_fitted(model)
    return model


def before_the_last_step(estimator: Any, X: Any) -> Any:
    """Return X as `final_estimator` is given it by the steps before it; elsewhere as it is."""
    steps, _ = steps_and_model(estimator)
    for _, step in steps:
        X = step.transform(X)
    return X


def checked_layer(model: Any, layer: int) -> int:
    """Return the number of a layer with weights; ValueError where a network has none of it."""
    n = len(model.coefs_)
    if not -n <= layer < n:
        raise ValueError(f"{type(model).__name__} has layers 0 to {n - 1}, got layer={layer}")
    return layer % n


def checked_units(layer: int, units: Sequence[int], n_units: int) -> list[int]:
    """Return the numbers of units; ValueError where a layer has none of them."""
    if any(not 0 <= unit < n_units for unit in units):
        raise ValueError(f"layer {layer} has units 0 to {n_units - 1}, got units={list(units)}")
    return list(units)


def fitted_network(estimator: Any) -> Any:
    """Return the fitted network in an estimator.

    Raises
    ------
    ValueError
        If there is none.
    """
    model = final_estimator(estimator)
    if not hasattr(model, "_network"):
        raise ValueError(
            f"a {type(model).__name__} has no layers to look into: expected a fitted "
            "MLPClassifier or ConvNetClassifier"
        )
    return model
