"""The nearest neighbour: found exactly, block by block, with matrix products."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from cukernels import matmul, precision
from cukernels.runtime import current, resolve_device, to_device, to_host
from estimators.scikit_learn import Interval, fit_context
from estimators.shared.all_or_nothing import all_or_nothing
from estimators.shared.base import FLOATS, Classifier
from estimators.shared.device_arrays import check_on_host
from estimators.shared.image_shapes import rows_of_images

_RECHECKED = 2**22  # differences that are held at once: 32 MB of float64


class NearestNeighborClassifier(Classifier):
    """Gives each sample the label of the training sample with the smallest Euclidean distance.

    The nearest sample is found exactly. Matrix products give all distances with a bound on their
    rounding error, and the few samples that may be the nearest within this bound are measured
    directly, in float64. If several samples are equally near, the first one in the training data
    counts.

    Parameters
    ----------
    block_size : int, default=4096
        How many training samples are compared at once with how many samples to predict. A
        prediction takes the memory of ``block_size**2`` numbers.
    device : str, default="auto"
        Where to compute the products: "cpu", "cuda", "cuda:N", or "auto", which is the CPU here,
        always. Samples come from the host.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where X has names that are strings.

    References
    ----------
    Cover and Hart, "Nearest neighbor pattern classification", IEEE Transactions on Information
    Theory 13, 1967. The bound is that of Higham, "Accuracy and Stability of Numerical Algorithms",
    2nd edition, section 3.1.

    Examples
    --------
    >>> from estimators import NearestNeighborClassifier
    >>> from estimators.datasets import load_digits_split
    >>> X, X_test, y, y_test = load_digits_split(return_X_y=True)
    >>> NearestNeighborClassifier().fit(X, y).score(X_test, y_test) > 0.98
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "block_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
    }

    def __init__(self, *, block_size: int = 4096, device: str = "auto") -> None:
        self.block_size = block_size
        self.device = device

    @fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def fit(self, X: Any, y: Any) -> NearestNeighborClassifier:
        """Remember the samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or images
            Samples; images (n_samples, height, width) or (n_samples, height, width, channels)
            are flattened.
        y : array-like of shape (n_samples,)
            Labels.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If X or y is invalid, or `y` is not made of classes.
        TypeError
            If X is on a GPU.
        """
        resolve_device(self.device)
        check_on_host(X, self)
        X, self._given_shape = rows_of_images(X, type(self).__name__)
        X, y = validate_data(self, X, y, dtype=FLOATS, order="C")
        check_classification_targets(y)
        self.classes_, self._labels = np.unique(y, return_inverse=True)
        self._samples = X.copy()
        # distances do not change with the origin, and near it they are rounded least
        self._origin = X.mean(axis=0, dtype=np.float64).astype(X.dtype)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the label of the nearest training sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or images
            Samples.

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        _, nearest = self._nearest(X)
        return self.classes_[self._labels[nearest]]

    def kneighbors(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the distance to the nearest training sample, and the index of that sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or images
            Samples.

        Returns
        -------
        distances : ndarray of shape (n_samples, 1), float64
        indices : ndarray of shape (n_samples, 1)
            As scikit-learn's KNeighborsClassifier returns them for one neighbour.
        """
        squared, nearest = self._nearest(X)
        return np.sqrt(squared)[:, None], nearest[:, None]

    def _nearest(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return squared distances in float64, and indices, each of shape (n_samples,)."""
        check_is_fitted(self)
        check_on_host(X, self)
        X, _ = rows_of_images(X, type(self).__name__, self._given_shape)
        X = validate_data(self, X, dtype=FLOATS, order="C", reset=False)
        squared, nearest = np.full(len(X), np.inf), np.zeros(len(X), np.intp)
        for start in range(0, len(self._samples), self.block_size):
            block = Block(self._samples[start : start + self.block_size], self._origin, self.device)
            for first in range(0, len(X), self.block_size):
                rows = slice(first, first + self.block_size)
                found, where = block.nearest(X[rows], squared[rows])
                closer = found < squared[rows]  # of equally near samples the earlier one stays
                squared[rows] = np.where(closer, found, squared[rows])
                nearest[rows] = np.where(closer, where + start, nearest[rows])
        return squared, nearest

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


class Block:
    """Some training samples, which are searched for the nearest one.

    With ``score = q . t - |t|^2 / 2``, which is a product with a bias, the squared distance of a
    query q and a sample t is ``|q|^2 - 2 score``. So the nearest t has the highest score.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_features)
        The training samples.
    origin : ndarray of shape (n_features,)
        What is subtracted from all samples and queries, so that products are rounded less.
    device : str
        Where to compute the products.
    lower : str, default="block_size"
        The parameter that an error tells to lower when the GPU has too little memory.
    """

    def __init__(
        self, samples: np.ndarray, origin: np.ndarray, device: str, lower: str = "block_size"
    ) -> None:
        self.samples, self.origin, self.lower = samples, origin, lower
        self.device = resolve_device(device)
        centred = samples - origin
        half = 0.5 * np.einsum("ij,ij->i", centred, centred, dtype=np.float64)
        self.largest = float(np.sqrt(2 * half.max(initial=0.0)))
        with current(self.device, lower):
            self.centred = to_device(np.ascontiguousarray(centred), self.device)
            self.bias = to_device((-half).astype(centred.dtype), self.device)

    def nearest(self, X: np.ndarray, at_most: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the squared distance and index of the nearest sample for each query.

        Parameters
        ----------
        X : ndarray of shape (n, n_features)
            The queries.
        at_most : ndarray of shape (n,)
            Squared distances of samples that were found in other blocks. Farther samples need not
            be found: their distance may be returned as infinity.

        Returns
        -------
        squared : ndarray of shape (n,), float64
        indices : ndarray of shape (n,)
        """
        queries = np.ascontiguousarray(X - self.origin, self.centred.dtype)
        # the bound below holds for full precision
        with current(self.device, self.lower), precision("float32"):
            scores = to_host(
                matmul(to_device(queries, self.device), self.centred, self.bias, transpose_b=True)
            )
        norms = np.einsum("ij,ij->i", queries, queries, dtype=np.float64)
        # How far a score may be off by rounding: of the centred values, product, bias and sum.
        unit = np.finfo(scores.dtype).eps * (X.shape[1] + 8)
        slack = unit * (np.sqrt(norms) + self.largest) ** 2
        best = scores.max(axis=1)
        known = 0.5 * (norms - at_most)
        bound = np.maximum(best - 2 * slack, known - slack)
        rows, columns = np.nonzero(scores >= bound[:, None])
        found, where = np.full(len(X), np.inf), np.zeros(len(X), np.intp)
        chunk = max(1, _RECHECKED // X.shape[1])
        for i in range(0, len(rows), chunk):
            r, c = rows[i : i + chunk], columns[i : i + chunk]
            difference = X[r].astype(np.float64) - self.samples[c]
            squared = np.einsum("ij,ij->i", difference, difference)
            # the first entry of each query is then its nearest sample, and the earliest of those
            order = np.lexsort((c, squared, r))
            r, c, squared = r[order], c[order], squared[order]
            first = np.flatnonzero(np.diff(r, prepend=-1))
            r, c, squared = r[first], c[first], squared[first]
            closer = squared < found[r]
            found[r[closer]], where[r[closer]] = squared[closer], c[closer]
        return found, where
