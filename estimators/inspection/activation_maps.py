"""Pictures of what the layers of a network make of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from estimators.inspection.images import as_images, fitted_network, shape_to_show
from estimators.inspection.probe import Probe
from estimators.inspection.tiles import INK, around_zero, axes, frame, picture, pyplot
from estimators.layers.layer import Rows
from estimators.shared.image_shapes import rows_of_images
from estimators.shared.pipelines import before_the_last_step

_GAP = 0.1  # between pictures, in widths of a picture


class ActivationMapsDisplay:
    """What each layer of a network makes of one image: a row per layer, a picture per channel.

    Each row has its own scale of colours. Dark is large; if a layer has negative values, red is
    positive, blue is negative and white is zero. Units that have no place in the image, as those of
    a dense layer, are drawn as squares of one colour. The last layer, whose outputs are the scores,
    is shown as probabilities.

    It is best made by :meth:`from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    image : ndarray of shape (height, width, n_channels)
        The input.
    maps : list of ndarray of shape (height, width, n_channels) or (n_units,)
        The outputs of the layers. The last are probabilities.
    layer_names : sequence of str
        What to write beside each row.
    class_names : sequence of str or None, default=None
        What to write below the probabilities; None: nothing.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it is drawn.
    images_ : list of list of AxesImage
        The pictures of each row; the first row is the image.

    Examples
    --------
    >>> from estimators import ConvNetClassifier
    >>> from estimators.datasets import load_digits_split
    >>> from estimators.inspection import ActivationMapsDisplay
    >>> X, _, y, _ = load_digits_split(scale=True, return_X_y=True)
    >>> net = ConvNetClassifier((8,), learning_rate="cosine", max_iter=5).fit(X, y)
    >>> ActivationMapsDisplay.from_estimator(net, X[0])  # doctest: +SKIP
    """

    def __init__(
        self,
        image: np.ndarray,
        maps: list[np.ndarray],
        layer_names: Sequence[str],
        *,
        class_names: Sequence[str] | None = None,
    ) -> None:
        self.image = image
        self.maps = maps
        self.layer_names = layer_names
        self.class_names = class_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        image: Any,
        *,
        image_shape: tuple[int, ...] | None = None,
        max_maps: int = 10,
        ax: Any = None,
    ) -> ActivationMapsDisplay:
        """Run one image through a fitted network and draw the outputs of its layers.

        Parameters
        ----------
        estimator : estimator
            A fitted MLPClassifier or ConvNetClassifier, or a pipeline or search that ends in one.
        image : array-like of shape (n_features,), (height, width) or (height, width, n_channels)
            One sample, as the estimator takes it.
        image_shape : tuple of int or None, default=None
            Height, width and channels of the image; None: as fitted, or a square.
        max_maps : int, default=10
            At most so many channels of each layer are drawn, the first ones.
        ax : matplotlib Axes or None, default=None
            Where to draw; None: in a new figure.

        Returns
        -------
        display : ActivationMapsDisplay

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError
            If the estimator is no network, or was fitted on images of another shape.
        """
        pyplot(f"{cls.__name__}.from_estimator")
        model = fitted_network(estimator)
        sample = np.asarray(image)[None]
        x = np.asarray(before_the_last_step(estimator, sample))
        if x.size != model.n_features_in_:
            raise ValueError(
                f"the image has {x.size} values, but {type(model).__name__} is expecting "
                f"{model.n_features_in_} features as input: give one image"
            )
        # an array of shape (1, n_features) is one row of pixels, and no image
        if x.ndim > 2 and len(x[0]) > 1:
            x, _ = rows_of_images(x, type(model).__name__, getattr(model, "image_shape_", None))
        x = x.reshape(1, -1)
        shown = sample if sample.ndim > 2 else sample.reshape(1, -1)
        if shown.ndim == 2:
            shown = shown.reshape(1, *shape_to_show(shown.shape[1], image_shape, model))
        probe = Probe(model)
        # dropout changes nothing outside of training, so its row would repeat the one above
        kept = [i for i, layer in enumerate(probe.layers) if layer.rows is not Rows.RANDOM]
        outputs = probe.outputs(x)
        maps = [outputs[i][0] for i in kept]
        maps[-1] = model.predict_proba(x)[0]
        names = [type(probe.layers[i]).__name__ for i in kept]
        names[-1] = "probabilities"
        display = cls(
            as_images(shown)[0], maps, names, class_names=[str(c) for c in model.classes_]
        )
        return display.plot(max_maps=max_maps, ax=ax)

    def plot(self, *, max_maps: int = 10, ax: Any = None) -> ActivationMapsDisplay:
        """Draw the maps; the parameters are those of :meth:`from_estimator`.

        Returns
        -------
        display : ActivationMapsDisplay
            Itself.
        """
        rows: list[tuple[str, list[np.ndarray], dict[str, Any]]] = [("input", [self.image], {})]
        for name, values in zip(self.layer_names, self.maps, strict=True):
            last = values is self.maps[-1]
            shape = " x ".join(map(str, values.shape))
            shown = values if last else values[..., :max_maps]
            if shown.size < values.size:
                shape += f"\n(the first {max_maps})"
            tiles = list(np.moveaxis(np.atleast_3d(shown), -1, 0)) if values.ndim == 3 else [
                np.full((1, 1), v) for v in shown
            ]  # fmt: skip
            limits: dict[str, Any] = {"cmap": INK, "vmin": 0, "vmax": float(shown.max()) or 1.0}
            if last:
                limits["vmax"] = 1.0
            elif shown.min() < 0:
                limits = {"cmap": "RdBu_r", **around_zero(shown)}
            rows.append((name if last else f"{name}\n{shape}", tiles, limits))
        columns = max(len(tiles) for _, tiles, _ in rows)
        size = (0.75 * columns * (1 + _GAP) + 1.4, 0.75 * len(rows) * (1 + _GAP) + 0.4)
        self.ax_ = axes(f"{type(self).__name__}.plot", ax, size)
        self.figure_ = self.ax_.figure
        self.images_: list[list[Any]] = []
        for i, (name, tiles, limits) in enumerate(rows):
            top = i * (1 + _GAP)
            self.ax_.text(-0.15, top + 0.5, name, ha="right", va="center", fontsize=8,
                          parse_math=False)  # fmt: skip
            self.images_.append([])
            for k, tile in enumerate(tiles):
                ratio = tile.shape[0] / tile.shape[1]
                height, width = (1.0, 1 / ratio) if ratio > 1 else (ratio, 1.0)
                left = k * (1 + _GAP)
                extent = (left, left + width, top + height, top)
                shown, style = (tile, limits) if limits else picture(tile)
                self.images_[-1].append(
                    self.ax_.imshow(shown, extent=extent, interpolation="nearest", **style)
                )
                frame(self.ax_, extent)
        if self.class_names is not None:
            for k, name in enumerate(self._named_outputs()):
                self.ax_.text(
                    k * (1 + _GAP) + 0.5, len(rows) * (1 + _GAP), name, ha="center", va="top",
                    fontsize=8, parse_math=False,
                )  # fmt: skip
        self.ax_.set_xlim(-1.6, columns * (1 + _GAP))
        self.ax_.set_ylim(len(rows) * (1 + _GAP) + 0.35, -_GAP)
        self.ax_.set_aspect("equal")
        self.ax_.set_axis_off()
        return self

    def _named_outputs(self) -> Sequence[str]:
        """Return a name for each probability; none where a single one stands for two classes."""
        names = self.class_names or []
        return names if len(names) == len(self.maps[-1]) else []
