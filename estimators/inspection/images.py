"""The checks of the displays: the shape of images, the layers and units of a model."""

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
    """Return the shape to draw features in: that given, that of the fit, or that of a square.

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

    Rows of pixels take the shape that `shape_to_show` finds. Arrays of three or four axes keep
    their own.
    """
    X, given = rows_of_images(X, "a picture")
    X = np.asarray(X)
    if X.ndim != 2:
        raise ValueError(f"expected {FORMS}, got an array of shape {X.shape}")
    return X.reshape(len(X), *(given or shape_to_show(X.shape[1], image_shape, model)))


def checked_layer(model: Any, layer: int) -> int:
    """Return the number of a layer with weights; raise ValueError if there is no such layer."""
    n = len(model.coefs_)
    if not -n <= layer < n:
        raise ValueError(f"{type(model).__name__} has layers 0 to {n - 1}, got layer={layer}")
    return layer % n


def checked_units(layer: int, units: Sequence[int], n_units: int) -> list[int]:
    """Return the numbers of units; raise ValueError if a layer does not have all of them."""
    if any(not 0 <= unit < n_units for unit in units):
        raise ValueError(f"layer {layer} has units 0 to {n_units - 1}, got units={list(units)}")
    return list(units)


def fitted_network(estimator: Any) -> Any:
    """Return the fitted network that an estimator is or ends in.

    Raises
    ------
    ValueError
        If it ends in no network.
    """
    model = final_estimator(estimator)
    if not hasattr(model, "_network"):
        raise ValueError(
            f"a {type(model).__name__} has no layers to look into: expected a fitted "
            "MLPClassifier or ConvNetClassifier"
        )
    return model
