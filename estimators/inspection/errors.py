"""Pictures of what a classifier gets wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.multiclass import unique_labels

from estimators.inspection.images import as_images
from estimators.inspection.tiles import (
    axes,
    columns_of,
    draw_tiles,
    figure_size,
    picture,
    pyplot,
    ratio_of,
)
from estimators.shared.pipelines import final_estimator


class ErrorsDisplay:
    """Misclassified images with the true label and the prediction, the surest errors first.

    It is best made by :meth:`from_estimator` or :meth:`from_predictions`. All parameters are
    stored as attributes.

    Parameters
    ----------
    images : ndarray of shape (n_errors, height, width, n_channels)
        The images, in the order in which they are shown.
    y_true, y_pred : ndarray of shape (n_errors,)
        The true labels and the predictions.
    n_samples : int
        How many images were classified.
    indices : ndarray of shape (n_errors,) or None, default=None
        The rows of X that the images are.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it is drawn.
    images_ : list of AxesImage
        The images.
    texts_ : list of Text
        The line above each image, such as "4, not 9": the true label, then the prediction.

    Examples
    --------
    >>> from estimators import LogisticRegression
    >>> from estimators.datasets import load_digits_split
    >>> from estimators.inspection import ErrorsDisplay
    >>> X, X_test, y, y_test = load_digits_split(scale=True, return_X_y=True)
    >>> model = LogisticRegression().fit(X, y)
    >>> ErrorsDisplay.from_estimator(model, X_test, y_test)  # doctest: +SKIP
    """

    def __init__(
        self,
        images: np.ndarray,
        y_true: np.ndarray,
        y_pred: np.ndarray,
        n_samples: int,
        *,
        indices: np.ndarray | None = None,
    ) -> None:
        self.images = images
        self.y_true = y_true
        self.y_pred = y_pred
        self.n_samples = n_samples
        self.indices = indices

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        n_images: int = 24,
        image_shape: tuple[int, ...] | None = None,
        columns: int | None = None,
        ax: Any = None,
    ) -> ErrorsDisplay:
        """Draw images of X that a fitted classifier gets wrong.

        The errors come first in which the predicted class has the highest probability, or the
        highest score if the classifier has no probabilities.

        Parameters
        ----------
        estimator : estimator
            A fitted classifier, a pipeline or a search.
        X : array-like of shape (n_samples, n_features), or images
            Samples.
        y : array-like of shape (n_samples,)
            The true labels.
        n_images : int, default=24
            At most so many errors are drawn.
        image_shape : tuple of int or None, default=None
            Height, width and channels of the images; None: as fitted, or squares.
        columns : int or None, default=None
            How many images stand side by side; None: as the number of images suggests.
        ax : matplotlib Axes or None, default=None
            Where to draw; None: in a new figure.

        Returns
        -------
        display : ErrorsDisplay

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError
            If X holds no images, or y is not one label for each of them.
        """
        pyplot(f"{cls.__name__}.from_estimator")
        guesses = estimator.predict(X)
        sureness = None
        for method in ("predict_proba", "decision_function"):
            if hasattr(estimator, method):
                scores = np.asarray(getattr(estimator, method)(X))
                sureness = np.abs(scores) if scores.ndim == 1 else scores.max(axis=1)
                break
        return cls.from_predictions(
            as_images(X, image_shape, final_estimator(estimator)),
            y,
            guesses,
            sureness=sureness,
            n_images=n_images,
            columns=columns,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        X: Any,
        y_true: Any,
        y_pred: Any,
        *,
        sureness: Any = None,
        n_images: int = 24,
        image_shape: tuple[int, ...] | None = None,
        columns: int | None = None,
        ax: Any = None,
    ) -> ErrorsDisplay:
        """Draw the images whose predicted label is wrong.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or images
            Samples.
        y_true, y_pred : array-like of shape (n_samples,)
            The true labels and the predictions.
        sureness : array-like of shape (n_samples,) or None, default=None
            How sure each prediction is: the surest errors come first. None: in the order of X.
        n_images, image_shape, columns, ax
            As in :meth:`from_estimator`.

        Returns
        -------
        display : ErrorsDisplay

        Raises
        ------
        ImportError
            If matplotlib is missing.
        ValueError
            If X holds no images, if there is not one label and one prediction for each of them, or
            if labels are numbers and predictions are strings, or the other way round.
        """
        pyplot(f"{cls.__name__}.from_predictions")
        y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
        if y_true.ndim != 1 or y_pred.ndim != 1:
            raise ValueError(
                "expected one label and one guess an image, got arrays of shape "
                f"{y_true.shape} and {y_pred.shape}"
            )
        images = as_images(X, image_shape)
        if not len(images) == len(y_true) == len(y_pred):
            raise ValueError(
                f"there are {len(images)} images, {len(y_true)} labels and {len(y_pred)} guesses"
            )
        if len(y_true):
            # raises for strings beside numbers, which would make every prediction an error
            unique_labels(y_true, y_pred)
        wrong = np.flatnonzero(y_true != y_pred)
        if sureness is not None:
            wrong = wrong[np.argsort(-np.asarray(sureness)[wrong], kind="stable")]
        display = cls(images[wrong], y_true[wrong], y_pred[wrong], len(images), indices=wrong)
        return display.plot(n_images=n_images, columns=columns, ax=ax)

    def plot(
        self, *, n_images: int = 24, columns: int | None = None, ax: Any = None
    ) -> ErrorsDisplay:
        """Draw the errors; the parameters are those of :meth:`from_estimator`.

        Returns
        -------
        display : ErrorsDisplay
            Itself.
        """
        shown = [picture(image) for image in self.images[:n_images]]
        tiles = [tile for tile, _ in shown]
        labels: Sequence[str] = [
            f"{true}, not {guess}"
            for true, guess in zip(self.y_true[:n_images], self.y_pred[:n_images], strict=True)
        ]
        columns = columns_of(len(tiles), columns)
        ratio = ratio_of(tiles) if tiles else 1.0
        size = figure_size(max(len(tiles), 1), columns, ratio, labelled=True)
        self.ax_ = axes(f"{type(self).__name__}.plot", ax, size)
        self.figure_ = self.ax_.figure
        self.images_: list[Any] = []
        self.texts_: list[Any] = []
        title = f"{len(self.images)} errors in {self.n_samples:,} images"
        if len(tiles) < len(self.images):
            title += f", {len(tiles)} shown"
        self.ax_.set_title(title, fontsize=10)
        self.ax_.set_axis_off()
        if tiles:
            styles = [style for _, style in shown]
            self.images_, self.texts_ = draw_tiles(
                self.ax_, tiles, columns, labels=labels, styles=styles
            )
        return self
