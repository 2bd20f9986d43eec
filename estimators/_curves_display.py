"""Pictures of a training and of a search: curves of loss and score, and maps of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from estimators._images import final_estimator
from estimators._tiles import axes, pyplot


class LossCurveDisplay:
    """The loss of each epoch, and the accuracy on a validation set where there is one.

    It is best made by :meth:`from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    losses : dict of str to list of float
        For each model the mean loss of its epochs.
    scores : dict of str to list of float
        For each model that has one, the accuracy on its validation set after each epoch, from 0
        to 1.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where the losses are drawn.
    score_ax_ : matplotlib Axes or None
        Where the scores are drawn, with an axis on the right; None where there are none.
    lines_, score_lines_ : dict of str to Line2D
        The curves.

    Examples
    --------
    >>> from estimators import MLPClassifier
    >>> from estimators.datasets import load_digits_split
    >>> from estimators.inspection import LossCurveDisplay
    >>> X, _, y, _ = load_digits_split(scale=True, return_X_y=True)
    >>> model = MLPClassifier(early_stopping=True, random_state=0).fit(X, y)
    >>> LossCurveDisplay.from_estimator(model)  # doctest: +SKIP
    """

    def __init__(
        self, losses: Mapping[str, Sequence[float]], scores: Mapping[str, Sequence[float]]
    ) -> None:
        self.losses = losses
        self.scores = scores

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, log: bool = False, ax: Any = None
    ) -> LossCurveDisplay:
        """Draw the curves of one fitted network, or of several.

        Parameters
        ----------
        estimator : estimator, or dict of str to estimator
            Fitted, with a `loss_curve_`: an MLPClassifier or ConvNetClassifier, or scikit-learn's;
            pipelines and searches that end in one; or several of them by name.
        log : bool, default=False
            Whether the axis of the losses is logarithmic.
        ax : matplotlib Axes or None, default=None
            Where to draw; None: in a new figure.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError
            If an estimator has no `loss_curve_`, as after ``solver="lbfgs"``.
        """
        pyplot(f"{cls.__name__}.from_estimator")
        named = estimator if isinstance(estimator, Mapping) else {"": estimator}
        losses, scores = {}, {}
        for name, fitted in named.items():
            model = final_estimator(fitted)
            if not hasattr(model, "loss_curve_"):
                raise ValueError(
                    f"this {type(model).__name__} has no loss_curve_: the networks have one after "
                    "solver='adam' or 'sgd'"
                )
            losses[name] = model.loss_curve_
            if getattr(model, "validation_scores_", None) is not None:
                scores[name] = model.validation_scores_
        return cls(losses, scores).plot(log=log, ax=ax)

    def plot(self, *, log: bool = False, ax: Any = None) -> LossCurveDisplay:
        """Draw the curves; the parameters are those of :meth:`from_estimator`.

        Returns
        -------
        display : LossCurveDisplay
            Itself.
        """
        self.ax_ = axes(f"{type(self).__name__}.plot", ax, (5.5, 3.5))
        self.figure_ = self.ax_.figure
        self.score_ax_ = None
        self.lines_, self.score_lines_ = {}, {}
        for k, (name, loss) in enumerate(self.losses.items()):
            label = f"{name}: training loss" if name else "training loss"
            (self.lines_[name],) = self.ax_.plot(
                np.arange(1, len(loss) + 1), loss, color=f"C{k}", label=label
            )
        self.ax_.set(xlabel="epoch", ylabel="mean loss of the epoch")
        if log:
            self.ax_.set_yscale("log")
        else:
            self.ax_.set_ylim(bottom=0)
        names = list(self.losses)
        if self.scores:
            self.score_ax_ = self.ax_.twinx()
            self.score_ax_.set_ylabel("accuracy on the validation set")
            for name, score in self.scores.items():
                label = f"{name}: validation accuracy" if name else "validation accuracy"
                (self.score_lines_[name],) = self.score_ax_.plot(
                    np.arange(1, len(score) + 1),
                    score,
                    color=f"C{names.index(name)}",
                    linestyle="--",
                    label=label,
                )
        lines = [*self.lines_.values(), *self.score_lines_.values()]
        if len(lines) > 1:
            place = "center right" if self.scores else "best"
            self.ax_.legend(handles=lines, loc=place, fontsize=8)
        return self


class SearchDisplay:
    """The scores of a search over one parameter, as a curve, or over two, as a map.

    It is best made by :meth:`from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    scores : ndarray of shape (n_x,) or (n_y, n_x)
        Mean validation scores; NaN where the search has none.
    x, y : sequences
        Values of the parameters; `y` is None for one parameter.
    names : tuple of str
        Names of the parameters.
    errors : ndarray of the shape of `scores`, or None, default=None
        Standard deviations over the folds.
    train_scores : ndarray of the shape of `scores`, or None, default=None
        Mean scores on the training folds.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it is drawn.
    lines_ : dict of str to Line2D
        The curves "validation" and "training"; empty for a map.
    image_ : AxesImage or None
        The map.
    texts_ : list of Text
        The scores in the map.

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
            Fitted, with `cv_results_`, as GridSearchCV and RandomizedSearchCV have.
        params : sequence of one or two str, or None, default=None
            The parameters to draw; None: all that the search varies. Of the values of the others
            the best is shown.
        metric : str, default="score"
            Which score, if the search has several.
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
            If there are not one or two parameters to draw, or no such score.
        """
        pyplot(f"{cls.__name__}.from_estimator")
        check_is_fitted(search, "cv_results_")
        results = search.cv_results_
        varied = {name for candidate in results["params"] for name in candidate}
        if params is None:
            params = [
                n for n in sorted(varied) if len({str(p.get(n)) for p in results["params"]}) > 1
            ]
        if not 1 <= len(params) <= 2 or not set(params) <= varied:
            raise ValueError(
                f"the search varies {sorted(varied)}: give one or two of them, as "
                f"params={sorted(varied)[:2]}; got {list(params)}"
            )
        if f"mean_test_{metric}" not in results:
            known = sorted(
                n.removeprefix("mean_test_") for n in results if n.startswith("mean_test_")
            )
            raise ValueError(f"the search has no score {metric!r}: it has {known}")
        columns = [[candidate.get(name) for candidate in results["params"]] for name in params]
        axes_values = [_ordered(column) for column in columns]
        shape = tuple(len(values) for values in reversed(axes_values))
        mean = np.full(shape, np.nan)
        error, train = mean.copy(), mean.copy()
        has_train = f"mean_train_{metric}" in results
        for i, score in enumerate(results[f"mean_test_{metric}"]):
            at = tuple(
                _position(values, column[i])
                for values, column in zip(reversed(axes_values), reversed(columns), strict=True)
            )
            if not np.isnan(score) and not mean[at] >= score:
                mean[at], error[at] = score, results[f"std_test_{metric}"][i]
                if has_train:
                    train[at] = results[f"mean_train_{metric}"][i]
        display = cls(
            mean,
            axes_values[0],
            axes_values[1] if len(params) == 2 else None,
            tuple(params),
            errors=error,
            train_scores=train if has_train else None,
        )
        return display.plot(ax=ax)

    def plot(self, *, ax: Any = None, cmap: Any = "viridis") -> SearchDisplay:
        """Draw the scores.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None: in a new figure.
        cmap : str or Colormap, default="viridis"
            Colours of a map.

        Returns
        -------
        display : SearchDisplay
            Itself.
        """
        n_x = len(self.x)
        size = (5.5, 3.5) if self.y is None else (1.6 + 0.75 * n_x, 1.2 + 0.6 * len(self.y))
        self.ax_ = axes(f"{type(self).__name__}.plot", ax, size)
        self.figure_ = self.ax_.figure
        self.lines_: dict[str, Any] = {}
        self.image_: Any = None
        self.texts_: list[Any] = []
        if self.y is None:
            self._plot_curve()
        else:
            self._plot_map(cmap)
        return self

    def _plot_curve(self) -> None:
        ax, numeric = self.ax_, all(isinstance(v, Real) for v in self.x)
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
        elif len(x) > 2 and x.min() > 0 and x.max() / x.min() >= 50:
            ax.set_xscale("log")
        best = int(np.nanargmax(self.scores))
        ax.plot(x[best], self.scores[best], "*", color="C3", markersize=12, zorder=3)
        ax.set(xlabel=_short(self.names[0]), ylabel="mean score over the folds")

    def _plot_map(self, cmap: Any) -> None:
        ax, y = self.ax_, self.y or []
        self.image_ = ax.imshow(self.scores, cmap=cmap, aspect="auto", origin="lower")
        ax.set_xticks(range(len(self.x)), [_number(v) for v in self.x])
        ax.set_yticks(range(len(y)), [_number(v) for v in y])
        ax.set(xlabel=_short(self.names[0]), ylabel=_short(self.names[1]))
        best = np.nanmax(self.scores)
        for (i, j), score in np.ndenumerate(self.scores):
            if np.isnan(score):
                continue
            r, g, b, _ = self.image_.cmap(self.image_.norm(score))
            dark = 0.299 * r + 0.587 * g + 0.114 * b < 0.5
            self.texts_.append(
                ax.text(
                    j, i, f"{score:.3f}", ha="center", va="center", fontsize=8,
                    color="white" if dark else "black",
                    fontweight="bold" if score == best else "normal",
                )
            )  # fmt: skip
        self.figure_.colorbar(self.image_, ax=ax, label="mean score over the folds")


def _ordered(values: list[Any]) -> list[Any]:
    """The values without repetitions, sorted where they are numbers."""
    kept: list[Any] = []
    for value in values:
        if not any(_same(value, other) for other in kept):
            kept.append(value)
    return sorted(kept) if all(isinstance(v, Real) for v in kept) else kept


def _position(values: list[Any], value: Any) -> int:
    return next(k for k, other in enumerate(values) if _same(value, other))


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and str(a) == str(b)


def _short(name: str) -> str:
    """The name of a parameter without those of the steps of a pipeline."""
    return name.rpartition("__")[2]


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, Real) and not isinstance(value, bool) else str(value)
