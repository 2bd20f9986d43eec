"""Networks whose weights are given instead of learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import assert_all_finite, check_array

from estimators.neural.attributes import fitted_attributes
from estimators.training.member import TrainingState


def set_weights(
    model: Any,
    coefs: Sequence[np.ndarray],
    intercepts: Sequence[np.ndarray],
    classes: np.ndarray,
    multilabel: bool = False,
) -> Any:
    """Give an MLPClassifier its fitted attributes without a fit, and return it.

    `fit` with ``warm_start=True`` and `partial_fit` go on from these weights.

    Parameters
    ----------
    model : MLPClassifier
        The estimator, whose parameters describe the layers.
    coefs, intercepts : sequences of ndarray
        Weights (n_in, n_out) and biases (n_out,) of each layer.
    classes : ndarray of shape (n_classes,)
        Labels.
    multilabel : bool, default=False
        Whether each of the classes is a label of its own.

    Raises
    ------
    ValueError
        If the arrays do not fit each other, the layers or the classes, or if their numbers are not
        finite in the network's dtype.
    """
    coefs, intercepts = weights_of(coefs, "coefs", 2), weights_of(intercepts, "intercepts", 1)
    _check_shapes(coefs, intercepts)
    n_outputs = coefs[-1].shape[1]
    binarizer = LabelBinarizer().fit(np.eye(2, len(classes), dtype=int) if multilabel else classes)
    if multilabel:
        binarizer.classes_ = classes
    else:
        classes = binarizer.classes_
    expected = 1 if len(classes) == 2 and not multilabel else len(classes)
    if n_outputs != expected:
        raise ValueError(
            f"{len(classes)} classes {classes} need {expected} output(s), but the last layer has "
            f"{n_outputs}"
        )
    dtype = model._own_dtype
    n_features = coefs[0].shape[0]
    network = model._build_network(n_features, n_outputs)
    for name, arrays in (("coefs", coefs), ("intercepts", intercepts)):
        for k, array in enumerate(arrays):
            with np.errstate(over="ignore"):  # what the dtype does not hold is refused in words
                assert_all_finite(array.astype(dtype), input_name=f"{name}[{k}]")
    model.n_features_in_ = n_features
    model.classes_, model._label_binarizer = classes, binarizer
    model.coefs_, model.intercepts_ = coefs, intercepts
    params = network.pack(model._parameters(network), dtype)
    vars(model).update(fitted_attributes(model, network, TrainingState(params)))
    model.early_stopped_ = False
    return model


def weights_of(values: Any, name: str, axes: int) -> list[np.ndarray]:
    """Return given weights or biases as arrays of real numbers, one for each layer.

    Parameters
    ----------
    values : sequence of array-like
        What was given.
    name : str
        What the messages call it.
    axes : int
        How many axes each array is to have; axes of length 1 are added in front.

    Raises
    ------
    ValueError
        If `values` is no sequence, or if one of the arrays has more axes, or holds NaN, infinity
        or anything but real numbers.
    """
    if not isinstance(values, Sequence | np.ndarray) or isinstance(values, str | bytes):
        raise ValueError(f"{name} must be a sequence of arrays, one a layer, got {values!r}")
    arrays = []
    for k, value in enumerate(values):
        given = check_array(
            value,
            dtype="numeric", ensure_2d=False, allow_nd=True, input_name=f"{name}[{k}]",
            ensure_min_samples=0, ensure_min_features=0,
        )  # fmt: skip
        if given.ndim > axes:
            raise ValueError(
                f"{name}[{k}] must have {axes} axes at the most, got an array of shape "
                f"{given.shape}"
            )
        shape = (1,) * (axes - given.ndim) + given.shape
        arrays.append(given.reshape(shape).astype(float, copy=False))
    return arrays


def _check_shapes(coefs: list[np.ndarray], intercepts: list[np.ndarray]) -> None:
    if not coefs or len(coefs) != len(intercepts):
        raise ValueError(
            f"coefs and intercepts have an entry for each layer, got {len(coefs)} and "
            f"{len(intercepts)}"
        )
    for k, (w, b) in enumerate(zip(coefs, intercepts, strict=True)):
        n_in = coefs[k - 1].shape[1] if k else w.shape[0]
        if w.ndim != 2 or w.shape[0] != n_in or b.shape != w.shape[1:]:
            raise ValueError(
                f"layer {k}: weights of shape {w.shape} and biases of shape {b.shape} do not fit "
                f"{n_in} inputs: expected ({n_in}, n_out) and (n_out,)"
            )
