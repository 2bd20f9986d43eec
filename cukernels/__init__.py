"""Array ops with hand-written bodies: NumPy arrays run on the CPU, CuPy arrays on their GPU."""

from cukernels.activations import activations as _activations
from cukernels.activations.activations import *  # noqa: F403 (its __all__ says which names)
from cukernels.gpu.calibration import calibrate
from cukernels.images.augment import (
    shift_and_flip,
)
from cukernels.images.conv import (
    conv2d,
    conv2d_backward,
)
from cukernels.images.local import (
    local2d,
    local2d_backward,
)
from cukernels.linear.linear_loss import (
    linear_curvature,
    linear_loss,
)
from cukernels.linear.parameters import (
    linear_gradient,
    linear_weights,
)
from cukernels.matmul.matmul import (
    matmul,
    matmul_backward,
)
from cukernels.normalization.layer_norm import (
    layer_norm,
    layer_norm_backward,
)
from cukernels.normalization.normalization import (
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    batch_norm_inference_backward,
)
from cukernels.normalization.running_mean import (
    running_mean,
)
from cukernels.optimizers.adamw import (
    adamw,
)
from cukernels.optimizers.optimizers import (
    adam,
    sgd,
)
from cukernels.optimizers.rmsprop import (
    rmsprop,
)
from cukernels.perceptron.perceptron import (
    csr_perceptron_sweep,
    perceptron_sweep,
)
from cukernels.perceptron.scatter import (
    scatter_rows,
)
from cukernels.pooling.conv_max_pool import (
    conv2d_max_pool,
    conv2d_max_pool_backward,
)
from cukernels.pooling.pooling import (
    avg_pool2d,
    avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from cukernels.quasi_newton.l2_penalty import (
    l2_penalty,
)
from cukernels.quasi_newton.lbfgs import (
    lbfgs_products,
    lbfgs_step,
)
from cukernels.runtime.precision import precision
from cukernels.runtime.registry import OPS
from cukernels.runtime.show_versions import show_versions
from cukernels.runtime.version import __version__ as __version__
from cukernels.sparse.sparse import (
    csr_matmul,
    csr_matmul_backward,
)
from cukernels.training.dropout import (
    dropout,
    dropout_backward,
)
from cukernels.training.epoch_loss import (
    add_loss,
    lose_overflowed,
)
from cukernels.training.gather import (
    gather_rows,
    gather_rows_backward,
)
from cukernels.training.losses import (
    logistic_loss,
    perceptron_loss,
    softmax_cross_entropy,
    squared_loss,
)
from cukernels.training.right_rows import (
    right_rows,
)
from cukernels.training.take_step import (
    take_step,
)

__all__ = [
    "OPS",
    "calibrate",
    "show_versions",
    "precision",
]
__all__ += _activations.__all__  # a type checker follows `+=`, and not a computed list
__all__ += [
    "shift_and_flip",
    "conv2d",
    "conv2d_backward",
    "dropout",
    "dropout_backward",
    "add_loss",
    "lose_overflowed",
    "gather_rows",
    "gather_rows_backward",
    "scatter_rows",
    "take_step",
    "right_rows",
    "local2d",
    "local2d_backward",
    "softmax_cross_entropy",
    "logistic_loss",
    "squared_loss",
    "perceptron_loss",
    "matmul",
    "matmul_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "batch_norm_inference_backward",
    "layer_norm",
    "layer_norm_backward",
    "sgd",
    "adam",
    "adamw",
    "rmsprop",
    "perceptron_sweep",
    "csr_perceptron_sweep",
    "linear_curvature",
    "linear_gradient",
    "linear_loss",
    "linear_weights",
    "l2_penalty",
    "lbfgs_products",
    "lbfgs_step",
    "max_pool2d",
    "max_pool2d_backward",
    "conv2d_max_pool",
    "conv2d_max_pool_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "running_mean",
    "csr_matmul",
    "csr_matmul_backward",
]
