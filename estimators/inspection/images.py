"""What the displays ask of a model and of its images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from estimators.shared.image_shapes import (
    FORMS,
    Shape,
    checked_image_shape,
    inferred_image_shape,
    rows_of_images,
)
from estimators.shared.pipelines import final_estimator


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


def as_images(X: Any, image_shape: Any = None, model: Any = None) -> np.ndarray:
    """Return samples as images of shape (n_samples, height, width, channels).

    Rows of pixels take the shape that `shape_to_show` finds; arrays of three or four axes keep
    theirs.
    """
    X, given = rows_of_images(X, "a picture")
    X = np.asarray(X)
    if X.ndim != 2:
        raise ValueError(f"expected {FORMS}, got an array of shape {X.shape}")
    return X.reshape(len(X), *(given or shape_to_show(X.shape[1], image_shape, model)))


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
