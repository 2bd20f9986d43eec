"""What a training step needs around its layers: batches, dropout, losses, optimizers."""
