"""Pictures of the weights of a linear model or of a first layer, as maps or Hinton diagrams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from estimators.inspection.images import shape_to_show
from estimators.inspection.tiles import (
    DIVERGING,
    axes,
    columns_of,
    draw_tiles,
    figure_size,
    finish,
    places,
    pyplot,
    ratio_of,
    weight_tiles,
    write_labels,
)
from estimators.shared.pipelines import final_estimator, n_features_given, steps_and_model


class WeightsDisplay:
    """The weights of a linear model or of a first dense layer, as an image per class or unit.

    Ink on a red pixel raises the score, ink on a blue pixel lowers it, and white stands for zero.
    So a map can be read as a template: where the model expects ink, and where it expects none.

    It is best made by :meth:`from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    weights : ndarray of shape (n_maps, height, width, n_channels)
        The weights. Those of three channels are drawn in colours around grey.
    labels : sequence of str or None, default=None
        What to write above each map.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it is drawn.
    images_ : list of AxesImage
        The maps; empty for ``kind="hinton"``.
    hinton_ : list of PolyCollection
        The squares of each map; empty for ``kind="map"``.
    texts_ : list of Text
        The labels.

    References
    ----------
    Hinton and Shallice, "Lesioning an attractor network", Psychological Review 98, 1991, for
    ``kind="hinton"``.

    Examples
    --------
    >>> from estimators import LogisticRegression
    >>> from estimators.datasets import load_digits_split
    >>> from estimators.inspection import WeightsDisplay
    >>> X, _, y, _ = load_digits_split(scale=True, return_X_y=True)
    >>> model = LogisticRegression(C=0.1).fit(X, y)
    >>> WeightsDisplay.from_estimator(model)  # doctest: +SKIP
    """

    def __init__(self, weights: np.ndarray, *, labels: Sequence[str] | None = None) -> None:
        self.weights = weights
        self.labels = labels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        units: Sequence[int] | None = None,
        image_shape: tuple[int, ...] | None = None,
        kind: str = "map",
        scale: str = "all",
        columns: int | None = None,
        cmap: Any = DIVERGING,
        ax: Any = None,
    ) -> WeightsDisplay:
        """Draw the weights of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            A fitted linear model, of this package or another, with a `coef_` of shape (n_classes,
            n_features); or a fitted network whose first layer is dense. A pipeline stands for its
            last step, and a search for its best estimator.
        units : sequence of int or None, default=None
            The classes, or the units of the first layer, to draw. None: all classes, or the first
            40 units.
        image_shape : tuple of int or None, default=None
            Height, width and channels of the images; None: as fitted, or squares.
        kind : {"map", "hinton"}, default="map"
            Colours, or squares whose area is the magnitude and whose colour is the sign.
        scale : {"all", "each"}, default="all"
            Whether the strongest colour is the largest weight of all maps, or of each map.
        columns : int or None, default=None
            How many maps stand side by side; None: as the number of maps suggests.
        cmap : str or Colormap, default="RdBu_r"
            A diverging colour map, whose middle stands for zero.
        ax : matplotlib Axes or None, default=None
            Where to draw; None: in a new figure.

        Returns
        -------
        display : WeightsDisplay

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError
            If there are no weights, the first layer is not dense, or the weights make no image; or
            if the steps of a pipeline turn pixels into other features, and no `image_shape` is
            given.
        """
        pyplot(f"{cls.__name__}.from_estimator")
        model = final_estimator(estimator)
        rows, labels = _first_weights(model)
        if image_shape is None:
            _check_pixels(*steps_and_model(estimator))
        n_all = len(rows)
        if units is not None:
            rows, labels = rows[list(units)], [labels[k] for k in units]
        elif not hasattr(model, "coef_") and n_all > 40 and len(model.coefs_) > 1:
            rows, labels = rows[:40], labels[:40]
        shape = shape_to_show(rows.shape[1], image_shape, model)
        display = cls(rows.reshape(len(rows), *shape), labels=labels)
        return display.plot(kind=kind, scale=scale, columns=columns, cmap=cmap, ax=ax)

    def plot(
        self,
        *,
        kind: str = "map",
        scale: str = "all",
        columns: int | None = None,
        cmap: Any = DIVERGING,
        ax: Any = None,
    ) -> WeightsDisplay:
        """Draw the weights; the parameters are those of :meth:`from_estimator`.

        Returns
        -------
        display : WeightsDisplay
            Itself.
        """
        if kind not in ("map", "hinton"):
            raise ValueError(f"kind must be 'map' or 'hinton', got {kind!r}")
        if kind == "hinton" and self.weights.shape[-1] != 1:
            raise ValueError(
                "kind='hinton' shows weights of one channel, but these have "
                f"{self.weights.shape[-1]}"
            )
        tiles, styles = weight_tiles(self.weights, scale, cmap)
        columns = columns_of(len(tiles), columns)
        size = figure_size(len(tiles), columns, ratio_of(tiles), self.labels is not None)
        self.ax_ = axes(f"{type(self).__name__}.plot", ax, size)
        self.figure_ = self.ax_.figure
        self.images_: list[Any] = []
        self.hinton_: list[Any] = []
        if kind == "map":
            self.images_, self.texts_ = draw_tiles(
                self.ax_, tiles, columns, labels=self.labels, styles=styles
            )
            return self
        for (left, top), tile, style in zip(
            places(self.ax_, tiles, columns, self.labels), tiles, styles, strict=True
        ):
            self.hinton_.append(draw_hinton(self.ax_, tile, left, top, style["vmax"], cmap))
        self.texts_ = []
        if self.labels is not None:
            self.texts_ = write_labels(self.ax_, tiles, columns, self.labels)
        finish(self.ax_, tiles, columns, self.labels)
        return self


def draw_hinton(
    ax: Any, tile: np.ndarray, left: float, top: float, largest: float, cmap: Any
) -> Any:
    """Draw a square for each weight of a map that is 1 wide, and return the collection.

    The area of a square is the magnitude of its weight. A weight of magnitude `largest` fills its
    place.
    """
    import matplotlib as mpl
    from matplotlib.collections import PolyCollection

    colors = mpl.colormaps[cmap] if isinstance(cmap, str) else cmap
    rows, columns = tile.shape
    y, x = np.mgrid[:rows, :columns]
    half = 0.5 * np.sqrt(np.minimum(np.abs(tile) / largest, 1.0))
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    centres = np.stack([x + 0.5, y + 0.5], axis=-1)
    squares = (centres[..., None, :] + half[..., None, None] * corners).reshape(-1, 4, 2) / columns
    squares += (left, top)
    ground = [[(left, top), (left + 1, top), (left + 1, top + rows / columns),
               (left, top + rows / columns)]]  # fmt: skip
    ax.add_collection(PolyCollection(ground, facecolors="0.82", edgecolors="none"))
    # near the ends of the colour map, where its colours are strong
    signs = np.where(tile.ravel() > 0, 0.95, 0.05)
    drawn = PolyCollection(squares, facecolors=colors(signs), edgecolors="none")
    ax.add_collection(drawn)
    return drawn


def _check_pixels(steps: list[tuple[str, Any]], model: Any) -> None:
    """Raise ValueError if steps of a pipeline change the number of features before the model."""
    seen = getattr(model, "n_features_in_", None)
    if steps and seen is not None and n_features_given(steps, model) != seen:
        raise ValueError(
            f"the steps before {type(model).__name__} make {seen} features of "
            f"{n_features_given(steps, model)}, and its weights are of those, not of pixels: give "
            "image_shape to show them as images all the same"
        )


def _first_weights(model: Any) -> tuple[np.ndarray, list[str]]:
    """Return weights (n_maps, n_features) of a linear model or a first dense layer, with labels."""
    if hasattr(model, "coef_"):
        coef = model.coef_.toarray() if sp.issparse(model.coef_) else np.asarray(model.coef_)
        return np.atleast_2d(coef), _class_labels(model, len(np.atleast_2d(coef)))
    if not hasattr(model, "coefs_"):
        raise ValueError(
            f"a {type(model).__name__} has no weights to show: expected a linear model or a network"
        )
    if model.coefs_[0].ndim != 2:
        raise ValueError(
            f"the first layer of this {type(model).__name__} is no dense one: FiltersDisplay shows "
            "the filters of a convolution"
        )
    weights = model.coefs_[0].T
    if len(model.coefs_) > 1:
        return weights, [f"unit {k}" for k in range(len(weights))]
    return weights, _class_labels(model, len(weights))


def _class_labels(model: Any, n_rows: int) -> list[str]:
    """Return a label for each row of weights: its class, or its number if it has no one class."""
    classes = [str(c) for c in getattr(model, "classes_", ())]
    if n_rows == 1 and len(classes) == 2:
        return [f"{classes[1]} against {classes[0]}"]
    return classes if len(classes) == n_rows else [str(k) for k in range(n_rows)]
