"""What a classifier's network minimises, and how its scores become probabilities."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cukernels import logistic_loss, softmax_cross_entropy, squared_loss
from cukernels.activations import ACTIVATIONS
from cukernels.runtime import Array


class Objective(NamedTuple):
    """A loss on top of an output activation.

    Attributes
    ----------
    loss : {"log_loss", "squared_error"}
        Cross-entropy, or half the squared error of the probabilities.
    output : {"softmax", "logistic"}
        One of several classes; or independent outputs, one of them for two classes.
    """

    loss: str
    output: str

    def targets(self, indicators: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """The form of the targets that the loss takes, from indicators of shape (N, K)."""
        if (self.loss, self.output) == ("log_loss", "softmax"):
            return indicators.argmax(axis=1)
        return indicators.astype(dtype)

    def value_and_gradient(
        self, z: Array, y: Array, sample_weight: Array | None
    ) -> tuple[Array, Array]:
        """Loss of each model and its gradient in the scores `z` of shape (M, B, K)."""
        if self.loss == "log_loss":
            cross_entropy = softmax_cross_entropy if self.output == "softmax" else logistic_loss
            return cross_entropy(z, y, sample_weight)
        p = self.probabilities(z)
        loss, dp = squared_loss(p, y, sample_weight)
        return loss, ACTIVATIONS[self.output].backward(dp, p)

    def probabilities(self, z: Array) -> Array:
        """Probabilities of scores, of the same shape."""
        return ACTIVATIONS[self.output].forward(z)
