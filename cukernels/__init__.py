"""Array ops with hand-written bodies: NumPy arrays run on the CPU, CuPy arrays on their GPU.

Import an op from its family, as in ``from cukernels.conv import conv2d``; `OPS` lists them all.
"""

from importlib.metadata import version

from cukernels import (
    activations,
    conv,
    dropout,
    gather,
    local,
    losses,
    matmul,
    normalization,
    optimizers,
    perceptron,
    pooling,
    sparse,
)
from cukernels._op import OPS

__version__ = version("cukernels")

__all__ = [
    "OPS",
    "activations",
    "conv",
    "dropout",
    "gather",
    "local",
    "losses",
    "matmul",
    "normalization",
    "optimizers",
    "perceptron",
    "pooling",
    "sparse",
]
