"""Searches whose fits are trained together, as stacks of models."""
