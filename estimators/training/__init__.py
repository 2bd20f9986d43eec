"""The training of networks: stacks of models, their steps, and when each is done."""
