"""What a classifier's network minimises, and how its scores become probabilities."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cukernels.activations import ACTIVATIONS
from cukernels.runtime import Array
from cukernels.training import loss_of_scores


class Objective(NamedTuple):
    """A loss on top of an output activation.

    Attributes
    ----------
    loss : {"log_loss", "squared_error"}
        Cross-entropy, or half the squared error of the probabilities.
    output : {"softmax", "logistic"}
        "softmax" for one of several classes. "logistic" for independent outputs: one for each of
        several labels, or a single one for two classes.
    """

    loss: str
    output: str

    @classmethod
    def of(cls, estimator: Any) -> Objective:
        """Return the objective of an estimator whose labels are known."""
        multiclass = estimator._label_binarizer.y_type_ == "multiclass"
        return cls(estimator.loss, "softmax" if multiclass else "logistic")

    def targets(self, indicators: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return targets in the form that the loss takes, from indicators of shape (N, K)."""
        if (self.loss, self.output) == ("log_loss", "softmax"):
            return indicators.argmax(axis=1)
        return indicators.astype(dtype)

    def value_and_gradient(
        self, z: Array, y: Array, sample_weight: Array | None
    ) -> tuple[Array, Array]:
        """Return the loss of each model and its gradient in the scores `z` of shape (M, B, K)."""
        return loss_of_scores(self.loss, self.output, z, y, sample_weight)

    def probabilities(self, z: Array) -> Array:
        """Return the probabilities of scores, of the same shape."""
        return ACTIVATIONS[self.output].forward(z)
