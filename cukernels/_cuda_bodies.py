"""The CUDA bodies: importing this module attaches each to its op; the first GPU array does."""

from cukernels import (  # noqa: F401
    _activations_cuda,
    _conv_cuda,
    _dropout_cuda,
    _gather_cuda,
    _local_cuda,
    _losses_cuda,
    _matmul_cuda,
    _normalization_cuda,
    _optimizers_cuda,
    _perceptron_cuda,
    _pooling_cuda,
    _sparse_cuda,
)
