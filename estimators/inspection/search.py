"""Pictures of a search: its scores over one parameter or two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from estimators.inspection.search_scores import is_number, scores_over
from estimators.inspection.tiles import axes, pyplot

_SCORE = "mean score over the folds"


class SearchDisplay:
    """The scores of a search: a curve over one parameter, or a map over two.

    A red star marks the best score of a curve. Two parameters whose values were drawn at random
    would leave most of a map empty. They are shown as points in a plane, and a red ring marks the
    best one.

    It is best made by :meth:`from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    scores : ndarray of shape (n_x,) or (n_y, n_x)
        Mean validation scores; NaN where the search tried no candidate.
    x, y : sequences
        The values of the parameters; `y` is None if there is only one parameter.
    names : tuple of str
        The names of the parameters.
    errors : ndarray of the shape of `scores`, or None, default=None
        Standard deviations over the folds.
    train_scores : ndarray of the shape of `scores`, or None, default=None
        Mean scores on the training folds.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it is drawn.
    lines_ : dict of str to Line2D
        The curves "validation" and "training"; empty if there is no curve.
    image_ : AxesImage or None
        The map, if there is one.
    points_ : PathCollection or None
        The points, in the colours of their scores, if there are any.
    texts_ : list of Text
        The scores written into the map.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from estimators import LogisticRegression
    >>> from estimators.datasets import load_digits_split
    >>> from estimators.inspection import SearchDisplay
    >>> X, _, y, _ = load_digits_split(scale=True, return_X_y=True)
    >>> search = GridSearchCV(LogisticRegression(), {"C": [0.01, 0.1, 1, 10]}, cv=3).fit(X, y)
    >>> SearchDisplay.from_estimator(search)  # doctest: +SKIP
    """

    def __init__(
        self,
        scores: np.ndarray,
        x: Sequence[Any],
        y: Sequence[Any] | None,
        names: tuple[str, ...],
        *,
        errors: np.ndarray | None = None,
        train_scores: np.ndarray | None = None,
    ) -> None:
        self.scores = scores
        self.x = x
        self.y = y
        self.names = names
        self.errors = errors
        self.train_scores = train_scores

    @classmethod
    def from_estimator(
        cls,
        search: Any,
        *,
        params: Sequence[str] | None = None,
        metric: str = "score",
        ax: Any = None,
    ) -> SearchDisplay:
        """Draw the scores of a finished search.

        Parameters
        ----------
        search : estimator
            A fitted search, such as GridSearchCV or RandomizedSearchCV, with its `cv_results_`.
        params : sequence of one or two str, or None, default=None
            The parameters to draw; None: all that the search varies. Where candidates differ only
            in other parameters, the best score is shown. Where a search by halving has several
            scores of a candidate, the last is shown.
        metric : str, default="score"
            Which metric, if the search has several.
        ax : matplotlib Axes or None, default=None
            Where to draw; None: in a new figure.

        Returns
        -------
        display : SearchDisplay

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError
            If there are not one or two parameters to draw, or the search has no such metric.
        """
        pyplot(f"{cls.__name__}.from_estimator")
        check_is_fitted(search, "cv_results_")
        values, mean, error, train = scores_over(search.cv_results_, params, metric)
        names = tuple(values)
        x, *y = values.values()
        display = cls(mean, x, y[0] if y else None, names, errors=error, train_scores=train)
        return display.plot(ax=ax)

    def plot(self, *, ax: Any = None, cmap: Any = "viridis") -> SearchDisplay:
        """Draw the scores.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None: in a new figure.
        cmap : str or Colormap, default="viridis"
            The colours of a map or of points.

        Returns
        -------
        display : SearchDisplay
            Itself.
        """
        n_x, y, scattered = len(self.x), self.y, self._is_scattered()
        as_map = y is not None and not scattered
        size = (1.6 + 0.75 * n_x, 1.2 + 0.6 * len(y or [])) if as_map else (5.5, 3.5)
        self.ax_ = axes(f"{type(self).__name__}.plot", ax, size)
        self.figure_ = self.ax_.figure
        self.lines_: dict[str, Any] = {}
        self.image_: Any = None
        self.points_: Any = None
        self.texts_: list[Any] = []
        if as_map:
            self._plot_map(cmap)
        elif scattered:
            self._plot_points(cmap)
        else:
            self._plot_curve()
        self.ax_.set_xlabel(_short(self.names[0]))
        self.ax_.set_ylabel(_SCORE if y is None else _short(self.names[1]))
        return self

    def _is_scattered(self) -> bool:
        """Return whether both parameters are numbers, and most of a map of them would be empty."""
        numeric = self.y is not None and all(map(is_number, (*self.x, *self.y)))
        return numeric and bool(np.isnan(self.scores).mean() > 0.5)

    def _plot_curve(self) -> None:
        ax, numeric = self.ax_, all(map(is_number, self.x))
        x: Any = np.array(self.x, float) if numeric else np.arange(len(self.x))
        self.lines_["validation"] = ax.errorbar(
            x, self.scores, yerr=self.errors, marker="o", capsize=3, label="validation"
        )[0]
        if self.train_scores is not None:
            (self.lines_["training"],) = ax.plot(
                x, self.train_scores, marker="o", linestyle="--", label="training"
            )
            ax.legend()
        if not numeric:
            ax.set_xticks(x, [str(v) for v in self.x])
        else:
            ax.set_xscale(_scale_of(x))
        best = int(np.nanargmax(self.scores))
        ax.plot(x[best], self.scores[best], "*", color="C3", markersize=12, zorder=3, clip_on=False)

    def _plot_points(self, cmap: Any) -> None:
        ax = self.ax_
        rows, columns = np.nonzero(~np.isnan(self.scores))
        x, y = np.array(self.x, float)[columns], np.array(self.y, float)[rows]
        scores = self.scores[rows, columns]
        self.points_ = ax.scatter(x, y, c=scores, cmap=cmap, edgecolors="0.3", linewidths=0.5)
        best = int(scores.argmax())
        ax.plot(x[best], y[best], "o", color="C3", markersize=13, fillstyle="none", clip_on=False)
        ax.set(xscale=_scale_of(x), yscale=_scale_of(y))
        self.figure_.colorbar(self.points_, ax=ax, label=_SCORE)

    def _plot_map(self, cmap: Any) -> None:
        ax, y = self.ax_, self.y or []
        self.image_ = ax.imshow(self.scores, cmap=cmap, aspect="auto", origin="lower")
        ax.set_xticks(range(len(self.x)), [_number(v) for v in self.x])
        ax.set_yticks(range(len(y)), [_number(v) for v in y])
        best = np.nanmax(self.scores)
        for (i, j), score in np.ndenumerate(self.scores):
            if np.isnan(score):
                continue
            r, g, b, _ = self.image_.cmap(self.image_.norm(score))
            # the luma of ITU-R BT.601, by which a text is white or black
            dark = 0.299 * r + 0.587 * g + 0.114 * b < 0.5
            self.texts_.append(
                ax.text(
                    j, i, f"{score:.3f}", ha="center", va="center", fontsize=8,
                    color="white" if dark else "black",
                    fontweight="bold" if score == best else "normal",
                )
            )  # fmt: skip
        self.figure_.colorbar(self.image_, ax=ax, label=_SCORE)


def _scale_of(values: np.ndarray) -> str:
    """Return "log" for positive values that span more than an order of magnitude, else "linear"."""
    wide = len(values) > 2 and values.min() > 0 and values.max() / values.min() >= 50
    return "log" if wide else "linear"


def _short(name: str) -> str:
    """Return the name of a parameter without the names of the steps of a pipeline before it."""
    return name.rpartition("__")[2]


def _number(value: Any) -> str:
    return f"{value:g}" if is_number(value) else str(value)
