"""Batch normalization and its running statistics."""
