"""What a training step needs around its layers: batches, dropout, losses, optimizers."""

from cukernels.training.epoch_loss import loss_total

__all__ = ["loss_total"]
