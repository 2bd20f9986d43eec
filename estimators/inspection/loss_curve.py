"""Pictures of how a fit went: curves of the loss and of the validation score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from estimators.inspection.tiles import axes, legend, pyplot
from estimators.shared.pipelines import final_estimator
from estimators.training.optimizers import STEPPED, listed


class LossCurveDisplay:
    """The loss of each epoch, and the accuracy on the validation set if there is one.

    It is best made by :meth:`from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    losses : dict of str to list of float
        For each model the mean loss of each epoch.
    scores : dict of str to list of float
        For each model that has a validation set, the accuracy on it after each epoch, from 0 to 1.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where the losses are drawn.
    score_ax_ : matplotlib Axes or None
        Where the scores are drawn, with an axis on the right; None if there are none.
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
            Fitted, with a `loss_curve_`: an MLPClassifier of this package or of scikit-learn, a
            ConvNetClassifier, or a pipeline or search that ends in one. A dict has several of
            these by their names.
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
                    f"solver={listed(STEPPED, 'or')}"
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
        self.ax_.xaxis.get_major_locator().set_params(integer=True)
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
            legend(self.ax_, handles=lines, loc=place, fontsize=8)
        return self
