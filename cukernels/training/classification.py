"""The losses of classifiers by their names, as functions of the scores."""

from __future__ import annotations

from cukernels.activations.activations import ACTIVATIONS
from cukernels.runtime.arrays import Array
from cukernels.training.losses import logistic_loss, softmax_cross_entropy, squared_loss


def loss_of_scores(
    loss: str, output: str, z: Array, y: Array, sample_weight: Array | None = None
) -> tuple[Array, Array]:
    """Return a classifier's loss and its gradient in the scores.

    Parameters
    ----------
    loss : {"log_loss", "squared_error"}
        The cross-entropy, or half the squared error of the probabilities.
    output : {"softmax", "logistic"}
        The activation that makes probabilities of the scores.
    z : array of shape (..., N, K)
        Scores.
    y : array
        Labels of shape (..., N) for the cross-entropy of "softmax", or else indicators of shape
        (..., N, K) in the dtype of `z`.
    sample_weight : array of shape (..., N), default=None
        Weights; the loss is the weighted mean over samples.

    Returns
    -------
    loss : array of shape (...)
    dz : array of shape (..., N, K)

    Raises
    ------
    KeyError
        If there is no such loss or output.
    """
    if loss == "squared_error":
        p = ACTIVATIONS[output].forward(z)
        value, dp = squared_loss(p, y, sample_weight)
        return value, ACTIVATIONS[output].backward(dp, p)
    return _CROSS_ENTROPIES[loss, output](z, y, sample_weight)


_CROSS_ENTROPIES = {
    ("log_loss", "softmax"): softmax_cross_entropy,
    ("log_loss", "logistic"): logistic_loss,
}
