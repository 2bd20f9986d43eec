"""A picture of the layers of a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError

from estimators.inspection.network_layout import FEW, SMALL, Layout, Place, layout_of
from estimators.inspection.tiles import DIVERGING, around_zero, axes, pyplot
from estimators.layers.dense import Dense, Scores
from estimators.neural.summary import NetworkSummary, summary_of
from estimators.shared.pipelines import steps_and_model
from estimators.training.network import Network

# the colours of Okabe and Ito, which do not rely on red against green
COLOURS = {
    "input": "#bbbbbb",
    "convolution": "#e69f00",
    "pooling": "#009e73",
    "dense": "#0072b2",
    "normalization": "#cc79a7",
    "activation": "#d55e00",
    "dropout": "#666666",
    "other": "#56b4e9",
}
_TALLEST = 18.0  # inches of a new figure; a larger picture is drawn smaller
_LEGEND, _LARGEST = 0.4, 1.3  # inches; how far texts and lines are enlarged


class NetworkDisplay:
    """The layers of a network, from the input on the left to the scores on the right.

    Images are stacks of sheets, one for each doubling of the channels; a square on an image and
    the lines from it show what one place of the next layer sees. Units are columns, drawn one by
    one where they are few, with their connections: those of a fitted network red where the weight
    is positive and blue where it is negative, the wider the larger. Activations, normalisation and
    dropout are strips beside the layer whose output they change. Sides of images are to the scale
    of their square root, and columns to that of the logarithm. Many layers take several rows.

    It is best made by :meth:`from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    summary : NetworkSummary
        The layers, as ``model.summary(show=False)`` returns them.
    weights : dict of int to ndarray of shape (n_inputs, n_outputs), or None, default=None
        Weights of dense layers, by the numbers of the layers. They colour connections.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it is drawn.
    patches_ : list of list of Patch
        What is drawn for the input and for each layer that is not a strip.
    strips_ : list of Rectangle
        The strips.
    connections_ : list of LineCollection
        The connections between few units.
    texts_ : list of Text
        The names above the layers, and then the shapes and numbers of parameters below them.
    legend_ : Legend
        What the colours mean.

    Examples
    --------
    >>> from estimators import ConvNetClassifier
    >>> from estimators.inspection import NetworkDisplay
    >>> net = ConvNetClassifier((8, 16), hidden_layer_sizes=(32,))
    >>> NetworkDisplay.from_estimator(
    ...     net, input_shape=(28, 28), n_classes=10
    ... )  # doctest: +SKIP
    """

    def __init__(
        self, summary: NetworkSummary, *, weights: Mapping[int, np.ndarray] | None = None
    ) -> None:
        self.summary = summary
        self.weights = weights

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        input_shape: Any = None,
        n_classes: int | None = None,
        ax: Any = None,
    ) -> NetworkDisplay:
        """Draw the layers of a network.

        Parameters
        ----------
        estimator : estimator
            An MLPClassifier or a ConvNetClassifier, or a pipeline or search that ends in one; or
            a fitted MLPClassifier of scikit-learn.
        input_shape : int or tuple of int, default=None
            Number of features, or shape of an image; only needed before a fit.
        n_classes : int, default=None
            Number of classes; only needed before a fit.
        ax : matplotlib Axes or None, default=None
            Where to draw; None: in a new figure.

        Returns
        -------
        display : NetworkDisplay

        Raises
        ------
        ImportError
            If matplotlib is missing.
        NotFittedError
            If the estimator is not fitted, and the shape or the number of classes is missing.
        ValueError
            If it has no layers.
        """
        pyplot(f"{cls.__name__}.from_estimator")
        _, model = steps_and_model(estimator)
        # a search has its estimator, which may be a pipeline, before it has a best one
        while not hasattr(model, "best_estimator_") and hasattr(model, "estimator"):
            _, model = steps_and_model(model.estimator)
        is_fitted = isinstance(getattr(model, "coefs_", None), list)
        if not (is_fitted or hasattr(model, "_network_shown")):
            raise ValueError(f"{type(model).__name__} has no layers, or is not fitted yet")
        if not is_fitted and (input_shape is None or n_classes is None):
            raise NotFittedError(
                f"this {type(model).__name__} is not fitted yet: give input_shape, the shape of a "
                "sample, and n_classes, as in input_shape=(28, 28), n_classes=10"
            )
        if hasattr(model, "_network_shown"):
            network = model._network_shown(input_shape, n_classes)
        else:
            sizes = [np.shape(w)[0] for w in model.coefs_]
            hidden = [Dense(n, model.activation) for n in sizes[1:]]
            scores = Scores(np.shape(model.coefs_[-1])[1])
            network = Network([*hidden, scores], (sizes[0],))
        weights = dict(zip(network.weighted, model.coefs_, strict=True)) if is_fitted else None
        itemsize = model.coefs_[0].itemsize if is_fitted else model._own_dtype.itemsize
        return cls(summary_of(network, itemsize), weights=weights).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> NetworkDisplay:
        """Draw the layers.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None: in a new figure.

        Returns
        -------
        display : NetworkDisplay
            Itself.
        """
        if ax is None:
            layout = layout_of(self.summary)
            fits = min(1.0, _TALLEST / layout.height)
            size = max(layout.width * fits, 2.5), layout.height * fits + _LEGEND
            ax = axes(f"{type(self).__name__}.plot", None, size)
        else:
            box = ax.get_window_extent()
            dpi = ax.figure.dpi
            layout = layout_of(self.summary, (box.width / dpi, box.height / dpi))
        self.ax_ = ax
        self.figure_ = ax.figure
        ax.set(xlim=(0, layout.width), ylim=(0, layout.height))
        ax.set_aspect("equal")
        ax.set_axis_off()
        self.patches_: list[list[Any]] = []
        self.strips_: list[Any] = []
        self.connections_: list[Any] = []
        self.texts_: list[Any] = []
        scale = self._scale(layout)
        for place in layout.places:
            self.patches_.append(_draw_place(ax, place, scale))
            for k, kind in enumerate(place.strips):
                left, bottom, width, height = place.strip(k)
                self.strips_.append(
                    _rectangle(ax, left, bottom, width, height, kind, scale, zorder=4)
                )
        for before, after in zip(layout.places, layout.places[1:], strict=False):
            self._connect(before, after, scale)
        self._write(layout.places, scale)
        self._explain(layout.places, scale)
        return self

    def _scale(self, layout: Layout) -> float:
        """Return how many inches of the figure one inch of the layout takes."""
        box, dpi = self.ax_.get_window_extent(), self.figure_.dpi
        return min(box.width / layout.width / dpi, box.height / layout.height / dpi, _LARGEST)

    def _connect(self, before: Place, after: Place, scale: float) -> None:
        """Draw how a layer is connected to the one before it."""
        ax = self.ax_
        if before.row != after.row:  # it goes on in the next row
            for place, ends in ((before, (0.05, 0.3)), (after, (-0.3, -0.05))):
                start = place.right if place is before else place.x
                ax.annotate(
                    "", (start + ends[1], place.y), (start + ends[0], place.y),
                    arrowprops={"arrowstyle": "->", "color": "0.4", "lw": scale},
                )  # fmt: skip
            return
        if before.units() and after.units() and after.kind == "dense":
            self._connect_units(before, after, scale)
        elif before.sheets and after.sheets and after.sees is not None:
            _draw_window(ax, before, after, scale)
        else:
            from matplotlib.patches import Polygon

            corners = [
                (before.right + 0.03, before.top), (after.x - 0.03, after.top),
                (after.x - 0.03, after.bottom), (before.right + 0.03, before.bottom),
            ]  # fmt: skip
            shade = Polygon(corners, facecolor="0.93", edgecolor="0.75", linewidth=0.5 * scale)
            shade.set_zorder(1)
            ax.add_patch(shade)

    def _connect_units(self, before: Place, after: Place, scale: float) -> None:
        from matplotlib.collections import LineCollection

        lines = [(a, b) for a in before.units() for b in after.units()]
        w = (self.weights or {}).get(after.indices[0])
        style: dict[str, Any] = {"colors": "0.7", "linewidths": 0.6 * scale}
        if w is not None and np.shape(w) == (before.shape[0], after.shape[0]):
            values = np.ravel(w).astype(float)
            limits = around_zero(values)
            share = np.abs(values) / limits["vmax"]
            colours = pyplot(type(self).__name__).get_cmap(DIVERGING)(
                0.5 + 0.5 * np.sign(values) * (0.45 + 0.5 * share)
            )
            style = {"colors": colours, "linewidths": (0.3 + 1.5 * share) * scale}
        drawn = LineCollection(lines, zorder=1, **style)
        self.ax_.add_collection(drawn, autolim=False)
        self.connections_.append(drawn)

    def _write(self, places: list[Place], scale: float) -> None:
        small = max(SMALL * scale, 1.0)
        for place in places:
            middle = (place.x + place.right) / 2
            self.texts_.append(
                self.ax_.text(
                    middle, place.top + 0.07, "\n".join(place.above), ha="center", va="bottom",
                    fontsize=small * (SMALL + 1) / SMALL, parse_math=False,
                )
            )  # fmt: skip
        for place in places:
            middle = (place.x + place.right) / 2
            self.texts_.append(
                self.ax_.text(
                    middle, place.bottom - 0.07, "\n".join(place.below), ha="center", va="top",
                    fontsize=small, color="0.3", parse_math=False,
                )
            )  # fmt: skip

    def _explain(self, places: list[Place], scale: float) -> None:
        from matplotlib.patches import Patch

        there = {kind for place in places for kind in (place.kind, *place.strips)}
        kinds = [kind for kind in COLOURS if kind in there and kind != "input"]
        self.legend_ = self.ax_.legend(
            handles=[Patch(color=COLOURS[kind], label=kind) for kind in kinds],
            loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=len(kinds), frameon=False,
            fontsize=max(SMALL * scale, 1.0), handlelength=1, columnspacing=1.2, borderpad=0,
        )  # fmt: skip


def _draw_place(ax: Any, place: Place, scale: float) -> list[Any]:
    """Draw the sheets of an image, or the units or the bar of a column."""
    from matplotlib.patches import Circle, FancyBboxPatch

    if place.sheets:
        sheets = [(k, *place.sheet(k)) for k in reversed(range(place.sheets))]
        return [
            _rectangle(
                ax, left, bottom, place.width, place.height, place.kind, scale, zorder=3 - k / 100
            )
            for k, left, bottom in sheets
        ]
    style = _style(place.kind, scale) | {"zorder": 3}
    units = place.units()
    patches: list[Any] = [Circle(middle, place.width / 2 - 0.02, **style) for middle in units]
    if not units:
        rounding = 0.06
        patches = [
            FancyBboxPatch(
                (place.x + rounding, place.bottom + rounding),
                place.width - 2 * rounding, place.height - 2 * rounding,
                boxstyle=f"round,pad={rounding},rounding_size={rounding}", **style,
            )
        ]  # fmt: skip
    for patch in patches:
        ax.add_patch(patch)
    return patches


def _style(kind: str, scale: float) -> dict[str, Any]:
    """Return the face and the edge of something of a kind."""
    from matplotlib.colors import to_rgb

    colour = np.array(to_rgb(COLOURS.get(kind, COLOURS["other"])))
    return {
        "facecolor": tuple(0.55 * colour + 0.45),
        "edgecolor": tuple(0.7 * colour),
        "linewidth": 0.8 * scale,
    }


def _rectangle(
    ax: Any, left: float, bottom: float, width: float, height: float, kind: str, scale: float,
    zorder: float,
) -> Any:  # fmt: skip
    from matplotlib.patches import Rectangle

    style = _style(kind, scale) | {"zorder": zorder}
    return ax.add_patch(Rectangle((left, bottom), width, height, **style))


def _draw_window(ax: Any, before: Place, after: Place, scale: float) -> None:
    """Draw what one place of a layer sees of the image before it."""
    assert after.sees is not None
    rows, columns = (
        min(seen / n, 1.0) for seen, n in zip(after.sees, before.shape[:2], strict=True)
    )
    width, height = max(columns * before.width, 0.05), max(rows * before.height, 0.05)
    left = before.x + 0.6 * (before.width - width)
    bottom = before.bottom + 0.6 * (before.height - height)
    place = after.x + 0.35 * after.width, after.bottom + 0.5 * after.height
    from matplotlib.patches import Rectangle

    line: dict[str, Any] = {"edgecolor": "0.15", "linewidth": 0.7 * scale}
    ax.add_patch(Rectangle((left, bottom), width, height, facecolor="none", zorder=5, **line))
    for corner in (bottom, bottom + height):
        ax.plot(
            (left + width, place[0]), (corner, place[1]),
            color="0.15", linewidth=0.5 * scale, zorder=5,
        )  # fmt: skip
    ax.plot(*place, "o", color="0.15", markersize=1.5 * scale, zorder=5)


__all__ = ["COLOURS", "FEW", "NetworkDisplay"]
