"""The classic pipeline's features: responses of a filter bank, and histograms of visual words."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from cukernels import conv2d
from cukernels.runtime import current, resolve_device, to_device, to_host
from estimators.scikit_learn import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    fit_context,
)
from estimators.shared.base import FLOATS
from estimators.shared.image_shapes import (
    inferred_image_shape,
    rows_of_images,
    told_image_shape,
    warn_of_layout,
)
from estimators.shared.warnings import warn

N_FILTERS = 38
_SIDE = 8  # pixels: smaller squares in colour may as well be some images of a few columns
_AT_ONCE = 2**23  # responses of a batch: 32 MB of float32


class FilterBankTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """The responses of 38 filters at every pixel of an image.

    Edges and bars at 6 orientations and 3 scales, which are the first and second derivatives of a
    Gaussian three times as long as wide, and a Gaussian and a Laplacian of a Gaussian. Each filter
    has absolute weights of sum 1, and all but the Gaussian have a mean of 0, so that none responds
    to plain paper.

    Parameters
    ----------
    scales : sequence of three float, default=(0.7, 1.4, 2.8)
        Standard deviations across the edges and bars, in pixels. That of the two round filters is
        the largest.
    image_shape : tuple of int or None, default=None
        Height and width, and channels, of the images, whose mean is taken. None: images have
        their own; rows are squares of one channel or three (the channels of a pixel side by
        side, with a warning from 8 x 8 pixels on), and else one row of pixels.
    device : str, default="auto"
        Where to compute: "cpu", "cuda", "cuda:N" or "auto".

    Attributes
    ----------
    filters_ : ndarray of shape (38, size, size, 1)
        The filters: six edges at the first scale, then at the others; the bars in that order; the
        Gaussian; the Laplacian.
    image_shape_ : (int, int, int)
        Height, width and channels of the images.
    n_features_in_ : int
        Number of pixels times channels.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where X has names that are strings.

    References
    ----------
    Varma and Zisserman, "A statistical approach to texture classification from single images",
    International Journal of Computer Vision 62, 2005, section 2.1.

    Examples
    --------
    >>> from estimators import FilterBankTransformer
    >>> from estimators.datasets import load_digits_split
    >>> X, *_ = load_digits_split(scale=True, return_X_y=True)
    >>> FilterBankTransformer().fit_transform(X[:5]).shape  # 8 x 8 pixels, 38 responses at each
    (5, 2432)
    """

    _parameter_constraints: ClassVar[dict] = {
        "scales": ["array-like"],
        "image_shape": [tuple, list, None],
        "device": [str],
    }

    def __init__(
        self,
        *,
        scales: Any = (0.7, 1.4, 2.8),
        image_shape: Any = None,
        device: str = "auto",
    ) -> None:
        self.scales = scales
        self.image_shape = image_shape
        self.device = device

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> FilterBankTransformer:
        """Make the filters for images of this size; nothing is learned from their content.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or images
            Images as rows of pixels, or as (n_samples, height, width) or (n_samples, height,
            width, channels).
        y : None
            Not used.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If there are not three positive scales, or the image shape does not fit.
        """
        resolve_device(self.device)
        X, given = rows_of_images(X, type(self).__name__)
        X = validate_data(self, X, dtype=FLOATS)
        scales = np.asarray(self.scales, float)
        if scales.shape != (3,) or not (scales > 0).all():
            raise ValueError(f"scales must be three positive numbers, got {self.scales!r}")
        n_features = X.shape[1]
        told = told_image_shape(given, self.image_shape, n_features)
        self.image_shape_ = told or inferred_image_shape(n_features) or (1, n_features, 1)
        warn_of_layout(self.image_shape_, X, told=told is not None)
        side = len(X)
        if given in ((side, 3, 1), (side, 4, 1)) and side >= _SIDE:
            warn(
                f"X is taken as {side} images of {side} x {given[1]} pixels: give X[None] if it "
                "is a single image in colour",
            )
        # taps further out than the image is wide never see a pixel
        reach = min(int(np.ceil(2 * 3 * scales.max())), max(self.image_shape_[:2]) - 1)
        self.filters_ = filter_bank(scales, max(reach, 1)).astype(X.dtype)
        self._n_features_out = self.image_shape_[0] * self.image_shape_[1] * N_FILTERS
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the responses.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or images
            Images as rows of pixels, or as (n_samples, height, width) or (n_samples, height,
            width, channels).

        Returns
        -------
        responses : ndarray of shape (n_samples, n_pixels * 38), in the dtype of X
            Pixel after pixel, with the 38 responses of a pixel side by side:
            ``responses.reshape(n_samples, height, width, 38)``.
        """
        check_is_fitted(self)
        X, _ = rows_of_images(X, type(self).__name__, self.image_shape_)
        X = validate_data(self, X, dtype=FLOATS, reset=False)
        device = resolve_device(self.device)
        images = X.reshape(len(X), *self.image_shape_).mean(axis=-1, keepdims=True, dtype=X.dtype)
        responses = np.empty((len(X), self._n_features_out), X.dtype)
        chunk = max(1, _AT_ONCE // self._n_features_out)
        with current(device):
            filters = to_device(self.filters_.astype(X.dtype), device)
            for start in range(0, len(X), chunk):
                part = to_device(np.ascontiguousarray(images[start : start + chunk]), device)
                maps = to_host(conv2d(part, filters, padding="same"))
                responses[start : start + chunk] = maps.reshape(len(maps), -1)
        return responses

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.three_d_array = True
        return tags


def filter_bank(scales: np.ndarray, reach: int) -> np.ndarray:
    """The 38 filters of ``2 * reach + 1`` pixels a side, (38, size, size, 1)."""
    grid = np.arange(-reach, reach + 1, dtype=float)
    y, x = np.meshgrid(grid, grid, indexing="ij")
    filters = []
    for order in (1, 2):
        for scale in scales:
            for k in range(6):
                angle = np.pi * k / 6
                along = x * np.cos(angle) + y * np.sin(angle)
                across = y * np.cos(angle) - x * np.sin(angle)
                profile = gaussian_derivative(across, scale, order)
                filters.append(profile * gaussian_derivative(along, 3 * scale, 0))
    widest = scales.max()
    squared = (x**2 + y**2) / widest**2
    gaussian = np.exp(-squared / 2)
    filters += [gaussian, gaussian * (squared - 2)]
    bank = np.stack(filters)
    but_the_gaussian = np.arange(len(bank)) != N_FILTERS - 2
    bank[but_the_gaussian] -= bank[but_the_gaussian].mean(axis=(1, 2), keepdims=True)
    return (bank / np.abs(bank).sum(axis=(1, 2), keepdims=True))[..., None]


def gaussian_derivative(t: np.ndarray, scale: float, order: int) -> np.ndarray:
    """A Gaussian of standard deviation `scale`, or its first or second derivative."""
    gaussian = np.exp(-((t / scale) ** 2) / 2)
    return gaussian * (1.0, -t / scale**2, (t**2 - scale**2) / scale**4)[order]
