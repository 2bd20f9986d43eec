"""Features of images: how often each visual word, a typical response of filters, occurs."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.cluster import MiniBatchKMeans
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from cukernels.runtime import resolve_device
from estimators.neighbors import Block
from estimators.scikit_learn import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    Interval,
    fit_context,
)
from estimators.shared.all_or_nothing import all_or_nothing
from estimators.shared.base import FLOATS
from estimators.shared.device_arrays import check_on_host
from estimators.shared.image_shapes import (
    Shape,
    inferred_image_shape,
    rows_of_images,
)
from estimators.vision.filter_bank import AT_ONCE, N_FILTERS


class VisualWordsTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """How often each visual word occurs in an image.

    `fit` clusters the features of all places of the training images, and the centres of the
    clusters are the words. `transform` finds the word nearest to the features of each place of an
    image, and returns the histogram of these words.

    Parameters
    ----------
    n_words : int, default=100
        How many words there are.
    n_channels : int, default=38
        How many features each place has. They are side by side in X, as `FilterBankTransformer`
        leaves them.
    grid : int or (int, int), default=1
        Rows and columns of cells that an image is divided into. Each cell has its own histogram.
        With 1 there is one histogram of the whole image, which does not tell where a word stands.
        With more, images that X has as rows must be squares.
    max_places : int, default=100_000
        If there are more places than this, the clusters are learned from so many, drawn at random.
    random_state : int, RandomState instance or None, default=None
        Draws the places and the first centres.
    device : str, default="auto"
        Where to compute the distances: "cpu", "cuda", "cuda:N", or "auto", which is the CPU here,
        always. Samples come from the host.

    Attributes
    ----------
    words_ : ndarray of shape (n_words, n_channels)
        The words.
    n_features_in_ : int
        Number of places times channels.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where X has names that are strings.

    References
    ----------
    Csurka, Dance, Fan, Willamowski and Bray, "Visual categorization with bags of keypoints", ECCV
    2004. For `grid`: Lazebnik, Schmid and Ponce, "Beyond bags of features", CVPR 2006. The clusters
    are those of :class:`sklearn.cluster.MiniBatchKMeans`.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from estimators import FilterBankTransformer, LogisticRegression, VisualWordsTransformer
    >>> from estimators.datasets import load_digits_split
    >>> X, X_test, y, y_test = load_digits_split(scale=True, return_X_y=True)
    >>> words = VisualWordsTransformer(n_words=60, grid=2, random_state=0)
    >>> model = make_pipeline(FilterBankTransformer(), words, LogisticRegression(C=100))
    >>> model.fit(X, y).score(X_test, y_test) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_words": [Interval(Integral, 1, None, closed="left")],
        "n_channels": [Interval(Integral, 1, None, closed="left")],
        "grid": [tuple, list, Interval(Integral, 1, None, closed="left")],
        "max_places": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "device": [str],
    }

    def __init__(
        self,
        n_words: int = 100,
        *,
        n_channels: int = N_FILTERS,
        grid: Any = 1,
        max_places: int = 100_000,
        random_state: Any = None,
        device: str = "auto",
    ) -> None:
        self.n_words = n_words
        self.n_channels = n_channels
        self.grid = grid
        self.max_places = max_places
        self.random_state = random_state
        self.device = device

    @fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def fit(self, X: Any, y: Any = None) -> VisualWordsTransformer:
        """Cluster the features of the places.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_places * n_channels), or images
            Images, place after place, or as (n_samples, rows, columns, n_channels).
        y : None
            Not used.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If the number of features is no multiple of `n_channels`, if the images have fewer rows
            or columns than the grid, or if there are fewer places than words.
        """
        resolve_device(self.device)
        check_on_host(X, self)
        X, self._given_shape = rows_of_images(X, type(self).__name__)
        X = validate_data(self, X, dtype=FLOATS, order="C")
        if self._given_shape is not None and self._given_shape[2] != self.n_channels:
            raise ValueError(
                f"X holds {self._given_shape[2]} features at each place, but n_channels is "
                f"{self.n_channels}"
            )
        if X.shape[1] % self.n_channels:
            raise ValueError(
                f"{X.shape[1]} features are no multiple of n_channels={self.n_channels}: give the "
                "number of features at each place"
            )
        self._cells = self._cells_of(X.shape[1] // self.n_channels, self._given_shape)
        rng = check_random_state(self.random_state)
        places = X.reshape(-1, self.n_channels)
        if len(places) > self.max_places:
            places = places[np.sort(rng.choice(len(places), self.max_places, replace=False))]
        clusters = MiniBatchKMeans(self.n_words, n_init=1, batch_size=4096, random_state=rng)
        self.words_ = clusters.fit(places).cluster_centers_.astype(X.dtype)
        self._n_features_out = (self._cells.max() + 1) * self.n_words
        return self

    def _cells_of(self, n_places: int, given: Shape | None) -> np.ndarray:
        """Return the cell of each place, (n_places,), in images of a given shape or in squares."""
        rows, columns = self.grid if isinstance(self.grid, tuple | list) else (self.grid, self.grid)
        if (rows, columns) == (1, 1):
            return np.zeros(n_places, np.intp)
        square = inferred_image_shape(n_places)
        shape = given or (square if square is not None and square[2] == 1 else (0, 0, 1))
        height, width, _ = shape
        if rows > height or columns > width:
            kind, places = ("images", shape[:2]) if given else ("squares", n_places)
            raise ValueError(
                f"grid={self.grid!r} cuts {kind} into cells of at least a place, but an image has "
                f"{places} places"
            )
        row, column = np.arange(height)[:, None], np.arange(width)
        return (row * rows // height * columns + column * columns // width).ravel()

    def transform(self, X: Any) -> np.ndarray:
        """Return the histograms.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_places * n_channels), or images
            Images, place after place, or as (n_samples, rows, columns, n_channels).

        Returns
        -------
        histograms : ndarray of shape (n_samples, n_cells * n_words), in the dtype of X
            For each cell the words' counts, divided by the number of places of the image. So the
            values of an image sum to 1.
        """
        check_is_fitted(self)
        check_on_host(X, self)
        X, _ = rows_of_images(X, type(self).__name__, self._given_shape)
        X = validate_data(self, X, dtype=FLOATS, order="C", reset=False)
        words = self.nearest_words(X)
        counts = np.zeros((len(X), self._n_features_out), X.dtype)
        np.add.at(counts, (np.arange(len(X))[:, None], self._cells * self.n_words + words), 1)
        return counts / words.shape[1]

    def nearest_words(self, X: Any) -> np.ndarray:
        """Return the word nearest to each place, or the first of several that are equally near.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_places * n_channels), or images
            Images, place after place, or as (n_samples, rows, columns, n_channels).

        Returns
        -------
        words : ndarray of shape (n_samples, n_places)
            Indices into `words_`.
        """
        check_is_fitted(self)
        check_on_host(X, self)
        X, _ = rows_of_images(X, type(self).__name__, self._given_shape)
        X = validate_data(self, X, dtype=FLOATS, order="C", reset=False)
        places = X.reshape(-1, self.n_channels)
        origin = self.words_.mean(axis=0)
        block, found = Block(self.words_, origin, self.device, lower="n_words"), []
        chunk = max(1, AT_ONCE // max(self.n_words, self.n_channels))
        for start in range(0, len(places), chunk):
            some = places[start : start + chunk]
            found.append(block.nearest(some, np.full(len(some), np.inf))[1])
        return np.concatenate(found).reshape(len(X), -1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.three_d_array = True
        return tags
