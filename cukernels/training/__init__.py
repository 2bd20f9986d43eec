"""What a training step needs besides its layers: minibatches, dropout and losses."""

from cukernels.training.classification import loss_of_scores
from cukernels.training.epoch_loss import loss_total
from cukernels.training.right_rows import NOT_FINITE

__all__ = ["NOT_FINITE", "loss_of_scores", "loss_total"]
