"""What a training step needs besides its layers: minibatches, dropout and losses."""

from cukernels.training.epoch_loss import loss_total

__all__ = ["loss_total"]
