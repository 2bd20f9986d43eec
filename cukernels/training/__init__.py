"""What a training step needs besides its layers: minibatches, dropout and losses."""

from cukernels.training.classification import loss_of_scores
from cukernels.training.epoch_loss import loss_total

__all__ = ["loss_of_scores", "loss_total"]
