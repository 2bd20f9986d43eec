"""Pictures of what a network makes of images: activation maps, and what excites a filter most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from estimators._images import as_images, before_the_last_step, final_estimator, shape_to_show
from estimators._layers import Dropout
from estimators._probe import Field, Probe
from estimators._tiles import INK, around_zero, axes, draw_tiles, frame, picture, pyplot

_GAP = 0.1


class ActivationMapsDisplay:
    """What every layer of a network makes of one image: a row a layer, a picture a channel.

    Each row has colours of its own: dark is large, and where a layer has negative values, red is
    positive, blue is negative and white is zero. Layers of units without a place in the image are
    drawn as squares of one colour; the last layer, the scores, is shown as probabilities.

    It is best made by :meth:`from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    image : ndarray of shape (height, width, n_channels)
        The input.
    maps : list of ndarray of shape (height, width, n_channels) or (n_units,)
        The outputs of the layers; the last are probabilities.
    layer_names : sequence of str
        What to write beside each row.
    class_names : sequence of str or None, default=None
        What to write under the probabilities.

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
            How many channels of a layer to draw, the first ones.
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
            If the estimator is no network, or the image has another shape than those it knows.
        """
        pyplot(f"{cls.__name__}.from_estimator")
        model = check_network(estimator)
        sample = np.asarray(image)[None]
        x = np.asarray(before_the_last_step(estimator, sample)).reshape(1, -1)
        if x.size != model.n_features_in_:
            raise ValueError(
                f"the image has {x.size} values, but {type(model).__name__} is expecting "
                f"{model.n_features_in_} features as input: give one image"
            )
        shown = sample if sample.ndim > 2 else sample.reshape(1, -1)
        if shown.ndim == 2:
            shown = shown.reshape(1, *shape_to_show(shown.shape[1], image_shape, model))
        probe = Probe(model)
        kept = [i for i, layer in enumerate(probe.layers) if not isinstance(layer, Dropout)]
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
            self.ax_.text(-0.15, top + 0.5, name, ha="right", va="center", fontsize=8)
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
                    fontsize=8,
                )  # fmt: skip
        self.ax_.set_xlim(-1.6, columns * (1 + _GAP))
        self.ax_.set_ylim(len(rows) * (1 + _GAP) + 0.35, -_GAP)
        self.ax_.set_aspect("equal")
        self.ax_.set_axis_off()
        return self

    def _named_outputs(self) -> Sequence[str]:
        names = self.class_names or []
        return names if len(names) == len(self.maps[-1]) else []


class MaximalPatchesDisplay:
    """For filters of a layer: the patches of images that excite each most, and an ideal one.

    A row is a filter. Its first picture is made by gradient ascent: an input that starts from
    faint noise and is changed, step by step, so as to raise the filter's score. The others are the
    parts of real images, at most one of each image, to which the filter responds most, strongest
    first; what lies outside of an image is drawn as its background.

    It is best made by :meth:`from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    patches : ndarray of shape (n_filters, n_patches, height, width, n_channels)
        The parts of the images.
    responses : ndarray of shape (n_filters, n_patches)
        What the filters make of them.
    ideal : ndarray of shape (n_filters, height, width, n_channels) or None, default=None
        What gradient ascent found.
    labels : sequence of str or None, default=None
        What to write beside each row.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it is drawn.
    images_ : list of AxesImage
        The pictures, row by row, with the ideal ones first.

    References
    ----------
    Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014; Erhan,
    Bengio, Courville and Vincent, "Visualizing higher-layer features of a deep network", technical
    report 1341, Universite de Montreal, 2009.

    Examples
    --------
    >>> from estimators import ConvNetClassifier
    >>> from estimators.datasets import load_digits_split
    >>> from estimators.inspection import MaximalPatchesDisplay
    >>> X, _, y, _ = load_digits_split(scale=True, return_X_y=True)
    >>> net = ConvNetClassifier((8,), learning_rate="cosine", max_iter=5).fit(X, y)
    >>> MaximalPatchesDisplay.from_estimator(net, X)  # doctest: +SKIP
    """

    def __init__(
        self,
        patches: np.ndarray,
        responses: np.ndarray,
        *,
        ideal: np.ndarray | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        self.patches = patches
        self.responses = responses
        self.ideal = ideal
        self.labels = labels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        layer: int = 0,
        units: Sequence[int] | None = None,
        n_patches: int = 9,
        ascent: bool = True,
        steps: int = 60,
        image_shape: tuple[int, ...] | None = None,
        random_state: Any = 0,
        ax: Any = None,
    ) -> MaximalPatchesDisplay:
        """Look for the patches of X that excite the filters of a fitted network most.

        Parameters
        ----------
        estimator : estimator
            A fitted MLPClassifier or ConvNetClassifier, or a search that ends in one.
        X : array-like of shape (n_samples, n_features), or images
            Where to look, as the estimator takes it.
        layer : int, default=0
            Which of the layers with weights, the entry of `coefs_`.
        units : sequence of int or None, default=None
            The filters or units to draw; None: the first eight.
        n_patches : int, default=9
            Patches a filter, each of another image.
        ascent : bool, default=True
            Whether to make an ideal input as well.
        steps : int, default=60
            Steps of the gradient ascent.
        image_shape : tuple of int or None, default=None
            Height, width and channels of the images; None: as fitted, or squares.
        random_state : int, RandomState instance or None, default=0
            Draws the noise that the ascent starts from.
        ax : matplotlib Axes or None, default=None
            Where to draw; None: in a new figure.

        Returns
        -------
        display : MaximalPatchesDisplay

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError
            If the estimator is no network, or the layer has no unit of that number.
        """
        pyplot(f"{cls.__name__}.from_estimator")
        model = check_network(estimator)
        x = np.asarray(before_the_last_step(estimator, X)).reshape(len(X), -1)
        images = as_images(x, image_shape, model)
        probe = Probe(model, layer)
        responses = probe.last_outputs(x)
        n_units = responses.shape[-1]
        units = list(range(min(8, n_units)) if units is None else units)
        if any(not 0 <= unit < n_units for unit in units):
            raise ValueError(f"layer {layer} has units 0 to {n_units - 1}, got units={units}")
        fields = probe.fields() if responses.ndim == 4 else None
        n_patches = min(n_patches, len(x))
        best, patches = [], []
        for unit in units:
            values = responses[..., unit].reshape(len(x), -1)
            strongest = values.max(axis=1)
            chosen = np.argsort(-strongest, kind="stable")[:n_patches]
            best.append(strongest[chosen])
            where = values[chosen].argmax(axis=1)
            patches.append(
                [
                    _crop(images[i], fields, place, responses.shape)
                    for i, place in zip(chosen, where, strict=True)
                ]
            )
        ideal = None
        if ascent:
            low, high = float(x.min()), float(x.max())
            noise = check_random_state(random_state).uniform(0, 0.1, (len(units), x.shape[1]))
            ideal = probe.ascend(
                low + noise * (high - low), np.array(units), low=low, high=high,
                steps=steps, rate=0.1, decay=0.03,
            ).reshape(len(units), *images.shape[1:])  # fmt: skip
            middle = 0 if fields is None else _middle(responses.shape)
            ideal = np.stack([_crop(image, fields, middle, responses.shape) for image in ideal])
        display = cls(
            np.array(patches), np.array(best), ideal=ideal, labels=[str(u) for u in units]
        )
        return display.plot(ax=ax)

    def plot(self, *, ax: Any = None) -> MaximalPatchesDisplay:
        """Draw the patches.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None: in a new figure.

        Returns
        -------
        display : MaximalPatchesDisplay
            Itself.
        """
        rows = self.patches
        if self.ideal is not None:
            rows = np.concatenate([self.ideal[:, None], rows], axis=1)
        n, columns = rows.shape[:2]
        flat = rows.reshape(n * columns, *rows.shape[2:])
        low, high = float(flat.min()), float(flat.max())
        tiles, styles = [], []
        for patch in flat:
            tile, style = picture(patch)
            tiles.append(tile)
            styles.append({**style, "vmin": low, "vmax": high} if style else style)
        size = (0.6 * columns * 1.12 + 0.3, 0.6 * n * 1.12 + 0.4)
        self.ax_ = axes(f"{type(self).__name__}.plot", ax, size)
        self.figure_ = self.ax_.figure
        self.images_, _ = draw_tiles(self.ax_, tiles, columns, styles=styles)
        step = tiles[0].shape[0] / tiles[0].shape[1] + 0.12
        for k, label in enumerate(self.labels or []):
            self.ax_.text(-0.15, (k + 0.45) * step, label, ha="right", va="center", fontsize=8)
        if self.ideal is not None:
            self.ax_.axvline(1.06, color="0.3", linewidth=1)
        self.ax_.set_xlim(-0.5, columns * 1.12)
        return self


def check_network(estimator: Any) -> Any:
    """Return the fitted network in an estimator; ValueError where there is none."""
    model = final_estimator(estimator)
    if not hasattr(model, "_network"):
        raise ValueError(
            f"a {type(model).__name__} has no layers to look into: expected a fitted "
            "MLPClassifier or ConvNetClassifier"
        )
    return model


def _middle(shape: tuple[int, ...]) -> int:
    """The place in the middle of maps of shape (n, height, width, channels)."""
    return shape[1] // 2 * shape[2] + shape[2] // 2


def _crop(
    image: np.ndarray, fields: tuple[Field, Field] | None, place: int, shape: tuple[int, ...]
) -> np.ndarray:
    """The part of an image that a place of a layer sees; the whole for a unit without a place.

    A field as large as the image is cut to it, and outside of an image is what its corner has.
    """
    if fields is None:
        return image
    p, q = divmod(int(place), shape[2])
    windows = []
    for field, n, k in zip(fields, image.shape, (p, q), strict=False):
        size = min(field.size, n)
        start = field.first + k * field.step + (field.size - size) // 2
        windows.append((start, size) if size < n else (0, n))
    (top, height), (left, width) = windows
    patch = np.empty((height, width, image.shape[2]), image.dtype)
    patch[...] = image[0, 0]
    r = slice(max(top, 0), min(top + height, image.shape[0]))
    s = slice(max(left, 0), min(left + width, image.shape[1]))
    patch[r.start - top : r.stop - top, s.start - left : s.stop - left] = image[r, s]
    return patch
