"""Pictures of what excites a filter most: patches of images, and an input made for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_random_state

from estimators.inspection.images import as_images, checked_layer, checked_units, fitted_network
from estimators.inspection.probe import Probe
from estimators.inspection.tiles import axes, draw_tiles, picture, pyplot
from estimators.layers.fields import Fields
from estimators.shared.image_shapes import rows_of_images
from estimators.shared.pipelines import before_the_last_step


class MaximalPatchesDisplay:
    """The patches of images that excite each filter of a layer most, and an ideal input for it.

    Each filter has a row. The first picture is an input made by gradient ascent: it starts as faint
    noise and is changed, step by step, to raise the filter's score. The other pictures are patches
    of real images, at most one per image, to which the filter responds most, the strongest first.
    Where a patch reaches beyond its image, it has the colour of the image's corner.

    It is best made by :meth:`from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    patches : ndarray of shape (n_filters, n_patches, height, width, n_channels)
        The patches.
    responses : ndarray of shape (n_filters, n_patches)
        The outputs of the filters for them.
    ideal : ndarray of shape (n_filters, height, width, n_channels) or None, default=None
        The inputs that gradient ascent found; None: not drawn.
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
            The samples to look for patches in, as the estimator takes them.
        layer : int, default=0
            Which of the layers with weights, counted as in `coefs_`.
        units : sequence of int or None, default=None
            The filters or units to draw; None: the first eight.
        n_patches : int, default=9
            How many patches to draw for each filter, each of another image.
        ascent : bool, default=True
            Whether to make an ideal input as well, by gradient ascent.
        steps : int, default=60
            How many steps the gradient ascent takes.
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
            If the estimator is no network, has no layer or unit of that number, or was fitted on
            images of another size.
        """
        pyplot(f"{cls.__name__}.from_estimator")
        model = fitted_network(estimator)
        layer = checked_layer(model, layer)
        x = before_the_last_step(estimator, X)
        x, _ = rows_of_images(x, type(model).__name__, getattr(model, "image_shape_", None))
        x = x.toarray() if sp.issparse(x) else np.asarray(x)
        if x.ndim != 2 or x.shape[1] != model.n_features_in_:
            raise ValueError(
                f"X has shape {x.shape}, but {type(model).__name__} is expecting "
                f"{model.n_features_in_} features as input"
            )
        images = as_images(x, image_shape, model)
        probe = Probe(model, layer)
        responses = probe.last_outputs(x)
        n_units = responses.shape[-1]
        units = checked_units(layer, range(min(8, n_units)) if units is None else units, n_units)
        # units of a dense layer have no place in the image, and see all of it
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
            # the ascent is that of the filter at the middle place, which sees this patch
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
            self.ax_.text(-0.15, (k + 0.45) * step, label, ha="right", va="center", fontsize=8,
                          parse_math=False)  # fmt: skip
        if self.ideal is not None:
            self.ax_.axvline(1.06, color="0.3", linewidth=1)
        self.ax_.set_xlim(-0.5, columns * 1.12)
        return self


def _middle(shape: tuple[int, ...]) -> int:
    """Return the index of the middle place in maps of shape (n, height, width, channels)."""
    return shape[1] // 2 * shape[2] + shape[2] // 2


def _crop(
    image: np.ndarray, fields: Fields | None, place: int, shape: tuple[int, ...]
) -> np.ndarray:
    """Return the patch of an image that a place of a layer sees, or the whole if `fields` is None.

    A field that is larger than the image becomes the whole image. Where it reaches beyond the
    image, the patch has the colour of the image's corner, which is usually background.
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
