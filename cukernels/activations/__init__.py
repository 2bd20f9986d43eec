"""Activation functions, as ops of their own and fused into products."""

from cukernels.activations.activation import Formula, Node
from cukernels.activations.activations import ACTIVATIONS, FUSED_ACTIVATIONS

__all__ = ["ACTIVATIONS", "FUSED_ACTIVATIONS", "Formula", "Node"]
