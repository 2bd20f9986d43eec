"""Ops that slide a window over images: convolutions, locally connected layers, pooling."""
