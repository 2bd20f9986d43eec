"""Pictures of a search: its scores over one parameter or two, and how it went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from estimators.inspection.search_curves import (
    CORNERS,
    CURVES,
    curves_of,
    draw_best,
    draw_curves,
    labels_of,
    scores_of,
    seconds_of,
    usual_top,
)
from estimators.inspection.search_scores import is_number, metric_of, scores_over
from estimators.inspection.tiles import axes, pyplot

_SCORE = "mean score over the folds"
KINDS = ("scores", *CURVES, "best")


class SearchDisplay:
    """The scores of a search, a curve over one parameter or a map over two; or how it went.

    With ``kind="loss"`` and ``kind="validation"`` there is a curve for each candidate, epoch by
    epoch; with ``kind="best"`` the best score so far over the time. Else there are the scores.

    A red star marks the best score of a curve. Two parameters whose values were drawn at random
    would leave most of a map empty. They are shown as points in a plane, and a red ring marks the
    best one.

    It is best made by :meth:`from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    scores : ndarray of shape (n_x,) or (n_y, n_x)
        Mean validation scores; NaN where the search tried no candidate. Of the other kinds than
        "scores", those of the candidates in the order in which they were tried.
    x, y : sequences
        The values of the parameters; `y` is None if there is only one parameter. With curves, `x`
        has the names of the candidates, and with ``kind="best"`` the seconds up to the end of each.
    names : tuple of str
        The names of the parameters; empty for the other kinds.
    errors : ndarray of the shape of `scores`, or None, default=None
        Standard deviations over the folds.
    train_scores : ndarray of the shape of `scores`, or None, default=None
        Mean scores on the training folds.
    kind : {"scores", "loss", "validation", "best"}, default="scores"
        What is drawn.
    curves : sequence of ndarray of shape (n_epochs,), or None, default=None
        The curve of each candidate, empty where it has none.
    best : int or None, default=None
        The candidate that is marked as the best, for the other kinds than "scores"; None: that of
        the highest score. A search by halving looks for it among the last ones.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it is drawn.
    lines_ : dict of str or int to Line2D
        The curves "validation" and "training", or "best"; or those of the candidates by their
        numbers, which are rows of `cv_results_`. Empty if there is no curve.
    colorbar_ : Colorbar or None
        The scores that the colours of curves stand for, if there are more than 8 candidates.
    image_ : AxesImage or None
        The map, if there is one.
    points_ : PathCollection or None
        The points, in the colours of their scores, if there are any; with ``kind="best"`` a
        Line2D with those of the candidates.
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
        kind: str = "scores",
        curves: Sequence[np.ndarray] | None = None,
        best: int | None = None,
    ) -> None:
        self.scores = scores
        self.x = x
        self.y = y
        self.names = names
        self.errors = errors
        self.train_scores = train_scores
        self.kind = kind
        self.curves = curves
        self.best = best

    @classmethod
    def from_estimator(
        cls,
        search: Any,
        *,
        kind: str = "scores",
        params: Sequence[str] | None = None,
        metric: str | None = None,
        log: bool = False,
        ax: Any = None,
    ) -> SearchDisplay:
        """Draw the scores of a finished search, or how it went.

        Parameters
        ----------
        search : estimator
            A fitted search, such as GridSearchCV or RandomizedSearchCV, with its `cv_results_`.
        kind : {"scores", "loss", "validation", "best"}, default="scores"
            "scores": over the parameters. "loss" and "validation": the loss, or the accuracy on
            the validation set, of each candidate over its epochs, the mean over the folds, where a
            fit that has ended keeps its last value. Up to 8 candidates have a colour each, more
            have that of their score, with the best in red. Where a loss is more than 4 times the
            usual, the axis ends before it, unless `log` is set. The search is one of
            `estimators.model_selection` with ``keep_curves=True``. "best": the best score so far
            over the time that fits and scores have taken.
        params : sequence of one or two str, or None, default=None
            The parameters to draw with ``kind="scores"``; None: all that the search varies. Where
            candidates differ only in other parameters, the best score is shown. Where a search by
            halving has several scores of a candidate, the last is shown.
        metric : str or None, default=None
            Which metric, if the search has several; None: that of its `refit`.
        log : bool, default=False
            Whether the axis of losses is logarithmic.
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
            If there are not one or two parameters to draw, if the search has no such metric, or if
            it has kept no curves.
        """
        pyplot(f"{cls.__name__}.from_estimator")
        check_is_fitted(search, "cv_results_")
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {list(KINDS)}, got {kind!r}")
        if kind != "scores":
            results = search.cv_results_
            scores = scores_of(results, metric_of(search, metric))
            best = getattr(search, "best_index_", None) if "n_resources" in results else None
            if kind == "best":
                seconds = seconds_of(results, search.n_splits_).tolist()
                return cls(scores, seconds, None, (), kind=kind, best=best).plot(ax=ax)
            curves = curves_of(search, kind)
            display = cls(scores, labels_of(results), None, (), kind=kind, curves=curves, best=best)
            return display.plot(log=log, ax=ax)
        values, mean, error, train = scores_over(
            search.cv_results_, params, metric_of(search, metric)
        )
        names = tuple(values)
        x, *y = values.values()
        display = cls(mean, x, y[0] if y else None, names, errors=error, train_scores=train)
        return display.plot(ax=ax)

    def plot(self, *, log: bool = False, ax: Any = None, cmap: Any = "viridis") -> SearchDisplay:
        """Draw the scores, or how the search went.

        Parameters
        ----------
        log : bool, default=False
            Whether the axis of losses is logarithmic.
        ax : matplotlib Axes or None, default=None
            Where to draw; None: in a new figure.
        cmap : str or Colormap, default="viridis"
            The colours of a map, of points or of many curves.

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
        self.lines_: dict[Any, Any] = {}
        self.image_: Any = None
        self.points_: Any = None
        self.texts_: list[Any] = []
        self.colorbar_: Any = None
        if self.kind != "scores":
            return self._plot_course(log, cmap)
        if as_map:
            self._plot_map(cmap)
        elif scattered:
            self._plot_points(cmap)
        else:
            self._plot_curve()
        self.ax_.set_xlabel(_short(self.names[0]))
        self.ax_.set_ylabel(_SCORE if y is None else _short(self.names[1]))
        return self

    def _plot_course(self, log: bool, cmap: Any) -> SearchDisplay:
        """Draw the curves of the candidates, or the best score so far."""
        if self.kind == "best":
            self.lines_["best"], self.points_ = draw_best(
                self.ax_, self.scores, np.array(self.x), self.best
            )
            self.ax_.set_ylabel(_SCORE)
            return self
        curves = self.curves or []
        self.lines_, self.colorbar_ = draw_curves(
            self.ax_, curves, self.scores, self.x, cmap, CORNERS[self.kind], self.best
        )
        self.ax_.set_ylabel(CURVES[self.kind][1])
        if self.kind == "loss" and not log:
            self.ax_.set_ylim(0, usual_top(curves))
        if log:
            self.ax_.set_yscale("log")
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
            ax.set_xticks(x, [str(v) for v in self.x], parse_math=False)
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
        ax.set_xticks(range(len(self.x)), [_number(v) for v in self.x], parse_math=False)
        ax.set_yticks(range(len(y)), [_number(v) for v in y], parse_math=False)
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
