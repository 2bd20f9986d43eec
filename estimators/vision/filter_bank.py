"""Features of images: the responses of a bank of fixed filters."""

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
from estimators.shared.all_or_nothing import all_or_nothing
from estimators.shared.base import FLOATS
from estimators.shared.device_arrays import check_on_host
from estimators.shared.image_shapes import (
    inferred_image_shape,
    rows_of_images,
    told_image_shape,
    warn_of_layout,
)
from estimators.shared.warnings import warn

N_FILTERS = 38
# The shortest side, in pixels, of an array that is likely to be a single image in colour. A smaller
# one is as likely to be a few images of three or four columns.
_SIDE = 8
AT_ONCE = 2**23  # responses that are held at once: 32 MB of float32


class FilterBankTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """The responses of 38 filters at every pixel of an image.

    There are 18 edges and 18 bars, at 6 orientations and 3 scales: the first and the second
    derivatives of a Gaussian that is three times as long as it is wide. The two others are a round
    Gaussian and a Laplacian of it. The absolute weights of each filter sum to 1. All filters but
    the Gaussian have the mean 0, so that they do not respond to an area of one brightness.

    Parameters
    ----------
    scales : sequence of three float, default=(0.7, 1.4, 2.8)
        Standard deviations across the edges and bars, in pixels. The two round filters have the
        largest of them.
    image_shape : tuple of int or None, default=None
        Height, width and channels of the images in 2-D input; the filters see the mean of the
        channels. None: rows are squares of one channel, or of three channels that are side by side
        for each pixel (with a warning from 8 x 8 pixels on); if neither is possible, they are
        images of a single line. Images in 3-D and 4-D input have their own shape.
    device : str, default="auto"
        Where to compute: "cpu", "cuda", "cuda:N", or "auto", which is the CPU here, always. Images
        come from the host.

    Attributes
    ----------
    filters_ : ndarray of shape (38, size, size, 1)
        The filters: six edges at the first scale, six at the second, six at the third; then the
        bars in that order; then the Gaussian and the Laplacian.
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
    @all_or_nothing
    def fit(self, X: Any, y: Any = None) -> FilterBankTransformer:
        """Make the filters for images of this size. Nothing is learned from the pixels.

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
            If `scales` are not three positive numbers, or `image_shape` does not fit X.
        """
        resolve_device(self.device)
        check_on_host(X, self)
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
        # weights further from the middle than the image is wide would never meet a pixel
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
            The responses of the first pixel, then those of the second, and so on:
            ``responses.reshape(n_samples, height, width, 38)``.
        """
        check_is_fitted(self)
        check_on_host(X, self)
        X, _ = rows_of_images(X, type(self).__name__, self.image_shape_)
        X = validate_data(self, X, dtype=FLOATS, reset=False)
        device = resolve_device(self.device)
        images = X.reshape(len(X), *self.image_shape_).mean(axis=-1, keepdims=True, dtype=X.dtype)
        responses = np.empty((len(X), self._n_features_out), X.dtype)
        chunk = max(1, AT_ONCE // self._n_features_out)
        with current(device):
            filters = to_device(self.filters_.astype(X.dtype), device)
            for start in range(0, len(X), chunk):
                some = to_device(np.ascontiguousarray(images[start : start + chunk]), device)
                maps = to_host(conv2d(some, filters, padding="same"))
                responses[start : start + chunk] = maps.reshape(len(maps), -1)
        return responses

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.three_d_array = True
        return tags


def filter_bank(scales: np.ndarray, reach: int) -> np.ndarray:
    """Return the 38 filters (38, size, size, 1), with ``size = 2 * reach + 1`` pixels."""
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
    # cut off at the border and sampled, their mean is only about 0
    but_the_gaussian = np.arange(len(bank)) != N_FILTERS - 2
    bank[but_the_gaussian] -= bank[but_the_gaussian].mean(axis=(1, 2), keepdims=True)
    return (bank / np.abs(bank).sum(axis=(1, 2), keepdims=True))[..., None]


def gaussian_derivative(t: np.ndarray, scale: float, order: int) -> np.ndarray:
    """Return a Gaussian of standard deviation `scale`, or its derivative of order 1 or 2."""
    gaussian = np.exp(-((t / scale) ** 2) / 2)
    return gaussian * (1.0, -t / scale**2, (t**2 - scale**2) / scale**4)[order]
