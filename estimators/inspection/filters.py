"""Pictures of the filters of a convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from estimators.inspection.images import checked_layer, checked_units
from estimators.inspection.tiles import (
    DIVERGING,
    axes,
    columns_of,
    draw_tiles,
    figure_size,
    pyplot,
    ratio_of,
    weight_tiles,
)
from estimators.shared.pipelines import final_estimator


class FiltersDisplay:
    """The filters of a convolution, or a filter of a locally connected layer at every place.

    Filters of one channel are drawn in red for positive and blue for negative weights. Filters of
    three channels are drawn in colours around grey. Filters of any other number of channels make a
    row each, in which every channel is a picture.

    It is best made by :meth:`from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    filters : ndarray of shape (n_filters, height, width, n_channels)
        The filters.
    columns : int or None, default=None
        How many filters stand side by side; None: as the number of filters suggests.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it is drawn.
    images_ : list of AxesImage
        The filters.

    Examples
    --------
    >>> from estimators import ConvNetClassifier
    >>> from estimators.datasets import load_digits_split
    >>> from estimators.inspection import FiltersDisplay
    >>> X, _, y, _ = load_digits_split(scale=True, return_X_y=True)
    >>> net = ConvNetClassifier((8,), learning_rate="cosine", max_iter=5).fit(X, y)
    >>> FiltersDisplay.from_estimator(net)  # doctest: +SKIP
    """

    def __init__(self, filters: np.ndarray, *, columns: int | None = None) -> None:
        self.filters = filters
        self.columns = columns

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        layer: int = 0,
        unit: int = 0,
        scale: str = "each",
        columns: int | None = None,
        cmap: Any = DIVERGING,
        ax: Any = None,
    ) -> FiltersDisplay:
        """Draw the filters of a fitted ConvNetClassifier.

        Parameters
        ----------
        estimator : estimator
            A fitted ConvNetClassifier, or a pipeline or search that ends in one.
        layer : int, default=0
            Which of the layers with weights, the entry of `coefs_`.
        unit : int, default=0
            Which filter of a `LocallyConnected2D`, which has different weights at each place.
        scale : {"all", "each"}, default="each"
            Whether the strongest colour is the largest weight of all filters, or of each filter.
        columns : int or None, default=None
            How many filters stand side by side; None: as the number of filters suggests.
        cmap : str or Colormap, default="RdBu_r"
            A diverging colour map, whose middle stands for zero.
        ax : matplotlib Axes or None, default=None
            Where to draw; None: in a new figure.

        Returns
        -------
        display : FiltersDisplay

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError
            If the layer has no filters, or there is no layer or unit of that number.
        """
        pyplot(f"{cls.__name__}.from_estimator")
        model = final_estimator(estimator)
        if not hasattr(model, "coefs_"):
            raise ValueError(
                f"a {type(model).__name__} has no filters: expected a ConvNetClassifier"
            )
        layer = checked_layer(model, layer)
        weights = model.coefs_[layer]
        if weights.ndim == 2:
            raise ValueError(
                f"layer {layer} of {type(model).__name__} has no filters, as it is no convolution: "
                "WeightsDisplay shows the weights of a first dense layer"
            )
        if weights.ndim == 6:  # (rows, columns, K, R, S, C): the filters of each place
            rows, places_ = weights.shape[:2]
            (unit,) = checked_units(layer, [unit], weights.shape[2])
            one = weights[:, :, unit].reshape(rows * places_, *weights.shape[3:])
            weights, columns = one, places_ if columns is None else columns
        return cls(weights, columns=columns).plot(scale=scale, cmap=cmap, ax=ax)

    def plot(self, *, scale: str = "each", cmap: Any = DIVERGING, ax: Any = None) -> FiltersDisplay:
        """Draw the filters; the parameters are those of :meth:`from_estimator`.

        Returns
        -------
        display : FiltersDisplay
            Itself.
        """
        filters, columns = self.filters, self.columns
        if filters.shape[-1] not in (1, 3):
            k, r, s, c = filters.shape
            if scale == "each":  # the channels of a filter share its scale
                filters = filters / (np.abs(filters).max(axis=(1, 2, 3), keepdims=True) + 1e-300)
            filters = np.moveaxis(filters, -1, 1).reshape(k * c, r, s, 1)
            columns, scale = c if columns is None else columns, "all"
        tiles, styles = weight_tiles(filters, scale, cmap)
        columns = columns_of(len(tiles), columns)
        size = figure_size(len(tiles), columns, ratio_of(tiles), labelled=False)
        self.ax_ = axes(f"{type(self).__name__}.plot", ax, size)
        self.figure_ = self.ax_.figure
        self.images_, _ = draw_tiles(self.ax_, tiles, columns, styles=styles)
        return self
