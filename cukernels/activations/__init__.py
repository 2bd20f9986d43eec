"""Activation functions, alone and as the end of a product."""

from cukernels.activations.activation import Formula, Node
from cukernels.activations.activations import ACTIVATIONS, FUSED_ACTIVATIONS

__all__ = ["ACTIVATIONS", "FUSED_ACTIVATIONS", "Formula", "Node"]
