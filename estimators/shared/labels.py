"""The labels of a fit: the classes, columns of 0 and 1, and the weights of the samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import compute_class_weight, compute_sample_weight
from sklearn.utils.multiclass import unique_labels

from estimators.shared.base import check_weights
from estimators.shared.warnings import warn


def learn_labels(y: np.ndarray) -> tuple[LabelBinarizer, np.ndarray]:
    """Return a binarizer that has learned the labels of a first fit, and its columns for them.

    Two classes make one column. A single class makes one too, which is all zeros.
    """
    # the binarizer looks at all labels several times
    binarizer = LabelBinarizer().fit(np.unique(y) if _are_integers(y) else y)
    return binarizer, indicators_of(y, binarizer)


def indicators_of(y: Any, binarizer: LabelBinarizer) -> np.ndarray:
    """Return labels as columns of 0 and 1.

    Where `y` has several labels per sample, everything but 0 becomes 1, as in scikit-learn's
    MLPClassifier. The binarizer alone would leave a 2 as it is.
    """
    if not (_are_integers(y) and _are_integers(binarizer.classes_)):
        return (binarizer.transform(y) != 0).astype(int)
    classes = binarizer.classes_
    if len(classes) == 1:
        return np.zeros((len(y), 1), int)
    return (y[:, None] == (classes if len(classes) > 2 else classes[1:])).astype(int)


def _are_integers(y: Any) -> bool:
    """Whether labels are an array of integers, one for each sample."""
    return type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "iu"


def count_outputs(y: Any, classes: Any) -> int:
    """Return how many columns labels make, or else known classes, or else two classes."""
    if y is not None:
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] > 1:
            return y.shape[1]
        classes = np.unique(y)
    return len(classes) if len(classes) > 2 else 1


def check_known(y: np.ndarray, classes: np.ndarray, *, all_of_them: bool) -> None:
    """Raise ValueError if `y` has labels outside `classes`, or does not have `all_of_them`."""
    labels = unique_labels(y)
    if all_of_them and set(labels) != set(classes):
        raise ValueError(
            "warm_start can only be used where `y` has the same classes as in the previous call "
            f"to fit. Previously got {classes}, `y` has {labels}"
        )
    if len(np.setdiff1d(labels, classes, assume_unique=True)):
        raise ValueError(
            "`y` has classes not in `self.classes_`. "
            f"`self.classes_` has {classes}. 'y' has {labels}."
        )


def check_kind(y: Any, binarizer: LabelBinarizer) -> None:
    """Raise ValueError if labels are of another kind than those that a binarizer has learned.

    For example strings instead of numbers, one label per sample instead of several, or another
    number of columns. The message is that of :func:`sklearn.utils.multiclass.unique_labels`.
    """
    known = binarizer.classes_
    if binarizer.y_type_ == "multilabel-indicator":
        known = np.zeros((1, len(known)), int)
    unique_labels(known, y)


def check_scored(y_val: Any, binarizer: LabelBinarizer) -> None:
    """Warn if a validation set has labels that the training set does not have.

    Raises
    ------
    ValueError
        If the training set has none of them, or labels of another kind.
    """
    check_kind(y_val, binarizer)
    if y_val.ndim == 2:
        return
    labels, classes = unique_labels(y_val), binarizer.classes_
    unknown = np.setdiff1d(labels, classes)
    if len(unknown) == len(labels):
        raise ValueError(
            "`y_val` has classes not in `self.classes_`. "
            f"`self.classes_` has {classes}. `y_val` has {labels}."
        )
    if len(unknown):
        warn(
            f"`y_val` has classes {unknown} that are not in `self.classes_`, which has {classes}: "
            "no prediction of them is right",
        )


def check_members(estimator: Any, labels: np.ndarray) -> None:
    """Raise ValueError if early stopping holds samples out and a class has only one member.

    The error comes from scikit-learn's split, and names the label. (scikit-learn's own classifiers
    name the index of the class instead.)

    Parameters
    ----------
    estimator : classifier
        Its parameters say whether samples are held out, and how many.
    labels : integer ndarray of shape (n_samples,)
        The labels as indices into its `classes_`.
    """
    if estimator.early_stopping and 1 in np.bincount(labels):
        fraction = estimator.validation_fraction
        next(StratifiedShuffleSplit(test_size=fraction).split(labels, estimator.classes_[labels]))


NO_AVERAGE = (
    "The sample weights for validation set sum to zero, which leaves no average to score by: "
    "consider using a different random state, or weights that are not negative."
)


def check_scoring_weights(weight: np.ndarray) -> None:
    """Raise ValueError if no score can be computed with the weights of the samples held out."""
    if not weight.any():
        raise ValueError(
            "The sample weights for validation set are all zero, consider using a different "
            "random state."
        )
    if weight.sum() == 0:
        raise ValueError(NO_AVERAGE)


def total_weights(
    class_weight: Any,
    classes: np.ndarray,
    y: np.ndarray,
    dtype: Any,
    sample_weight: Any,
    *,
    balance: str = "counts",
) -> np.ndarray | None:
    """Return the weights of the samples times those of their classes, or None if all are 1.

    Parameters
    ----------
    class_weight : dict, list of dict, "balanced" or None
        A list has one dict for each column of `y`, which then has several labels per sample.
    classes : ndarray of shape (n_classes,)
        All labels, sorted, also those that are not among these samples.
    y : ndarray of shape (n_samples,) or (n_samples, n_labels)
    dtype : dtype
        That of the result. The product is computed in double precision and rounded once.
    sample_weight : array-like of shape (n_samples,) or None
    balance : {"counts", "weights"}, default="counts"
        What "balanced" makes equal for all classes: their numbers of samples, as in scikit-learn's
        SGDClassifier and Perceptron, or the sums of their samples' weights, as in its
        LogisticRegression.

    Raises
    ------
    ValueError
        If there is not one weight for each sample, or if in the dtype the weights are not all
        finite or sum to 0.
    """
    weights = None if sample_weight is None else check_weights(sample_weight, y)
    if class_weight is not None:
        by_class = _of_classes(class_weight, classes, y, weights if balance == "weights" else None)
        with np.errstate(over="ignore", invalid="ignore"):  # the check below says it in words
            weights = by_class if weights is None else weights * by_class
    return None if weights is None else _checked_total(weights, dtype)


def _of_classes(
    class_weight: Any, classes: np.ndarray, y: np.ndarray, weights: np.ndarray | None
) -> np.ndarray:
    """Return the weight of each sample's class; "balanced" counts samples by their `weights`."""
    if y.ndim == 2:
        return compute_sample_weight(class_weight, y)
    places = np.searchsorted(classes, y)
    if not isinstance(class_weight, str):
        return compute_class_weight(class_weight, classes=classes, y=classes)[places]
    counts = np.bincount(places, weights, len(classes))
    return (counts.sum() / (len(classes) * np.where(counts == 0, 1, counts)))[places]


def _checked_total(weights: np.ndarray, dtype: Any) -> np.ndarray:
    """Return weights in a dtype; raise unless they are finite in it and do not sum to 0."""
    with np.errstate(over="ignore"):
        weights = weights.astype(dtype)
    if not np.isfinite(weights).all():
        raise ValueError(
            "The weights of samples, times those of classes, hold NaN, infinity or a value too "
            f"large for {np.dtype(dtype)!r}."
        )
    total, size = weights.sum(dtype=float), np.abs(weights).sum(dtype=float)
    if not size:
        raise ValueError("Sample weights must contain at least one non-zero number.")
    # positive and negative weights may cancel only up to rounding
    if abs(total) <= size * np.finfo(dtype).eps:
        raise ValueError(
            "The weights of samples, times those of classes, sum to 0, and the loss is their "
            "weighted mean: negative weights must be outweighed by positive ones."
        )
    return weights
